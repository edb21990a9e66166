//! The chain: leaves from left to right, each the owner of a range of keys. One protocol at every level.
//!
//! A chain starts in its first cell, which covers everything; a split hands the right half of a cell's range to a new cell
//! that only the left half's `next` names, and a merge takes it back:
//!
//! ```text
//!   cell A ──► run [a b c d]  high=∞ next=∅                                     whole
//!
//!   cell A ──► run [a b]  high=c next=B ──► cell B ──► run [c d]  high=∞        split
//!
//!   cell A ──► run [a b]  high=c next=B ──► cell B ──► run [d] dead high=∞      B is dead: its run is final
//!
//!   cell A ──► run [a b d]  high=∞ next=∅                                       merged
//! ```
//!
//! Each step is one CAS of one cell, but that a key behind all others of its leaf may be put into the run in place
//! ([`run`](crate::run)). A split needs no help: B is filled before and is not reachable until then. A merge takes
//! two: B's run is replaced by a *dead* one of the same contents, then A's by one that covers both. Who meets a dead leaf and
//! has to write there finishes the second step. The first leaf never dies, and a merge is never given up: what does not fit
//! into one run is split anew by the same CAS.
//!
//! So the run in a live cell always covers the range from the cell's `low`, which does not change while the cell lives, to
//! some `high`, and what lies above is behind `next`. Whoever starts in any *live* cell whose `low` is not above the key finds
//! it by walking to the right, however old the hint that led there: a lane may be late or missing.
//!
//! * C5: *Whoever comes from a lane to a dead leaf turns round* and starts further left: the leaf may be merged already, and
//!   what its run names be freed. Who comes from the `next` of a run that was live when it was loaded under the guard may use
//!   it: what it held then is merged only afterwards, so it is kept for the guard, and "not here" was true at some instant
//!   of the call.
//! * C6: *A leaf dies only after it was listed*: the lane above has its item, or never will. Who merged it takes that item out
//!   before he retires the cell, and nobody brings it back; so it is with the hint to the last leaf
//!   ([`cells`](crate::cells)). So no cell is reachable again after its retire.
//!
//! A run that was replaced is retired by the one who replaced it; a dead one goes with its cell and the fence where it began.

mod insert;
mod interleaved;
mod merge;
#[cfg(all(test, not(untorn_loom)))]
mod tests;

use crate::cells::{Cell, Cells};
use crate::fence::Fence;
use crate::lanes::{Lanes, Place};
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{self, NewRun, Range, Run, RunRef, Slot};
use std::ptr;

pub(crate) use insert::{Inserted, Offspring};
pub(crate) use interleaved::{IN_FLIGHT, Lead};

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

/// A leaf that a key leads to, and its run; none only in an empty chain.
pub(crate) type Leaf<'t, 'g, S> = (&'t Cell<S>, Option<RunRef<'g, S>>);

/// Walks to the right to the leaf that covers `key`. `Err` if the hint leads to a dead one (C5).
#[inline(always)]
pub(crate) fn walk<'t, 'g, S: Slot>(
    hint: Hint<'t, S>,
    key: &[u8],
    side: Side,
    guard: &'g Guard,
) -> Result<Leaf<'t, 'g, S>, RunRef<'g, S>> {
    let mut cell = hint.cell;
    let Some(mut run) = cell.load(guard) else {
        return Ok((cell, None));
    };
    run.prefetch();
    if run.is_dead() && !planted("dead-leaf-from-a-lane") {
        return Err(run);
    }
    loop {
        let Range { high, next, .. } = run.range();
        if high.is_null() || (high == hint.bound && side != Side::Last) {
            return Ok((cell, Some(run)));
        }
        // SAFETY: a run that is reached under the guard names a fence that the guard keeps (I5).
        let high = unsafe { Fence::key(high) };
        let inside = match side {
            Side::At => key < high,
            Side::Before => key <= high,
            Side::Last => false,
        };
        if inside {
            return Ok((cell, Some(run)));
        }
        // SAFETY: `next` is set with `high`, and cells live as long as the table (I3).
        cell = unsafe { &*next };
        let Some(right) = cell.load(guard) else {
            unreachable!("only the first cell of a chain can be empty")
        };
        right.prefetch();
        run = right;
    }
}

/// Where a key is, or where it would have to be.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'t, 'g, S> {
    cell: &'t Cell<S>,
    run: Option<RunRef<'g, S>>,
    at: Result<usize, usize>,
    /// It is known to be what [`RunRef::end_for`] answers.
    is_end: bool,
}

