//! How long a transaction's locks outlive its owner.
//!
//! A transaction whose owner lives in this process is alive, whatever the clock says: the process may have slept.
//! One whose owner is gone, or never showed itself, lives until its lease is over: the latest end that one of its
//! requests asked for. It is rolled back by whoever finds its lock in the way.

use super::core::{Core, Open};
use crate::lock::OwnerId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a lock of a living owner is looked at again by who waits for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The end of a lease, in milliseconds since the store was made. Only ever raised; nothing else hangs on it.
#[derive(Debug, Default)]
pub(super) struct Lease(AtomicU64);

impl Core {
    /// Has the transaction live for `ttl` from now on.
    pub(super) fn renew(&self, open: &Open, ttl: Duration) {
        // The part of a millisecond that is cut off is not taken from it.
        let end = millis(self.made.elapsed().saturating_add(ttl)) + 1;
        // Most requests come within a millisecond of another one, and need no exchange.
        if open.lease.0.load(Ordering::Relaxed) < end {
            open.lease.0.fetch_max(end, Ordering::Relaxed);
        }
    }

    /// Rolls back the dead ones among these transactions. True if there was one.
    pub(super) fn resolve(&self, owners: &[OwnerId]) -> bool {
        let mut resolved = false;
        for &owner in owners {
            // One that the log has is about to be decided.
            if self.is_dead(owner) && matches!(self.take_back(owner), Ok(None)) {
                tracing::info!(start_ts = owner, "a dead transaction was rolled back");
                resolved = true;
            }
        }
        resolved
    }

    /// Rolls back the dead ones among the holders of `key`. Says when to look at the others again.
    pub(super) fn resolve_holders(&self, key: &[u8], asking: OwnerId) -> Option<Instant> {
        let holders = self.locks.holders(key).into_iter();
        let others: Vec<OwnerId> = holders
            .map(|holder| holder.owner)
            .filter(|&owner| owner != asking)
            .collect();
        if self.resolve(&others) {
            return None;
        }
        let others = others.iter();
        let open = others.filter_map(|&owner| self.transactions.find(owner));
        open.map(|open| self.next_look(&open)).min()
    }

    fn is_dead(&self, owner: OwnerId) -> bool {
        self.transactions.find(owner).is_some_and(|open| {
            open.owner.strong_count() == 0
                && open.lease.0.load(Ordering::Relaxed) <= millis(self.made.elapsed())
        })
    }

    fn next_look(&self, open: &Open) -> Instant {
        let again = Instant::now() + LOOK_AGAIN;
        let end = Duration::from_millis(open.lease.0.load(Ordering::Relaxed));
        match self.made.checked_add(end) {
            Some(end) if open.owner.strong_count() == 0 => end,
            Some(end) => end.max(again),
            None => again,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX - 1)
}
