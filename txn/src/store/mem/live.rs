//! Who still reads at which timestamp, and so what may be forgotten.
//!
//! The timestamps of open transactions lie in a few striped sets, each under its own short mutex. A fresh
//! start timestamp is drawn *while its stripe is locked*. The collector reads the oracle first and locks each
//! stripe afterwards, so a transaction that it did not meet drew its timestamp after that reading and
//! stands above it: no transaction can slip below the safe point.
//!
//! A *given* timestamp is old, so for it the order is turned round: it is entered first and checked against
//! the published safe point then; the collector publishes first and looks again then. One of the two
//! notices the other, and the collector gives way.

use crate::store::Timestamp;
use crate::store::lock;
use crate::store::oracle::Oracle;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 16;

/// A timestamp that is held, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) at: Timestamp,
    stripe: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Live {
    stripes: [Mutex<BTreeSet<Timestamp>>; STRIPES],
    turn: AtomicUsize,
    safe_point: AtomicU64,
}

impl Live {
    /// Draws a fresh timestamp and holds it.
    pub(crate) fn hold_fresh(&self, oracle: &Oracle) -> Held {
        // Only spreads the load: no order is needed.
        let stripe = self.turn.fetch_add(1, Ordering::Relaxed) % STRIPES;
        let mut held = lock(&self.stripes[stripe]);
        let at = oracle.next();
        held.insert(at);
        Held { at, stripe }
    }

    /// Holds an older timestamp. `Err` has the safe point if that has passed it.
    pub(crate) fn hold_given(&self, at: Timestamp) -> Result<Held, Timestamp> {
        let held = Held {
            at,
            stripe: at as usize % STRIPES,
        };
        lock(&self.stripes[held.stripe]).insert(at);
        let safe_point = self.safe_point();
        if at < safe_point {
            self.release(held);
            return Err(safe_point);
        }
        Ok(held)
    }

    pub(crate) fn release(&self, held: Held) {
        lock(&self.stripes[held.stripe]).remove(&held.at);
    }

    /// Reads below it may lack data and must be refused.
    pub(crate) fn safe_point(&self) -> Timestamp {
        self.safe_point.load(Ordering::Acquire)
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.stripes
            .iter()
            .filter_map(|stripe| lock(stripe).first().copied())
            .min()
    }

    /// Moves the safe point up to the oldest open transaction, or to now, and says up to where versions that
    /// were superseded may be dropped.
    pub(crate) fn advance(&self, oracle: &Oracle) -> Timestamp {
        let newest = oracle.newest();
        let safe_point = self.oldest().map_or(newest, |oldest| oldest.min(newest));
        self.safe_point.fetch_max(safe_point, Ordering::AcqRel);
        self.oldest()
            .map_or(safe_point, |oldest| oldest.min(safe_point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_timestamp_holds_the_safe_point_back() {
        let (oracle, live) = (Oracle::default(), Live::default());
        let first = live.hold_fresh(&oracle);
        let second = live.hold_fresh(&oracle);
        assert!(first.at < second.at);
        assert_eq!(live.advance(&oracle), first.at);
        live.release(first);
        assert_eq!(live.advance(&oracle), second.at);
        assert_eq!(live.hold_given(first.at).err(), Some(second.at));
        live.release(second);
        let now = oracle.next();
        assert_eq!(live.advance(&oracle), now);
        assert_eq!(live.safe_point(), now);
    }
}
