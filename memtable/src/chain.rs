//! The chain: leaves from left to right, each the owner of a range of keys. One protocol at every level.
//!
//! A chain starts in its first cell, which covers everything; a split hands the right half of a cell's range to a new cell
//! that only the left half's `next` names:
//!
//! ```text
//!   cell A ──► run [a b c d]  high=∞ next=∅          before
//!
//!   cell A ──► run [a b]  high=c next=B ──► cell B ──► run [c d]  high=∞ next=∅
//! ```
//!
//! The split, like every other change, is one CAS of cell A: B is filled before and is not reachable until then. So the run
//! in a cell always covers the range from the cell's `low`, which never changes, to some `high`, and what lies above is
//! behind `next`. Whoever starts in any cell whose `low` is not above the key finds it by walking to the right, however old
//! the hint that led there: a lane may be late, stale or missing, and nothing is awaited or helped.
//!
//! A run that was replaced is retired by the one who replaced it.

use crate::cells::{Cell, Cells};
use crate::fence::Fence;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{self, NewRun, Range, RunRef, Slot};
use crate::sync;

/// Where to start, and what is known already: the key is below `bound` (null: nothing is known, or there is no bound).
pub(crate) struct Hint<'t, S> {
    pub(crate) cell: &'t Cell<S>,
    pub(crate) bound: *const Fence,
}

/// Which side of a fence a key that equals it belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The leaf that holds the key itself.
    At,
    /// The leaf that holds what comes right before the key.
    Before,
    /// The last leaf, whatever the key.
    Last,
}

/// Walks to the right to the leaf that covers `key`. `None` only in an empty chain.
#[inline]
pub(crate) fn walk<'t, 'g, S: Slot>(
    hint: Hint<'t, S>,
    key: &[u8],
    side: Side,
    guard: &'g Guard,
) -> (&'t Cell<S>, Option<RunRef<'g, S>>) {
    let mut cell = hint.cell;
    loop {
        let Some(run) = cell.load(guard) else {
            return (cell, None);
        };
        run.prefetch();
        let Range { high, next, .. } = run.range();
        // A fence compared above, by pointer, need not be read again: that would cost a cache miss.
        if high.is_null() || (high == hint.bound && side != Side::Last) {
            return (cell, Some(run));
        }
        // SAFETY: fences live as long as the table (I5).
        let high = unsafe { Fence::key(high) };
        let inside = match side {
            Side::At => key < high,
            Side::Before => key <= high,
            Side::Last => false,
        };
        if inside {
            return (cell, Some(run));
        }
        // SAFETY: `next` is set with `high`, and cells live as long as the table (I3).
        cell = unsafe { &*next };
    }
}

/// Where a key is, or where it would have to be.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'t, 'g, S> {
    pub(crate) cell: &'t Cell<S>,
    pub(crate) run: Option<RunRef<'g, S>>,
    pub(crate) at: Result<usize, usize>,
}

impl<S: Slot> Spot<'_, '_, S> {
    /// What the key leads to, if it is there.
    #[inline]
    pub(crate) fn slot(&self) -> Option<S> {
        Some(self.run?.slots()[self.at.ok()?])
    }
}

/// Walks to the right to the leaf that covers `key` and looks for it there.
#[inline]
pub(crate) fn seek<'t, 'g, S: Slot>(
    hint: Hint<'t, S>,
    key: &[u8],
    guard: &'g Guard,
) -> Spot<'t, 'g, S> {
    let (cell, run) = walk(hint, key, Side::At, guard);
    let at = run.map_or(Err(0), |run| run.search(key));
    Spot { cell, run, at }
}

/// A leaf that was split off, for the lanes.
pub(crate) struct Offspring<'t, S> {
    pub(crate) fence: *const Fence,
    pub(crate) cell: &'t Cell<S>,
}

/// What became of an insert.
pub(crate) enum Inserted<'t, S> {
    /// The key is there already.
    Found(S),
    Done {
        /// What the new slot replaced: the caller, and nobody else, has to retire it.
        displaced: Option<S>,
        offspring: Option<Offspring<'t, S>>,
    },
}

/// What a chain needs to grow.
pub(crate) struct Growth<'t, S> {
    pub(crate) cells: &'t Cells<S>,
    /// The most slots in a run; at least 2.
    pub(crate) capacity: usize,
}

