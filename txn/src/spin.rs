//! Looking for a while before parking.
//!
//! A thread that is parked has to be woken by the operating system: a few microseconds, some tens on a virtual machine whose
//! processor has to be woken as well. So a thread that waits looks first, for about as long as that may take: then its wait takes
//! at most twice what it would have taken by the better of both (Karlin, Li, Manasse and Owicki, *Empirical studies of competitive
//! spinning for a shared-memory multiprocessor*, SOSP 1991).
//!
//! It looks only where that takes nothing from others:
//!
//! - Of `n` processors at most `n - 1` are spun on, by all threads of the process. One of them has to bring what is waited for.
//! - The processor is offered to others every few microseconds. Whoever takes it for longer has used the time up, and the thread
//!   parks.
//! - Where waits were long of late, it parks at once: the mean of the last ones decides.
//!
//! Both words are `Relaxed` and `std`'s in a model too: what they say is only advice. A model has one processor, and never spins.

use crate::sync;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// For how long a thread looks.
const LONGEST: Duration = Duration::from_micros(50);
/// Mean of the last waits up to which it looks at all; twice the above, since a parked thread's wait contains its wake-up.
const SHORT: Duration = Duration::from_micros(100);
/// A wait counts at most as much, so that a few short ones after long ones are noticed.
const COUNTED: Duration = Duration::from_micros(400);
/// A wait's share in the mean: one in so many.
const SHARE: u64 = 8;

/// Looks between two readings of the clock, about a microsecond; and readings between two offers of the processor.
const LOOKS: u32 = 16;
const READINGS: u32 = 4;

/// Threads that spin.
static SPINNING: AtomicUsize = AtomicUsize::new(0);
/// The mean of the last waits, in nanoseconds.
static MEAN: AtomicU64 = AtomicU64::new(0);

/// A wait for something that another thread does. It counts among the last ones once it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    since: Instant,
}

/// Leave to spin.
struct Seat;

impl Waiting {
    pub(crate) fn begin() -> Self {
        Self {
            since: Instant::now(),
        }
    }

    /// Looks whether the wait is over for as long as that is worth while. False: it is not, and the thread should park.
    pub(crate) fn spin_until(&self, is_over: impl Fn() -> bool) -> bool {
        let is_worth_while = u128::from(MEAN.load(Relaxed)) <= SHORT.as_nanos();
        let Some(_seat) = is_worth_while.then(Seat::take).flatten() else {
            return is_over();
        };
        for reading in 1.. {
            for _ in 0..LOOKS {
                if is_over() {
                    return true;
                }
                sync::spin();
            }
            if self.since.elapsed() > LONGEST {
                break;
            }
            if reading % READINGS == 0 {
                thread::yield_now();
            }
        }
        is_over()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let counted = self.since.elapsed().min(COUNTED).as_nanos() as u64;
        // Of two that end together one may be lost.
        let mean = MEAN.load(Relaxed);
        MEAN.store(mean - mean / SHARE + counted / SHARE, Relaxed);
    }
}

impl Seat {
    fn take() -> Option<Self> {
        let seat = Self;
        let taken = SPINNING.fetch_add(1, Relaxed);
        (taken + 1 < sync::parallelism()).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        SPINNING.fetch_sub(1, Relaxed);
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_to_all_processors_but_one_and_come_back() {
        // Other tests of the process may sit on some.
        let seats: Vec<Seat> = std::iter::from_fn(Seat::take).collect();
        assert!(seats.len() < sync::parallelism());
        assert!(Seat::take().is_none());
        drop(seats);
        assert!(SPINNING.load(Relaxed) < sync::parallelism());
    }

    #[test]
    fn a_thread_that_nobody_wakes_stops_looking() {
        let waiting = Waiting::begin();
        assert!(!waiting.spin_until(|| false));
        assert!(waiting.spin_until(|| true));
    }
}
