//! What a table counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::request::OwnerId;

/// Counters of a table since it was made. Each is exact at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStats {
    /// Calls that were granted, also those that were dropped before they heard of it.
    pub grants: u64,
    /// Calls that had to wait.
    pub waits: u64,
    /// Calls that ended by their wait budget or deadline.
    pub timeouts: u64,
    /// Calls that were not granted at once and did not want to wait. Under a [`MemStore`](crate::MemStore) also the first look at a key that was
    /// then waited for.
    pub not_available: u64,
    /// Calls that were chosen as the victim of a deadlock.
    pub deadlocks: u64,
    /// Calls that were cancelled, or dropped while they waited.
    pub cancelled: u64,
    /// How long calls waited, whatever ended the wait: bucket `i` counts waits of at least `2^(i-1)` and less than
    /// `2^i` microseconds (bucket 0: less than one; the last: all that are longer).
    pub wait_time: Vec<u64>,
}

impl LockStats {
    /// A bound in microseconds that at least `share` (0 to 1) of the waits did not exceed: the upper end of the bucket
    /// in which that wait fell. Zero if nobody waited.
    ///
    /// ```
    /// let mut stats = untorn_txn::lock::LockTable::new().stats();
    /// assert_eq!(stats.wait_quantile_micros(0.5), 0);
    /// stats.wait_time = vec![0, 0, 9, 1]; // nine of 2 to 4 us, one of 4 to 8
    /// assert_eq!((stats.wait_quantile_micros(0.5), stats.wait_quantile_micros(1.0)), (4, 8));
    /// ```
    pub fn wait_quantile_micros(&self, share: f64) -> u64 {
        let total: u64 = self.wait_time.iter().sum();
        let wanted = (total as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in self.wait_time.iter().enumerate() {
            below += count;
            if *count > 0 && below >= wanted {
                return 1 << bucket;
            }
        }
        0
    }
}

const STRIPES: usize = 8;
const BUCKETS: usize = 32;

/// The counters themselves. Grants are counted in stripes, by owner: they are on the fast path.
#[derive(Debug, Default)]
pub(super) struct Counters {
    grants: [CachePadded<AtomicU64>; STRIPES],
    waits: AtomicU64,
    timeouts: AtomicU64,
    not_available: AtomicU64,
    deadlocks: AtomicU64,
    cancelled: AtomicU64,
    wait_time: [AtomicU64; BUCKETS],
}

/// How a call ended that was not granted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    TimedOut,
    NotAvailable,
    Deadlock,
    Cancelled,
}

impl Counters {
    pub(super) fn granted(&self, owner: OwnerId, calls: u64) {
        self.grants[owner as usize % STRIPES].fetch_add(calls, Relaxed);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::TimedOut => &self.timeouts,
            Refusal::NotAvailable => &self.not_available,
            Refusal::Deadlock => &self.deadlocks,
            Refusal::Cancelled => &self.cancelled,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.waits.fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.wait_time[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> LockStats {
        LockStats {
            grants: self.grants.iter().map(|stripe| stripe.load(Relaxed)).sum(),
            waits: self.waits.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            not_available: self.not_available.load(Relaxed),
            deadlocks: self.deadlocks.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            wait_time: self
                .wait_time
                .iter()
                .map(|bucket| bucket.load(Relaxed))
                .collect(),
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn waits_fall_into_the_bucket_of_their_power_of_two() {
        let counters = Counters::default();
        for micros in [0, 1, 2, 3, 4, u64::MAX / 2000] {
            counters.waited(Duration::from_micros(micros));
        }
        let stats = counters.read();
        assert_eq!(stats.waits, 6);
        assert_eq!(stats.wait_time[..4], [1, 1, 2, 1]);
        assert_eq!(stats.wait_time[BUCKETS - 1], 1);
        assert_eq!(stats.wait_quantile_micros(0.5), 4);
    }
}
