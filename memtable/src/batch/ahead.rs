//! Finding the places of a batch's ops, some ahead.
//!
//! The ops are sorted, and each is looked for in the leaf of the one before first. Where that does not cover it, it is looked for
//! [side by side](crate::chain) with some that follow, so that what they need is on its way from memory together.

use super::descriptor::Descriptor;
use crate::chain::{IN_FLIGHT, Lead, Spot};
use crate::entry::EntrySlot;
use crate::reclaim::Guard;
use crate::table::Table;

/// How many are looked for at once.
const AHEAD: usize = if cfg!(untorn_loom) { 2 } else { IN_FLIGHT };

/// The way of one thread through the leaves of a batch, under one guard.
pub(super) struct Ahead<'t, 'g> {
    near: Option<Spot<'t, 'g, EntrySlot>>,
    /// Those of some ops, and the number of the first of these.
    leads: Option<([Lead<'t, 'g, EntrySlot>; IN_FLIGHT], usize)>,
}

impl<'t, 'g> Ahead<'t, 'g> {
    pub(super) const fn new() -> Ahead<'t, 'g> {
        Ahead {
            near: None,
            leads: None,
        }
    }

    /// Where the op of that number belongs, which does not come before those that were asked for already.
    pub(super) fn seek(
        &mut self,
        table: &'t Table,
        batch: &Descriptor,
        number: usize,
        guard: &'g Guard,
    ) -> Spot<'t, 'g, EntrySlot> {
        let leaves = table.leaves();
        let key = batch.key(&batch.ops[number]);
        let near = self
            .near
            .and_then(|near| leaves.seek_near(near, key, guard));
        let spot = near.unwrap_or_else(|| self.lead(table, batch, number, guard).follow(key));
        self.near = Some(spot);
        spot
    }

    fn lead(
        &mut self,
        table: &'t Table,
        batch: &Descriptor,
        number: usize,
        guard: &'g Guard,
    ) -> Lead<'t, 'g, EntrySlot> {
        if let Some((leads, first)) = &self.leads
            && number - first < AHEAD
        {
            return leads[number - first];
        }
        let mut keys = [&[][..]; AHEAD];
        let asked = keys.iter_mut().zip(&batch.ops[number..]);
        let asked = asked.map(|(key, op)| *key = batch.key(op)).count();
        let leads = table.leaves().leads(&keys[..asked], guard);
        self.leads = Some((leads, number));
        leads[0]
    }
}
