//! Timestamps: TiKV's layout, strictly rising, whatever the clock does.
//!
//! A timestamp is the time in milliseconds, shifted left by 18, plus a counter. One word holds the newest
//! one given out; the next is the larger of *that plus one* and *now*, by compare-and-swap. So a clock that
//! is set back only lets the counter run on, over into the milliseconds if need be.
//!
//! The word is read and written with acquire and release: whatever happened before a timestamp was drawn
//! is seen by everyone who draws a later one. The commit protocol rests on this.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 in the upper 46 bits, a counter in the lower [`COUNTER_BITS`].
pub type Timestamp = u64;

/// Width of the counter within a millisecond.
pub const COUNTER_BITS: u32 = 18;

/// The largest timestamp that the embedded store handles: the two highest bits hold a decision's state.
pub(crate) const LARGEST: Timestamp = (1 << 62) - 1;

/// The source of timestamps of one store.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    newest: AtomicU64,
}

impl Oracle {
    /// A timestamp above every one before it. Lock-free, one shared word.
    pub(crate) fn next(&self) -> Timestamp {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
            << COUNTER_BITS;
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

    /// As if timestamps up to this one had been given out.
    #[cfg(test)]
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
}
