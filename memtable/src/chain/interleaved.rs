//! Looking up many keys side by side.
//!
//! A lookup is a chain of cache misses, each of which needs the one before. Here a group of lookups goes down level by level, and
//! at each step everything that the group needs is asked for before the first of it is used: so the group waits about as
//! long as one. The idea is from Kocberber et al., "Asynchronous Memory Access Chaining" (VLDB 2015).

use super::{Hint, Leaf, Level, Side, Spot};
use crate::lanes::{Place, prefetch_runs};
use crate::reclaim::Guard;
use crate::run::Slot;
use std::ptr;

/// How many lookups go side by side: about as many misses as a core can have in flight.
pub(crate) const IN_FLIGHT: usize = 16;

/// A key's leaf, and how far the search there has come without a look at any key.
#[derive(Clone, Copy)]
pub(crate) struct Lead<'t, 'g, S> {
    leaf: Leaf<'t, 'g, S>,
    at: Result<usize, usize>,
}

impl<'t, 'g, S: Slot> Lead<'t, 'g, S> {
    /// Whether its leaf begins where the other one does.
    #[inline]
    pub(crate) fn is_in(&self, leaf: Leaf<'t, 'g, S>) -> bool {
        ptr::eq(self.leaf.0, leaf.0)
    }

    /// Whether the leaf has the same run still.
    #[inline]
    pub(crate) fn is_current(&self, guard: &'g Guard) -> bool {
        let (cell, run) = self.leaf;
        cell.load(guard).map(|run| run.as_ptr()) == run.map(|run| run.as_ptr())
    }

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
            let leaf = self.find_asked_for(self.hint(*place), key, guard);
            let at = leaf.1.map_or(Err(0), |run| run.candidate(key));
            if let (Some(run), Ok(at)) = (leaf.1, at) {
                run.slots()[at].prefetch();
            }
            *lead = Some(Lead { leaf, at });
        }
        leads
    }

    /// As [`Level::find_from`], where the hint's run was asked for already.
    #[inline(always)]
    fn find_asked_for<'g>(
        &self,
        hint: Hint<'t, S>,
        key: &[u8],
        guard: &'g Guard,
    ) -> Leaf<'t, 'g, S> {
        match hint.cell.load(guard) {
            Some(run) if run.range().high == hint.bound && !run.is_dead() => (hint.cell, Some(run)),
            _ => self.find_from(hint, key, Side::At, guard),
        }
    }
}
