//! Who still reads at which timestamp, and so what may be forgotten.
//!
//! The timestamps of open transactions lie in a few striped sets, each under its own short mutex. A fresh
//! start timestamp is drawn *while its stripe is locked*. The collector reads the oracle first and locks all
//! stripes afterwards, in their order, so a transaction that it did not meet drew its timestamp after that reading and
//! stands above it: no transaction can slip below the safe point.
//!
//! A *given* timestamp is old, so for it the order is turned round: it is entered first and checked against
//! the published safe point then; the collector publishes first and looks again then. One of the two
//! notices the other, and the collector gives way.

use crate::store::Timestamp;
use crate::store::lock;
use crate::store::oracle::{COUNTER_BITS, Oracle};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const STRIPES: usize = 16;

/// A timestamp that is held, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) at: Timestamp,
    stripe: usize,
}

impl Held {
    /// A timestamp that was given is held in the stripe of its number.
    pub(crate) fn given(at: Timestamp) -> Self {
        let stripe = at as usize % STRIPES;
        Self { at, stripe }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Live {
    /// How often each is held.
    stripes: [Mutex<BTreeMap<Timestamp, usize>>; STRIPES],
    turn: AtomicUsize,
    safe_point: AtomicU64,
    /// Older ones do not hold the safe point back.
    max_age: Option<Duration>,
}

impl Live {
    pub(crate) fn new(max_age: Option<Duration>) -> Self {
        Self {
            max_age,
            ..Self::default()
        }
    }

    /// Draws a fresh timestamp and holds it.
    pub(crate) fn hold_fresh(&self, oracle: &Oracle) -> Held {
        // Only spreads the load: no order is needed.
        let stripe = self.turn.fetch_add(1, Ordering::Relaxed) % STRIPES;
        let mut held = lock(&self.stripes[stripe]);
        let at = oracle.next();
        held.insert(at, 1);
        Held { at, stripe }
    }

    /// Holds an older timestamp, which others may hold as well. `Err` has the safe point if that has passed it.
    pub(crate) fn hold_given(&self, at: Timestamp) -> Result<Held, Timestamp> {
        let held = Held::given(at);
        *lock(&self.stripes[held.stripe]).entry(at).or_default() += 1;
        let safe_point = self.safe_point();
        if at < safe_point {
            self.release(held);
            return Err(safe_point);
        }
        Ok(held)
    }

    pub(crate) fn release(&self, held: Held) {
        let mut stripe = lock(&self.stripes[held.stripe]);
        if let Some(times) = stripe.get_mut(&held.at) {
            *times -= 1;
            if *times == 0 {
                stripe.remove(&held.at);
            }
        }
    }

    /// How many timestamps are held.
    pub(crate) fn len(&self) -> usize {
        self.stripes
            .iter()
            .map(|stripe| lock(stripe).values().sum::<usize>())
            .sum()
    }

    /// Reads below it may lack data and must be refused.
    pub(crate) fn safe_point(&self) -> Timestamp {
        self.safe_point.load(Ordering::Acquire)
    }

    /// There is nothing older to be read.
    pub(crate) fn begin_at(&self, safe_point: Timestamp) {
        self.safe_point.fetch_max(safe_point, Ordering::AcqRel);
    }

    /// At one instant, all stripes locked: a view moves from the stripe in which its timestamp was drawn to the one
    /// of its number, and must not be missed on the way.
    fn oldest(&self) -> Option<Timestamp> {
        let stripes = self.stripes.each_ref().map(lock);
        stripes
            .iter()
            .filter_map(|stripe| Some(*stripe.first_key_value()?.0))
            .min()
    }

    /// Moves the safe point up to the oldest open transaction that is not too old, or to now, and says up to where versions that
    /// were superseded may be dropped.
    pub(crate) fn advance(&self, oracle: &Oracle) -> Timestamp {
        let newest = oracle.newest();
        let too_old = self.max_age.map_or(0, |age| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            (newest >> COUNTER_BITS).saturating_sub(age) << COUNTER_BITS
        });
        let holds_back = |oldest: Timestamp| oldest.max(too_old);
        let oldest = self.oldest().map(holds_back);
        let safe_point = oldest.map_or(newest, |oldest| oldest.min(newest));
        self.safe_point.fetch_max(safe_point, Ordering::AcqRel);
        let oldest = self.oldest().map(holds_back);
        oldest.map_or(safe_point, |oldest| oldest.min(safe_point))
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
