//! The express lanes: a skiplist of fat nodes above the leaves.
//!
//! A lane is a chain as the leaves are, whose slots lead to cells of the level below. A leaf that was split off is entered in
//! the lowest lane; a lane run that was split off, in the next one. Lanes are hints: they only ever gain entries, and a leaf
//! that is missing there is found by walking to the right from its left neighbour.

use crate::cells::{Cell, Cells};
use crate::chain::{self, Growth, Hint, Inserted, Offspring, Side};
use crate::entry::EntrySlot;
use crate::fence::Fence;
use crate::reclaim::Guard;
use crate::run::Slot;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::const_fn;
use std::ptr;

const LEVELS: usize = 12;

/// A lane's slot: the fence where the part below begins, and its cell.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct LaneSlot {
    fence: *const Fence,
    /// A `Cell<EntrySlot>` in the lowest lane, a `Cell<LaneSlot>` above.
    below: *const (),
}

impl Slot for LaneSlot {
    /// The heads alone; of the slots one line is read.
    const LINES: usize = 7;

    unsafe fn key<'g>(self) -> &'g [u8] {
        // SAFETY: fences live as long as the table (I5).
        unsafe { Fence::key(self.fence) }
    }

    unsafe fn fence_between(_left: Self, right: Self) -> *const Fence {
        right.fence
    }

    unsafe fn forget_fence(_fence: *const Fence) {}
}

pub(crate) struct Lanes {
    levels: [Cell<LaneSlot>; LEVELS],
    height: AtomicUsize,
    cells: Cells<LaneSlot>,
}

impl Lanes {
    const_fn! {
        pub(crate) const fn new() -> Lanes {
            Lanes {
                levels: [
                    Cell::empty(), Cell::empty(), Cell::empty(), Cell::empty(),
                    Cell::empty(), Cell::empty(), Cell::empty(), Cell::empty(),
                    Cell::empty(), Cell::empty(), Cell::empty(), Cell::empty(),
                ],
                height: AtomicUsize::new(0),
                cells: Cells::new(),
            }
        }
    }

    /// The leaf cell from which to walk to `key`, at best its own.
    pub(crate) fn descend<'t>(
        &'t self,
        leaves: &'t Cell<EntrySlot>,
        key: &[u8],
        side: Side,
        guard: &Guard,
    ) -> Hint<'t, EntrySlot> {
        let (below, bound) = self.descend_to(0, key, side, guard);
        Hint {
            // SAFETY: slots of the lowest lane lead to cells of leaves, which live as long as the table (I3).
            cell: below.map_or(leaves, |below| unsafe { &*below.cast() }),
            bound,
        }
    }

    /// The cell below the given level from which to walk, `None` for the first one; and a fence that the key is below.
    fn descend_to(
        &self,
        level: usize,
        key: &[u8],
        side: Side,
        guard: &Guard,
    ) -> (Option<*const ()>, *const Fence) {
        let mut below: Option<*const ()> = None;
        let mut bound = ptr::null();
        // Relaxed: a height that is behind only makes the walk longer.
        for level in (level..self.height.load(Ordering::Relaxed)).rev() {
            let hint = Hint {
                // SAFETY: slots above the lowest lane lead to cells of lanes, which live as long as the table (I3).
                cell: below.map_or(&self.levels[level], |below| unsafe { &*below.cast() }),
                bound,
            };
            let (_, Some(run)) = chain::walk(hint, key, side, guard) else {
                below = None;
                continue;
            };
            let next = match (side, run.search(key)) {
                (Side::Last, _) => run.len(),
                (Side::At, Ok(at)) => at + 1,
                (_, Ok(at) | Err(at)) => at,
            };
            let slots = run.slots();
            bound = slots.get(next).map_or(run.range().high, |slot| slot.fence);
            below = next.checked_sub(1).map(|at| slots[at].below);
        }
        (below, bound)
    }

    /// Enters a leaf that was split off.
    pub(crate) fn add(&self, leaf: Offspring<'_, EntrySlot>, capacity: usize, guard: &Guard) {
        let mut slot = LaneSlot {
            fence: leaf.fence,
            below: ptr::from_ref(leaf.cell).cast(),
        };
        let growth = Growth {
            cells: &self.cells,
            capacity,
        };
        for level in 0..LEVELS {
            // SAFETY: fences live as long as the table (I5).
            let key = unsafe { Fence::key(slot.fence) };
            let (from, bound) = self.descend_to(level + 1, key, Side::At, guard);
            let hint = Hint {
                // SAFETY: as in `descend_to`.
                cell: from.map_or(&self.levels[level], |from| unsafe { &*from.cast() }),
                bound,
            };
            let spot = chain::seek(hint, key, guard);
            let inserted = chain::insert(&growth, spot, slot, |_| false, guard);
            self.height.fetch_max(level + 1, Ordering::Relaxed);
            let Inserted::Done {
                offspring: Some(lane),
                ..
            } = inserted
            else {
                return;
            };
            slot = LaneSlot {
                fence: lane.fence,
                below: ptr::from_ref(lane.cell).cast(),
            };
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for level in &mut self.levels {
            chain::free_runs(level, |_| {});
        }
    }
}