impl<'t, 'g, S: Slot> Spot<'t, 'g, S> {
    #[inline(always)]
    fn within((cell, run): Leaf<'t, 'g, S>, key: &[u8]) -> Spot<'t, 'g, S> {
        let at = match run {
            Some(run) => run.search(key),
            None => Err(0),
        };
        Spot::new(cell, run, at)
    }

    #[inline(always)]
    fn new(
        cell: &'t Cell<S>,
        run: Option<RunRef<'g, S>>,
        at: Result<usize, usize>,
    ) -> Spot<'t, 'g, S> {
        Spot {
            cell,
            run,
            at,
            is_end: false,
        }
    }

    /// Of a key that is behind all others of a run that grows.
    #[inline(always)]
    fn behind(cell: &'t Cell<S>, run: RunRef<'g, S>, end: usize) -> Spot<'t, 'g, S> {
        Spot {
            cell,
            run: Some(run),
            at: Err(end),
            is_end: true,
        }
    }

    /// The leaf that covers the key.
    pub(crate) fn leaf(&self) -> Leaf<'t, 'g, S> {
        (self.cell, self.run)
    }

    /// What the key leads to, if it is there.
    #[inline]
    pub(crate) fn slot(&self) -> Option<S> {
        Some(self.run?.slots()[self.at.ok()?])
    }
}

/// One chain, and the lanes above it.
#[derive(Clone, Copy)]
pub(crate) struct Level<'t, S> {
    pub(crate) first: &'t Cell<S>,
    pub(crate) cells: &'t Cells<S>,
    /// The most slots in a run; at least 2.
    pub(crate) capacity: usize,
    pub(crate) lanes: &'t Lanes,
    /// Which of the lanes lists the cells of this chain.
    pub(crate) above: usize,
}

impl<'t, S: Slot> Level<'t, S> {
    /// The leaf that covers `key`.
    #[inline]
    pub(crate) fn find<'g>(&self, key: &[u8], side: Side, guard: &'g Guard) -> Leaf<'t, 'g, S> {
        self.find_from(self.start(key, side, guard), key, side, guard)
    }

    /// As [`Level::find`], from a hint that may lead to a dead leaf.
    #[inline(always)]
    pub(crate) fn find_from<'g>(
        &self,
        hint: Hint<'t, S>,
        key: &[u8],
        side: Side,
        guard: &'g Guard,
    ) -> Leaf<'t, 'g, S> {
        match walk(hint, key, side, guard) {
            Ok(leaf) => leaf,
            Err(dead) => self
                .lanes
                .find_left_of(self.above, self.first, dead, key, side, guard),
        }
    }

    /// What `key` leads to.
    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8], guard: &Guard) -> Option<S> {
        let hint = self.start(key, Side::At, guard);
        // The way of nearly every lookup: the hint leads to the leaf itself, and the search there is a plain one.
        let run = hint.cell.load(guard)?;
        run.prefetch();
        match run.find_if_like_plain(key) {
            Some(Some(slot)) => Some(slot),
            Some(None) if run.ends_at(hint.bound) => None,
            _ => Spot::within(self.find_from(hint, key, Side::At, guard), key).slot(),
        }
    }

    /// The runs from the one that covers `key` to the last.
    pub(crate) fn runs<'g>(
        &self,
        key: &[u8],
        guard: &'g Guard,
    ) -> impl Iterator<Item = RunRef<'g, S>> {
        std::iter::successors(self.find(key, Side::At, guard).1, |run| run.next(guard))
    }

    /// The leaf that covers `key`, and where in it the key is.
    #[inline]
    pub(crate) fn seek<'g>(&self, key: &[u8], guard: &'g Guard) -> Spot<'t, 'g, S> {
        Spot::within(self.find(key, Side::At, guard), key)
    }

    /// As [`Level::seek`], for a key that may follow the one that was inserted last: it spares the descent if that began the last
    /// leaf.
    #[inline]
    pub(crate) fn seek_to_insert<'g>(&self, key: &[u8], guard: &'g Guard) -> Spot<'t, 'g, S> {
        self.seek_in_last(key, || self.seek(key, guard), guard)
    }

    /// Where `key` is, if that is in the last leaf and the hint leads there, or what is found `otherwise`.
    #[inline(always)]
    pub(crate) fn seek_in_last<'g>(
        &self,
        key: &[u8],
        otherwise: impl FnOnce() -> Spot<'t, 'g, S>,
        guard: &'g Guard,
    ) -> Spot<'t, 'g, S> {
        if let Some((cell, run)) = self.last_leaf(guard) {
            // Behind what is there, so not below where the leaf begins.
            if let Some(end) = run.end_for(key) {
                return Spot::behind(cell, run, end);
            }
            if run.low().is_some_and(|low| low <= key) {
                return self.seek_from(cell, key, guard);
            }
        }
        otherwise()
    }

    /// The last leaf, if the hint still leads there. From one that was the last, every leaf behind it would be walked through.
    #[inline]
    fn last_leaf<'g>(&self, guard: &'g Guard) -> Option<(&'t Cell<S>, RunRef<'g, S>)> {
        let cell = self.cells.last(guard)?;
        let run = cell.load(guard)?;
        let is_last = run.range().high.is_null() && !run.is_dead();
        is_last.then_some((cell, run))
    }

    /// Where `key` is, if that was in `near` when this was found to hold a key that is not above. It may have been split since.
    pub(crate) fn seek_near<'g>(
        &self,
        near: Leaf<'t, 'g, S>,
        key: &[u8],
        guard: &'g Guard,
    ) -> Option<Spot<'t, 'g, S>> {
        let (cell, run) = near;
        let run = run?;
        if run.high().is_some_and(|high| key >= high) {
            return None;
        }
        let bound = run.range().high;
        let hint = Hint { cell, bound };
        let leaf = self.find_from(hint, key, Side::At, guard);
        let (cell, Some(run)) = leaf else {
            return None;
        };
        Some(match run.end_for(key) {
            Some(end) => Spot::behind(cell, run, end),
            None => Spot::within(leaf, key),
        })
    }

    /// As [`Level::seek`], from a cell that was reached under the guard.
    fn seek_from<'g>(&self, cell: &'t Cell<S>, key: &[u8], guard: &'g Guard) -> Spot<'t, 'g, S> {
        let hint = Hint {
            cell,
            bound: ptr::null(),
        };
        Spot::within(self.find_from(hint, key, Side::At, guard), key)
    }

    /// Where the lanes say that one should start: at best in the leaf itself.
    #[inline(always)]
    fn start(&self, key: &[u8], side: Side, guard: &Guard) -> Hint<'t, S> {
        self.hint(self.lanes.descend_to(self.above, key, side, guard))
    }

    #[inline]
    fn hint(&self, place: Place) -> Hint<'t, S> {
        // SAFETY: the slots of the lane above lead to cells of this chain (I3).
        unsafe { place.hint(self.first) }
    }
}

