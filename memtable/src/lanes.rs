//! The express lanes: a skiplist of fat nodes above the leaves.
//!
//! A lane is a chain as the leaves are, whose slots lead to cells of the level below. A leaf that was split off is listed in
//! the lowest lane; a lane run that was split off, in the next one; and whoever merges one takes its item out. Lanes are
//! hints: a leaf that is missing there is found by walking to the right from its left neighbour, and one that is dead is left
//! for the one before (C5).

use crate::cells::{Cell, Cells};
use crate::chain::{self, Hint, Level, Side, walk};
use crate::fence::Fence;
use crate::mutant::planted;
use crate::prefetch::prefetch;
use crate::reclaim::Guard;
use crate::run::{RunRef, Slot};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::const_fn;
use std::ptr;

const LEVELS: usize = 12;
/// Most slots of a lane run.
const CAPACITY: usize = if cfg!(untorn_loom) { 2 } else { 320 };

/// A lane's slot: the fence where the part below begins, and its cell.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct LaneSlot {
    fence: *const Fence,
    /// A `Cell<EntrySlot>` in the lowest lane, a `Cell<LaneSlot>` above.
    below: *const (),
}

impl LaneSlot {
    pub(crate) fn new<S>(fence: *const Fence, below: &Cell<S>) -> LaneSlot {
        LaneSlot {
            fence,
            below: ptr::from_ref(below).cast(),
        }
    }
}

impl Slot for LaneSlot {
    /// The heads alone; of the slots one line is read.
    const LINES: [usize; 2] = [0, 7];

    fn prefetch(self) {
        prefetch(self.fence);
    }

    unsafe fn key<'g>(self) -> &'g [u8] {
        // SAFETY: a fence outlives the item that names it (I5).
        unsafe { Fence::key(self.fence) }
    }

    unsafe fn fence_between(_left: Self, right: Self) -> *const Fence {
        // A copy: the fence of an item goes with the leaf to which it leads.
        // SAFETY: by the contract of the trait.
        Fence::copy_of(unsafe { right.key() })
    }
}

/// Where a descent stands: in which cell of a level to start walking.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// A cell of that level; null for the first one.
    below: *const (),
    /// A fence that the key is below; null if none is known.
    pub(crate) bound: *const Fence,
}

impl Place {
    pub(crate) const START: Place = Place {
        below: ptr::null(),
        bound: ptr::null(),
    };

    /// # Safety
    /// The place is of the level whose first cell is `first`.
    #[inline]
    pub(crate) unsafe fn cell_or<'t, S>(&self, first: &'t Cell<S>) -> &'t Cell<S> {
        // SAFETY: by the contract of that type, and cells live as long as the table.
        unsafe { self.below.cast::<Cell<S>>().as_ref() }.unwrap_or(first)
    }

    /// Where to start walking.
    ///
    /// # Safety
    /// As for [`Place::cell_or`].
    #[inline]
    pub(crate) unsafe fn hint<'t, S>(&self, first: &'t Cell<S>) -> Hint<'t, S> {
        Hint {
            // SAFETY: by the contract.
            cell: unsafe { self.cell_or(first) },
            bound: self.bound,
        }
    }
}

