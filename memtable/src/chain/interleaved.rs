//! Looking up many keys side by side.
//!
//! A lookup is a chain of cache misses, each of which needs the one before. Here a group of lookups goes down level by level, and
//! at each step everything that the group needs is asked for before the first of it is used: so the group waits about as
//! long as one. The idea is from Kocberber et al., "Asynchronous Memory Access Chaining" (VLDB 2015).

use super::{Level, Side};
use crate::lanes::{Place, prefetch_runs};
use crate::reclaim::Guard;
use crate::run::Slot;

/// How many lookups go side by side: about as many misses as a core can have in flight.
pub(crate) const IN_FLIGHT: usize = 16;

impl<S: Slot> Level<'_, S> {
    /// What the keys, at most [`IN_FLIGHT`], lead to, in their order.
    pub(crate) fn find_interleaved(&self, keys: &[&[u8]], guard: &Guard) -> [Option<S>; IN_FLIGHT] {
        let mut places = [Place::START; IN_FLIGHT];
        let places = &mut places[..keys.len()];
        self.lanes.descend_interleaved(keys, places, guard);
        prefetch_runs(self.first, places, guard);
        let mut candidates = [None; IN_FLIGHT];
        for ((candidate, place), key) in candidates.iter_mut().zip(&*places).zip(keys) {
            if let (_, Some(run)) = self.find_from(self.hint(*place), key, Side::At, guard)
                && let Some(at) = run.candidate(key)
            {
                run.slots()[at].prefetch();
                *candidate = Some((run, at));
            }
        }
        let mut found = [None; IN_FLIGHT];
        for ((found, candidate), key) in found.iter_mut().zip(candidates).zip(keys) {
            *found = candidate.and_then(|(run, at)| {
                let slots = run.slots();
                let at = run.search_from(slots, at, key).ok()?;
                Some(slots[at])
            });
        }
        found
    }
}
