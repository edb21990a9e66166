//! Removing, and merging what becomes empty or small into its left neighbour.

use super::{Level, Side, replace};
use crate::cells::Cell;
use crate::fence::Fence;
use crate::lanes::LaneSlot;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{Range, RunRef, Slot};
use crate::sync;
use std::ptr;

impl<'t, S: Slot> Level<'t, S> {
    /// Takes `slot` out, if it is still there. True for the one caller who did, who has to retire it.
    pub(crate) fn remove(&self, slot: S, guard: &Guard) -> bool {
        // SAFETY: the caller's guard keeps what the slot leads to.
        let key = unsafe { slot.key() };
        let mut spot = self.seek(key, guard);
        loop {
            let (Some(run), Ok(at)) = (spot.run, spot.at) else {
                return false;
            };
            if run.slots()[at] != slot {
                return false;
            }
            run.seal();
            if run.is_dead() {
                self.merge(spot.cell, run, guard);
            } else if replace(spot.cell, run, run.removed(at), guard) {
                let left = run.len() - 1;
                if left == 0 || (left <= self.capacity / 4 && left.is_power_of_two()) {
                    // Pairs with the one in `list`.
                    sync::fence_after_rmw();
                    if let Some(run) = spot.cell.load(guard) {
                        self.shrink(spot.cell, run, guard);
                    }
                }
                return true;
            }
            sync::spin();
            spot = self.seek_from(spot.cell, key, guard);
        }
    }

    /// Merges a leaf with one of its neighbours if both together are small.
    pub(super) fn shrink(&self, cell: &'t Cell<S>, run: RunRef<'_, S>, guard: &Guard) {
        if run.is_dead() {
            return;
        }
        let small = |other: &RunRef<'_, S>| other.len() + run.len() <= self.capacity / 2;
        if let Some(low) = run.low()
            && (run.len() == 0
                || matches!(self.find(low, Side::Before, guard), (_, Some(left)) if small(&left)))
        {
            return self.kill(cell, run, guard);
        }
        // SAFETY: cells live as long as the table (I3).
        if let Some(right) = unsafe { run.range().next.as_ref() }
            && let Some(right_run) = right.load(guard)
            && !right_run.is_dead()
            && small(&right_run)
        {
            self.kill(right, right_run, guard);
        }
    }

    /// Marks a leaf dead and merges it, if it is listed and did not change.
    fn kill(&self, cell: &'t Cell<S>, run: RunRef<'_, S>, guard: &Guard) {
        // SAFETY: the run was loaded under the guard, which keeps its fences (I5).
        let listed = unsafe { Fence::is_listed(run.range().low) };
        if !listed && !planted("dies-unlisted") {
            return;
        }
        run.seal();
        if replace(cell, run, run.dying(), guard)
            && let Some(dead) = cell.load(guard)
        {
            self.merge(cell, dead, guard);
        }
    }

    /// Merges a dead leaf into its left neighbour; if that is dead too, then it goes first. Returns when the leaf is merged,
    /// by whomever.
    pub(super) fn merge(&self, cell: &'t Cell<S>, dead: RunRef<'_, S>, guard: &Guard) {
        let (mut next, mut next_run) = (cell, dead);
        loop {
            let low = next_run.low().unwrap_or_default();
            let (left, Some(run)) = self.find(low, Side::Before, guard) else {
                return;
            };
            let merged = if !ptr::eq(run.range().next, next) {
                true
            } else if run.is_dead() && !planted("merge-into-a-dead-leaf") {
                (next, next_run) = (left, run);
                continue;
            } else {
                self.absorb(left, run, next, next_run, guard)
            };
            if merged && ptr::eq(next, cell) {
                return;
            }
            (next, next_run) = (cell, dead);
            if !merged {
                sync::spin();
            }
        }
    }

    /// Makes the left leaf cover the dead one too. True for the one caller who did.
    fn absorb<'g>(
        &self,
        left: &Cell<S>,
        run: RunRef<'g, S>,
        cell: &'t Cell<S>,
        dead: RunRef<'g, S>,
        guard: &'g Guard,
    ) -> bool {
        let Range { low: fence, .. } = dead.range();
        run.seal();
        if run.len() + dead.len() <= self.capacity {
            if !replace(left, run, run.joined(dead), guard) {
                return false;
            }
        } else {
            let halves = |right| run.joined_and_split(dead, right);
            let Some(offspring) = self.split(left, run, halves, guard) else {
                return false;
            };
            self.list(offspring, guard);
        }
        if let Some(lane) = self.lanes.above(self.above)
            && !planted("item-of-a-merged-leaf")
        {
            lane.remove(LaneSlot::new(fence, cell), guard);
        }
        // SAFETY: our CAS took it out of the chain, its item is out of the lane above, and neither comes back (C6).
        unsafe { self.cells.retire(cell, guard) };
        true
    }
}
