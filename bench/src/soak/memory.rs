//! What the process may hold, and what it holds.
//!
//! While a guard stands still nothing is freed that was retired since, by design: when the machine does not run its thread for a second,
//! a second's garbage is kept. So what is above the ceiling then, and until the collector has had as long again, says nothing about
//! the tables. Nobody is excused by a guard that stays for good.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use untorn_memtable::{garbage_bytes, oldest_guard_age, reclaim_garbage};

/// How much the process may hold, in bytes of live allocations.
#[derive(Debug, Clone, Copy)]
pub struct Ceiling {
    /// During a round.
    pub busy: usize,
    /// After one.
    pub rest: usize,
}

/// The ages of a guard that stands still, and not for good: the rounds hold theirs for a few milliseconds of work.
const STILL: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(10);

/// Runs the work while another thread looks at what is allocated, every few milliseconds; answers the most that it saw, where that
/// is above what is allowed only if no guard excuses it.
pub(super) fn watched<T>(
    allocated: &(impl Fn() -> usize + Sync),
    allowed: usize,
    work: impl FnOnce() -> T,
) -> (T, usize) {
    const EVERY: Duration = Duration::from_millis(5);
    let (peak, at_work) = (AtomicUsize::new(0), AtomicBool::new(true));
    let done = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut excused = Instant::now();
            while at_work.load(Ordering::Relaxed) {
                let held = allocated();
                if held > allowed {
                    let age = oldest_guard_age();
                    if STILL.contains(&age) {
                        excused = excused.max(Instant::now() + age);
                    }
                }
                if held <= allowed || Instant::now() >= excused {
                    peak.fetch_max(held, Ordering::Relaxed);
                }
                std::thread::park_timeout(EVERY);
            }
        });
        let done = work();
        at_work.store(false, Ordering::Relaxed);
        watcher.thread().unpark();
        done
    });
    (done, peak.into_inner())
}

/// What is allocated once garbage was reclaimed. Asks again for a while: threads that end may not have given back all.
pub(super) fn at_rest(allocated: &impl Fn() -> usize, allowed: usize) -> usize {
    const PATIENCE: Duration = Duration::from_secs(5);
    let since = Instant::now();
    loop {
        (0..64).for_each(|_| reclaim_garbage());
        let held = allocated();
        if (held <= allowed && garbage_bytes() == 0) || since.elapsed() > PATIENCE {
            return held;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use untorn_memtable::Memtable;

    #[test]
    fn what_is_above_the_ceiling_is_excused_by_a_guard_that_stands_still_and_by_nothing_else() {
        let held = AtomicUsize::new(5);
        let allocated = || held.load(Ordering::Relaxed);
        let asked = AtomicUsize::new(0);
        let counted = || {
            asked.fetch_add(1, Ordering::Relaxed);
            allocated()
        };
        let looked_at = |times: usize| {
            let from = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < from + times {
                std::thread::yield_now();
            }
        };
        let ((), peak) = watched(&counted, 10, || {
            let table = Memtable::new();
            let _pinned = table.pin();
            while oldest_guard_age() < STILL.start {
                std::thread::yield_now();
            }
            held.store(20, Ordering::Relaxed);
            looked_at(2);
            held.store(7, Ordering::Relaxed);
            looked_at(2);
        });
        assert_eq!(peak, 7);

        while oldest_guard_age() >= STILL.start {
            std::thread::yield_now();
        }
        let until = Instant::now() + Duration::from_secs(60);
        let peak = loop {
            let ((), peak) = watched(&counted, 10, || {
                held.store(20, Ordering::Relaxed);
                looked_at(2);
            });
            // A guard of another test excuses it.
            if peak != 0 || Instant::now() >= until {
                break peak;
            }
        };
        assert_eq!(peak, 20);
    }
}
