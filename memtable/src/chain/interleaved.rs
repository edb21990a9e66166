//! Looking up many keys side by side.
//!
//! A lookup is a chain of cache misses, each of which needs the one before. Here a group of lookups goes down level by level, and
//! at each step everything that the group needs is asked for before the first of it is used: so the group waits about as
//! long as one. The idea is from Kocberber et al., "Asynchronous Memory Access Chaining" (VLDB 2015).

use super::{Leaf, Level, Side, Spot};
use crate::lanes::{Place, prefetch_runs};
use crate::reclaim::Guard;
use crate::run::Slot;

/// How many lookups go side by side: about as many misses as a core can have in flight.
pub(crate) const IN_FLIGHT: usize = 16;

/// A key's leaf, and how far the search there has come without a look at any key.
#[derive(Clone, Copy)]
pub(crate) struct Lead<'t, 'g, S> {
    leaf: Leaf<'t, 'g, S>,
    at: Result<usize, usize>,
}

impl<'t, 'g, S: Slot> Lead<'t, 'g, S> {
    /// Where `key` is, whose lead it is, as it was when that was found.
    #[inline]
    pub(crate) fn follow(self, key: &[u8]) -> Spot<'t, 'g, S> {
        let (cell, run) = self.leaf;
        let at = match (run, self.at) {
            (Some(run), Ok(at)) => run.search_from(run.slots(), at, key),
            (_, at) => at,
        };
        Spot::new(cell, run, at)
    }
}

impl<'t, S: Slot> Level<'t, S> {
    /// The leads of the keys, at most [`IN_FLIGHT`], in their order. What they lead to is asked for.
    #[inline(always)]
    pub(crate) fn leads<'g>(
        &self,
        keys: &[&[u8]],
        guard: &'g Guard,
    ) -> [Option<Lead<'t, 'g, S>>; IN_FLIGHT] {
        let mut places = [Place::START; IN_FLIGHT];
        let places = &mut places[..keys.len()];
        self.lanes.descend_interleaved(keys, places, guard);
        prefetch_runs(self.first, places, guard);
        let mut leads = [None; IN_FLIGHT];
        for ((lead, place), key) in leads.iter_mut().zip(&*places).zip(keys) {
            let leaf = self.find_from(self.hint(*place), key, Side::At, guard);
            let at = leaf.1.map_or(Err(0), |run| run.candidate(key));
            if let (Some(run), Ok(at)) = (leaf.1, at) {
                run.slots()[at].prefetch();
            }
            *lead = Some(Lead { leaf, at });
        }
        leads
    }
}