/// Puts `slot` where its key belongs, unless the key has a slot that is not `replaceable`. One CAS, repeated if it was lost.
pub(crate) fn insert<'t, 'g, S: Slot>(
    growth: &Growth<'t, S>,
    spot: Spot<'t, 'g, S>,
    slot: S,
    replaceable: impl Fn(S) -> bool,
    guard: &'g Guard,
) -> Inserted<'t, S> {
    // SAFETY: the slot is the caller's, and what it leads to outlives the call.
    let key = unsafe { slot.key::<'g>() };
    let mut spot = spot;
    loop {
        let Spot { cell, run, at } = spot;
        let Some(run) = run else {
            let new = NewRun::single(Range::EVERYTHING, key, slot);
            if cell.install(std::ptr::null_mut(), new.as_ptr()) {
                new.published();
                return Inserted::Done {
                    displaced: None,
                    offspring: None,
                };
            }
            spot = seek(from(cell), key, guard);
            continue;
        };
        let outcome = match at {
            Ok(at) if !replaceable(run.slots()[at]) => return Inserted::Found(run.slots()[at]),
            Ok(at) => replace(cell, run, run.replaced(at, slot), guard)
                .then(|| (Some(run.slots()[at]), None)),
            Err(at) if run.len() < growth.capacity => {
                replace(cell, run, run.inserted(at, key, slot), guard).then_some((None, None))
            }
            Err(at) => {
                split(growth, cell, run, at, slot, guard).map(|offspring| (None, Some(offspring)))
            }
        };
        if let Some((displaced, offspring)) = outcome {
            return Inserted::Done {
                displaced,
                offspring,
            };
        }
        sync::spin();
        spot = seek(from(cell), key, guard);
    }
}

/// Takes `slot` out, if it is still there. True for the one caller who did, who has to retire it.
pub(crate) fn remove<'g, S: Slot>(hint: Hint<'_, S>, slot: S, guard: &'g Guard) -> bool {
    // SAFETY: the caller's guard keeps what the slot leads to.
    let key = unsafe { slot.key::<'g>() };
    let mut start = hint;
    loop {
        let (cell, Some(run)) = walk(start, key, Side::At, guard) else {
            return false;
        };
        match run.search(key) {
            Ok(at) if run.slots()[at] == slot => {
                if replace(cell, run, run.removed(at), guard) {
                    return true;
                }
            }
            _ => return false,
        }
        sync::spin();
        start = from(cell);
    }
}

fn from<S>(cell: &Cell<S>) -> Hint<'_, S> {
    Hint {
        cell,
        bound: std::ptr::null(),
    }
}

fn replace<'g, S: Slot>(
    cell: &Cell<S>,
    old: RunRef<'g, S>,
    new: NewRun<S>,
    guard: &'g Guard,
) -> bool {
    if !cell.install(old.as_ptr(), new.as_ptr()) {
        return false;
    }
    new.published();
    if planted("run-freed-at-once") {
        // SAFETY: none: the bug is planted.
        unsafe { run::destroy::<S>(old.as_ptr().cast()) };
        return true;
    }
    // SAFETY: the CAS took it out of its cell, the only place that named it, and only one CAS can do that (I4).
    unsafe { guard.retire(old.as_ptr().cast(), run::destroy::<S>, run::allocation(old)) };
    true
}

fn split<'t, 'g, S: Slot>(
    growth: &Growth<'t, S>,
    cell: &Cell<S>,
    run: RunRef<'g, S>,
    at: usize,
    slot: S,
    guard: &'g Guard,
) -> Option<Offspring<'t, S>> {
    let right = growth.cells.take();
    let halves = run.split(at, slot, right);
    if !planted("right-half-late") {
        right.fill(halves.right.as_ptr());
    }
    if replace(cell, run, halves.left, guard) {
        if planted("right-half-late") {
            right.fill(halves.right.as_ptr());
        }
        halves.right.published();
        return Some(Offspring {
            fence: halves.fence,
            cell: right,
        });
    }
    growth.cells.give_back(right);
    // SAFETY: both halves that named it were not published; the left one is gone and the right one goes here.
    unsafe { S::forget_fence(halves.fence) };
    None
}

/// Frees the runs of a chain, after showing each to `before`.
pub(crate) fn free_runs<S: Slot>(first: &mut Cell<S>, mut before: impl FnMut(RunRef<'_, S>)) {
    let mut run = first.take();
    // SAFETY: the table is being dropped, so nobody else can reach its cells and runs.
    while let Some(current) = unsafe { RunRef::new(run) } {
        before(current);
        let next = current.range().next.cast_mut();
        // SAFETY: as above, and each run is in one cell.
        unsafe {
            run::destroy::<S>(run.cast());
            run = next.as_mut().map_or(std::ptr::null_mut(), Cell::take);
        }
    }
}