impl Lanes {
    /// The leaf that covers `key`, of the chain that begins with `first` and that lane `above` lists, where the way there led to a
    /// dead one. A function of its own, and not of a [`Level`]: who does not come here need not have one in memory.
    #[cold]
    pub(crate) fn find_left_of<'t, 'g, S: Slot>(
        &self,
        above: usize,
        first: &'t Cell<S>,
        dead: RunRef<'g, S>,
        key: &[u8],
        side: Side,
        guard: &'g Guard,
    ) -> Leaf<'t, 'g, S> {
        let mut dead = dead;
        loop {
            // The first leaf does not die; were it so, the start would be the same one.
            let low = dead.low().unwrap_or_default();
            let place = self.descend_to(above, low, Side::Before, guard);
            let hint = Hint {
                bound: ptr::null(),
                // SAFETY: the slots of that lane lead to cells of this chain (I3).
                ..unsafe { place.hint(first) }
            };
            match walk(hint, key, side, guard) {
                Ok(leaf) => return leaf,
                Err(further) => dead = further,
            }
        }
    }
}

/// Puts `new` in place of `old`, and retires that. False if the cell has another run by now.
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

/// Frees the runs and fences of a chain, after showing each run to `before`.
pub(crate) fn free_runs<S: Slot>(first: &mut Cell<S>, mut before: impl FnMut(RunRef<'_, S>)) {
    let mut run = first.take();
    while !run.is_null() {
        // SAFETY: the table is being dropped, so nobody else can reach its cells and runs; each is in one cell.
        run = unsafe { free_run(run, &mut before) };
    }
}

/// Frees a run and its fence, after showing it to `before`, and takes the run on the right, which may be null.
///
/// # Safety
/// The run and those to the right of it are reachable from nowhere else, and their cells are alive.
pub(crate) unsafe fn free_run<S: Slot>(
    run: *mut Run<S>,
    before: impl FnOnce(RunRef<'_, S>),
) -> *mut Run<S> {
    // SAFETY: by the contract.
    unsafe {
        let Some(current) = RunRef::new(run) else {
            return ptr::null_mut();
        };
        let right = match current.range().next.cast_mut().as_mut() {
            Some(next) => next.take(),
            None => ptr::null_mut(),
        };
        if let Some(right) = RunRef::new(right) {
            right.prefetch();
        }
        before(current);
        run::destroy_with_fence::<S>(run);
        right
    }
}
