//! The way of one thread through a batch: which op comes next, and where it belongs.
//!
//! The ops are sorted, and each is looked for in the leaf of the one before first. Where that does not cover it, it is looked for
//! [side by side](crate::chain) with some that follow, so that what they need is on its way from memory together.

use super::descriptor::Descriptor;
use super::op::Op;
use crate::chain::{IN_FLIGHT, Lead, Leaf, Level, Spot};
use crate::entry::EntrySlot;
use crate::reclaim::Guard;
use crate::table::Table;

/// How many are looked for at once.
const AHEAD: usize = if cfg!(untorn_loom) { 2 } else { IN_FLIGHT };

/// The way of one thread through the ops of a batch, under one guard.
pub(super) struct Ahead<'t, 'g> {
    pub(super) batch: &'g Descriptor,
    /// All ops before this one are placed.
    next: usize,
    leaves: Level<'t, EntrySlot>,
    /// The leaf of the op before.
    near: Option<Leaf<'t, 'g, EntrySlot>>,
    /// Of the op of number `first` and those that follow it. Each is followed once: a second time the leaf may be another one.
    leads: [Option<Lead<'t, 'g, EntrySlot>>; IN_FLIGHT],
    first: usize,
}

impl<'t, 'g> Ahead<'t, 'g> {
    pub(super) fn through(batch: &'g Descriptor, table: &'t Table) -> Ahead<'t, 'g> {
        Ahead {
            batch,
            next: 0,
            leaves: table.leaves(),
            near: None,
            leads: [None; IN_FLIGHT],
            first: 0,
        }
    }

    /// The first op that is not placed yet.
    #[inline]
    pub(super) fn next_op(&mut self) -> Option<&'g Op> {
        let known = self.next.max(self.batch.placed());
        let left = self.batch.ops[known..].iter();
        self.next = known + left.take_while(|op| op.is_placed()).count();
        if self.next > known {
            self.batch.note_placed(self.next);
        }
        self.batch.ops.get(self.next)
    }

    /// Where `op`, the next one, belongs.
    #[inline]
    pub(super) fn seek(&mut self, op: &Op, guard: &'g Guard) -> Spot<'t, 'g, EntrySlot> {
        let key = self.batch.key(op);
        let leaves = self.leaves;
        let spot = match (self.take_lead(guard), self.near) {
            (Some(lead), _) => lead.follow(key),
            (None, Some(near)) => leaves
                .seek_near(near, key, guard)
                .unwrap_or_else(|| self.look_ahead(key, guard)),
            (None, None) => leaves.seek_in_last(key, || self.look_ahead(key, guard), guard),
        };
        self.near = Some(spot.leaf());
        spot
    }

    /// The lead of the next op, unless its leaf was written to since.
    fn take_lead(&mut self, guard: &'g Guard) -> Option<Lead<'t, 'g, EntrySlot>> {
        let lead = self.leads.get_mut(self.next - self.first)?.take()?;
        let is_near = self.near.is_some_and(|near| lead.is_in(near));
        (!is_near && lead.is_current(guard)).then_some(lead)
    }

    /// Where the next op belongs, whose key this is; those that follow are looked for with it.
    #[inline(never)]
    fn look_ahead(&mut self, key: &[u8], guard: &'g Guard) -> Spot<'t, 'g, EntrySlot> {
        let mut keys = [&[][..]; AHEAD];
        let asked = keys.iter_mut().zip(&self.batch.ops[self.next..]);
        let asked = asked.map(|(key, op)| *key = self.batch.key(op)).count();
        self.leads = self.leaves.leads(&keys[..asked], guard);
        self.first = self.next;
        match self.leads[0].take() {
            Some(lead) => lead.follow(key),
            None => self.leaves.seek(key, guard),
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::batch::WriteBatch;
    use crate::memtable::Memtable;
    use crate::reclaim;

    #[test]
    fn what_came_after_the_look_ahead_is_found() {
        let keys = [b"a", b"b", b"c", b"d", b"e"];
        let table = Memtable::new().with_leaf_capacity(2);
        table.insert("A", "in a leaf before").unwrap();
        table.insert("B", "in a leaf before").unwrap();
        table.insert("f", "in a leaf behind").unwrap();
        let mut batch = WriteBatch::new();
        keys.iter().for_each(|key| {
            batch.put(key, "batch");
        });
        let guard = reclaim::pin();
        let view = table.table().clock.now(&guard);
        let descriptor = Descriptor::new(&batch, None, &view);
        let mut ahead = Ahead::through(&descriptor, table.table());
        let mut slot_of = |number: usize| {
            ahead.next = number;
            ahead.seek(&descriptor.ops[number], &guard).slot()
        };
        assert!(slot_of(0).is_none());
        for key in keys {
            table.insert(key, "single").unwrap();
        }
        for number in 0..keys.len() {
            assert!(slot_of(number).is_some(), "{number}");
        }
    }
}
