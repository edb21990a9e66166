//! Timestamps: TiKV's layout, strictly rising, whatever the clock does.
//!
//! A timestamp is the time in milliseconds, shifted left by 18, plus a counter. One word holds the newest
//! one given out; the next is the larger of *that plus one* and *now*, by compare-and-swap. So a clock that
//! is set back only lets the counter run on, over into the milliseconds if need be.
//!
//! The word is read and written with acquire and release: whatever happened before a timestamp was drawn
//! is seen by everyone who draws a later one. The commit protocol rests on this.
//!
//! A store with a log writes a *bound* there, above everything that it gives out ([`Oracle::extend`]). The clock is
//! followed up to [`MARGIN`] below the bound that is written; past that only the counter goes on, and the log's thread
//! is asked for a new bound. So nobody who draws waits, and only who draws while the store is in use has a bound written.

use crate::sync::Unparker;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 in the upper 46 bits, a counter in the lower [`COUNTER_BITS`].
pub type Timestamp = u64;

/// Width of the counter within a millisecond.
pub const COUNTER_BITS: u32 = 18;

/// The largest timestamp that the embedded store handles: the two highest bits hold a decision's state.
pub(crate) const LARGEST: Timestamp = (1 << 62) - 1;

/// How far a bound lies ahead.
const AHEAD: Timestamp = 3_000 << COUNTER_BITS;

/// What the counter has to itself below a bound; and for how long before that a new one is asked for.
const MARGIN: Timestamp = 1_000 << COUNTER_BITS;

/// The source of timestamps of one store.
#[derive(Debug)]
pub(crate) struct Oracle {
    newest: AtomicU64,
    /// Up to where the clock is followed. Stored once the bound is written, and read with every draw.
    until: AtomicU64,
    is_asked: AtomicBool,
    asked: OnceLock<Unparker>,
}

impl Default for Oracle {
    /// Without a bound.
    fn default() -> Self {
        Self {
            newest: AtomicU64::new(0),
            until: AtomicU64::new(u64::MAX),
            is_asked: AtomicBool::new(false),
            asked: OnceLock::new(),
        }
    }
}

impl Oracle {
    /// A timestamp above every one before it. Lock-free, one shared word.
    pub(crate) fn next(&self) -> Timestamp {
        let until = self.until.load(Ordering::Acquire);
        let clock = clock();
        if clock > until - MARGIN {
            self.ask_for_more();
        }
        let now = clock.min(until);
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            let next = now.max(newest + 1);
            match self.newest.compare_exchange_weak(
                newest,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return next,
                Err(seen) => newest = seen,
            }
        }
    }

    /// The bound that is to be written next.
    pub(crate) fn bound(&self) -> Timestamp {
        clock().max(self.newest()) + AHEAD
    }

    /// A bound is written.
    pub(crate) fn extend(&self, bound: Timestamp) {
        self.until.store(bound - MARGIN, Ordering::Release);
        self.is_asked.store(false, Ordering::Release);
    }

    /// There is no bound any more.
    pub(crate) fn unbound(&self) {
        self.until.store(u64::MAX, Ordering::Release);
    }

    /// Whether a new bound was asked for since the last one.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// The thread that writes bounds; it is unparked when one is asked for. Whether one was asked for before, it looks
    /// itself.
    pub(crate) fn ask(&self, thread: Unparker) {
        // There is one for each store.
        drop(self.asked.set(thread));
        // Pairs with the one of who asks: either the thread is found there, or the question here.
        fence(Ordering::SeqCst);
    }

    #[cold]
    fn ask_for_more(&self) {
        if self.is_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        fence(Ordering::SeqCst);
        if let Some(thread) = self.asked.get() {
            thread.unpark();
        }
    }

    /// As if timestamps up to this one had been given out.
    pub(crate) fn forward(&self, to: Timestamp) {
        self.newest.fetch_max(to, Ordering::AcqRel);
    }

    /// As if the timestamps after this one had not been given out yet.
    #[cfg(test)]
    pub(crate) fn back(&self, to: Timestamp) {
        self.newest.store(to, Ordering::Release);
    }

    /// The newest timestamp given out; 0 before the first.
    pub(crate) fn newest(&self) -> Timestamp {
        self.newest.load(Ordering::Acquire)
    }
}

fn clock() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
        << COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_rise_in_every_thread_and_none_is_given_twice() {
        let oracle = Oracle::default();
        let drawn: Vec<Vec<Timestamp>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5_000).map(|_| oracle.next()).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert!(drawn.iter().all(|own| own.is_sorted_by(|a, b| a < b)));
        let mut all: Vec<_> = drawn.into_iter().flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
        assert_eq!(oracle.newest(), all[all.len() - 1]);
    }

    #[test]
    fn timestamps_rise_though_the_clock_stands_behind() {
        let oracle = Oracle::default();
        let ahead = (4_000_000_000_000_u64) << COUNTER_BITS;
        oracle.newest.store(ahead, Ordering::Relaxed);
        assert_eq!(oracle.next(), ahead + 1);
        assert_eq!(oracle.next(), ahead + 2);
    }

    #[test]
    fn past_its_bound_an_oracle_asks_for_another_and_counts_on_without_the_clock() {
        let oracle = Oracle::default();
        oracle.extend(oracle.bound() + (60_000 << COUNTER_BITS));
        let first = oracle.next();
        assert!(!oracle.is_asked());
        // As if three seconds had gone by.
        let bound = first;
        oracle.extend(bound);
        let second = oracle.next();
        assert_eq!(second, first + 1);
        assert!(oracle.is_asked());
        let bound = oracle.bound();
        oracle.extend(bound);
        assert!(!oracle.is_asked());
        let third = oracle.next();
        assert!(second < third && third < bound);
    }
}
