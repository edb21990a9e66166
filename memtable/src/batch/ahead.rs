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
    /// Of the op of number `first` and those that follow it. Each is followed once: a second time the leaf may be another one.
    leads: [Option<Lead<'t, 'g, EntrySlot>>; IN_FLIGHT],
    first: usize,
}

impl<'t, 'g> Ahead<'t, 'g> {
    pub(super) const fn new() -> Ahead<'t, 'g> {
        Ahead {
            near: None,
            leads: [None; IN_FLIGHT],
            first: 0,
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
        let spot = near.unwrap_or_else(|| {
            let lead = self.take_lead(number).or_else(|| {
                self.look_ahead(table, batch, number, guard);
                self.take_lead(number)
            });
            lead.map_or_else(|| leaves.seek(key, guard), |lead| lead.follow(key))
        });
        self.near = Some(spot);
        spot
    }

    fn take_lead(&mut self, number: usize) -> Option<Lead<'t, 'g, EntrySlot>> {
        self.leads.get_mut(number - self.first)?.take()
    }

    fn look_ahead(
        &mut self,
        table: &'t Table,
        batch: &Descriptor,
        number: usize,
        guard: &'g Guard,
    ) {
        let mut keys = [&[][..]; AHEAD];
        let asked = keys.iter_mut().zip(&batch.ops[number..]);
        let asked = asked.map(|(key, op)| *key = batch.key(op)).count();
        self.leads = table.leaves().leads(&keys[..asked], guard);
        self.first = number;
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::memtable::Memtable;
    use crate::reclaim;

    #[test]
    fn what_came_after_the_look_ahead_is_found_the_second_time() {
        let keys = [b"a", b"b", b"c", b"d", b"e"];
        let table = Memtable::new().with_leaf_capacity(2);
        let mut batch = WriteBatch::new();
        keys.iter().for_each(|key| {
            batch.put(key, "batch");
        });
        let guard = reclaim::pin();
        let view = table.table().clock.now(&guard);
        let descriptor = Descriptor::new(&batch, &view);
        let mut ahead = Ahead::new();
        ahead.seek(table.table(), &descriptor, 0, &guard);
        for key in keys {
            table.insert(key, "single").unwrap();
        }
        let last = keys.len() - 1;
        let mut found = || ahead.seek(table.table(), &descriptor, last, &guard).slot();
        assert!(found().is_none(), "the leaf was another one");
        assert!(found().is_some());
    }
}