pub(crate) struct Lanes {
    levels: [Cell<LaneSlot>; LEVELS],
    height: AtomicUsize,
    cells: Cells<LaneSlot>,
    capacity: usize,
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
                capacity: CAPACITY,
            }
        }
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// The lane of that number, from 0, which lists the cells of the level below.
    pub(crate) fn above(&self, number: usize) -> Option<Level<'_, LaneSlot>> {
        Some(Level {
            first: self.levels.get(number)?,
            cells: &self.cells,
            capacity: self.capacity,
            lanes: self,
            above: number + 1,
        })
    }

    /// Bytes of the blocks of all lanes' cells.
    pub(crate) fn allocated_cells(&self) -> usize {
        self.cells.allocated()
    }

    /// So many lanes are in use.
    pub(crate) fn raise(&self, height: usize) {
        self.height.fetch_max(height, Ordering::Relaxed);
    }

    /// Where to start on the level that lane `number` lists.
    #[inline(always)]
    pub(crate) fn descend_to(&self, number: usize, key: &[u8], side: Side, guard: &Guard) -> Place {
        let mut place = Place::START;
        for (number, first) in self.lanes_down_to(number) {
            place = self.step_down(number, first, place, key, side, guard);
        }
        place
    }

    /// The same for the leaves and many keys side by side: what one of them waits for was asked for before the others.
    pub(crate) fn descend_interleaved(&self, keys: &[&[u8]], places: &mut [Place], guard: &Guard) {
        places.fill(Place::START);
        for (number, first) in self.lanes_down_to(0) {
            prefetch_runs(first, places, guard);
            for (place, key) in places.iter_mut().zip(keys) {
                *place = self.step_down(number, first, *place, key, Side::At, guard);
            }
        }
    }

    /// The lanes in use, down to lane `number`, and their first cells. Relaxed: a height that is behind only makes the walk longer.
    #[inline]
    fn lanes_down_to(&self, number: usize) -> impl Iterator<Item = (usize, &Cell<LaneSlot>)> {
        let height = self.height.load(Ordering::Relaxed);
        let lanes = self.levels.get(number..height).unwrap_or_default();
        lanes
            .iter()
            .enumerate()
            .rev()
            .map(move |(above, first)| (number + above, first))
    }

    #[inline(always)]
    fn step_down(
        &self,
        number: usize,
        first: &Cell<LaneSlot>,
        from: Place,
        key: &[u8],
        side: Side,
        guard: &Guard,
    ) -> Place {
        // SAFETY: slots above the lowest lane lead to cells of lanes (I3).
        let hint = unsafe { from.hint(first) };
        match step_by_heads(&hint, key, side, guard) {
            Some(place) => place,
            None => self.step_by_keys(number, first, hint, key, side, guard),
        }
    }

    /// As [`step_by_heads`], where the hint leads elsewhere or keys have to be compared.
    #[inline(never)]
    fn step_by_keys(
        &self,
        number: usize,
        first: &Cell<LaneSlot>,
        hint: Hint<'_, LaneSlot>,
        key: &[u8],
        side: Side,
        guard: &Guard,
    ) -> Place {
        let bound = hint.bound;
        let leaf = match walk(hint, key, side, guard) {
            Ok(leaf) => leaf,
            Err(dead) => self.find_left_of(number + 1, first, dead, key, side, guard),
        };
        let (_, Some(run)) = leaf else {
            let below = ptr::null();
            return Place { below, bound };
        };
        // Of one moment: an item that is added meanwhile need not be above the key (E4).
        let slots = run.slots();
        let next = match (side, run.search_in(slots, key)) {
            (Side::Last, _) => slots.len(),
            (Side::At, Ok(at)) => at + 1,
            (_, Ok(at) | Err(at)) => at,
        };
        let mut place = place_before(run, slots, next);
        if next == 0 {
            place.below = self.last_item_before(number, run, guard);
        }
        place
    }

    /// What the last item of a lane to the left of a run leads to; null if there is none. Only if the run's first item was taken out,
    /// or the run is the first.
    #[cold]
    fn last_item_before(
        &self,
        number: usize,
        run: RunRef<'_, LaneSlot>,
        guard: &Guard,
    ) -> *const () {
        let Some(lane) = self.above(number) else {
            return ptr::null();
        };
        let mut run = run;
        while let Some(low) = run.low() {
            let (_, Some(left)) = lane.find(low, Side::Before, guard) else {
                break;
            };
            let (Ok(at) | Err(at)) = left.search(low);
            if let Some(at) = at.checked_sub(1) {
                return left.slots()[at].below;
            }
            run = left;
        }
        ptr::null()
    }
}

/// The way of nearly every step: the hint leads to the item's run, and the heads alone tell which item it is. No lines are asked for ahead:
/// a run of a lane is mostly in a cache, and instructions count more.
#[inline(always)]
fn step_by_heads(
    hint: &Hint<'_, LaneSlot>,
    key: &[u8],
    side: Side,
    guard: &Guard,
) -> Option<Place> {
    if side == Side::Last {
        return None;
    }
    let run = hint.cell.load(guard)?;
    let (slots, next) = run.first_above(key)?;
    if !run.ends_at(hint.bound) || (next == 0 && !run.range().low.is_null()) {
        return None;
    }
    match (slots.get(next.wrapping_sub(1)), slots.get(next)) {
        (Some(before), Some(above)) => Some(Place {
            below: before.below,
            bound: above.fence,
        }),
        _ => Some(place_before(run, slots, next)),
    }
}

/// Where the item before number `next` leads to; to the first cell if the run has none.
fn place_before(run: RunRef<'_, LaneSlot>, slots: &[LaneSlot], next: usize) -> Place {
    let bounds = match planted("bound-added-meanwhile") {
        true => run.slots(),
        false => slots,
    };
    Place {
        bound: bounds.get(next).map_or(run.range().high, |slot| slot.fence),
        below: match next.checked_sub(1) {
            Some(at) => slots[at].below,
            None => ptr::null(),
        },
    }
}

/// Asks for the runs to which the places lead: first for all cells, then for what they hold.
pub(crate) fn prefetch_runs<S: Slot>(first: &Cell<S>, places: &[Place], guard: &Guard) {
    for place in places {
        // SAFETY: by the caller the places are of this level (I3).
        prefetch(unsafe { place.cell_or(first) });
    }
    for place in places {
        // SAFETY: as above.
        if let Some(run) = unsafe { place.cell_or(first) }.load(guard) {
            run.prefetch();
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
