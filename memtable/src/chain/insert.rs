//! Inserting, splitting, and listing what was split off in the lane above.

use super::{Level, Spot, replace};
use crate::cells::Cell;
use crate::fence::Fence;
use crate::lanes::LaneSlot;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{Appended, NewRun, RunRef, Slot, Split};
use crate::sync;
use std::ptr;

/// A leaf that was split off, for the lane above.
pub(crate) struct Offspring<'t, S> {
    fence: *const Fence,
    cell: &'t Cell<S>,
    /// A guess with how many bytes of the fence the keys of the chain begin: the prefix of the run that was split.
    alike: u16,
}

/// What became of an insert.
pub(crate) enum Inserted<'t, S> {
    /// The key is there already.
    Found(S),
    /// Not inserted: it was not wanted any more.
    Unwanted,
    Done {
        /// What the new slot replaced: the caller, and nobody else, has to retire it.
        displaced: Option<S>,
        /// To be listed, in the end, with [`Level::list`].
        offspring: Option<Offspring<'t, S>>,
    },
}

impl<'t, S: Slot> Level<'t, S> {
    /// Puts `slot` where its key belongs, unless the key has a slot that is not `replaceable`. One CAS, repeated if it was lost.
    ///
    /// Before each CAS, and after what it expects was loaded, it is asked whether the slot is still `wanted`: neither a run nor a
    /// length of one ever comes back, so what made it unwanted before that, and changed them, makes the CAS fail.
    pub(crate) fn insert<'g>(
        &self,
        spot: Spot<'t, 'g, S>,
        slot: S,
        replaceable: impl Fn(S) -> bool,
        wanted: impl Fn() -> bool,
        guard: &'g Guard,
    ) -> Inserted<'t, S> {
        // SAFETY: the slot is the caller's, and what it leads to outlives the call.
        let key = unsafe { slot.key::<'g>() };
        let mut spot = spot;
        loop {
            let Spot {
                cell,
                run,
                mut at,
                is_end,
            } = spot;
            if !wanted() {
                return Inserted::Unwanted;
            }
            let Some(run) = run else {
                if install_first(cell, slot, 0) {
                    return Inserted::Done {
                        displaced: None,
                        offspring: None,
                    };
                }
                spot = self.seek_from(cell, key, guard);
                continue;
            };
            if let Err(end) = at
                && run.grows()
                && (is_end || run.end_for(key) == Some(end))
            {
                match run.append(end, key, slot) {
                    Appended::Done => {
                        return Inserted::Done {
                            displaced: None,
                            offspring: None,
                        };
                    }
                    Appended::Moved => {
                        spot = Spot::within((cell, Some(run)), key);
                        continue;
                    }
                    Appended::Refused => {}
                }
            }
            if run.grows() && run.seal() {
                at = run.search(key);
                // Again, after the contents by which it goes were read.
                if !wanted() {
                    return Inserted::Unwanted;
                }
            }
            let outcome = match at {
                Ok(at) if !replaceable(run.slots()[at]) => return Inserted::Found(run.slots()[at]),
                _ if run.is_dead() => {
                    self.merge(cell, run, guard);
                    None
                }
                Ok(at) => replace(cell, run, run.replaced(at, slot), guard)
                    .then(|| (Some(run.slots()[at]), None)),
                Err(at) if run.len() < self.capacity => {
                    let new = run.inserted(at, key, slot, self.capacity);
                    replace(cell, run, new, guard).then_some((None, None))
                }
                Err(at) => {
                    let at_the_end = at == run.len() && run.range().next.is_null();
                    let halves = |right| run.split(at, slot, right);
                    self.split(cell, run, halves, guard).map(|offspring| {
                        if at_the_end {
                            self.cells.set_last(offspring.cell);
                        }
                        (None, Some(offspring))
                    })
                }
            };
            if let Some((displaced, offspring)) = outcome {
                return Inserted::Done {
                    displaced,
                    offspring,
                };
            }
            sync::spin();
            spot = self.seek_from(cell, key, guard);
        }
    }

    /// Puts the left one of two runs in place of `run`, and the right one into a new cell behind it.
    pub(super) fn split<'g>(
        &self,
        cell: &Cell<S>,
        run: RunRef<'g, S>,
        halves: impl FnOnce(*const Cell<S>) -> Split<S>,
        guard: &'g Guard,
    ) -> Option<Offspring<'t, S>> {
        let right = self.cells.take();
        let Split {
            left,
            right: right_run,
            fence,
        } = halves(right);
        if !planted("right-half-late") {
            right.fill(right_run.as_ptr());
        }
        if replace(cell, run, left, guard) {
            if planted("right-half-late") {
                right.fill(right_run.as_ptr());
            }
            right_run.published();
            return Some(Offspring {
                fence,
                cell: right,
                alike: run.prefix(),
            });
        }
        self.cells.give_back(right);
        // SAFETY: both halves that named it were not published; the left one is gone and the right one goes here.
        unsafe { Fence::free(fence) };
        None
    }

    /// Lists a leaf that was split off in the lane above; until then it does not die (C6).
    pub(crate) fn list(&self, leaf: Offspring<'t, S>, guard: &Guard) {
        let slot = LaneSlot::new(leaf.fence, leaf.cell);
        let lane = self.lanes.above(self.above);
        let offspring = lane
            .as_ref()
            .and_then(|lane| lane.enter(slot, leaf.alike, guard));
        // SAFETY: the fence goes with its leaf, which does not die before.
        unsafe { Fence::set_listed(leaf.fence) };
        // Pairs with the one in `shrink`: who emptied the leaf sees that it is listed, or it is seen here to be empty.
        sync::fence_after_rmw();
        if let Some(run) = leaf.cell.load(guard)
            && run.len() == 0
        {
            self.shrink(leaf.cell, run, guard);
        }
        if let (Some(lane), Some(offspring)) = (lane, offspring) {
            lane.list(offspring, guard);
        }
    }
}

/// Puts a run of one slot into the first cell of an empty chain; `alike` as for [`NewRun::single`].
fn install_first<S: Slot>(first: &Cell<S>, slot: S, alike: u16) -> bool {
    // SAFETY: the slot is the caller's, and what it leads to outlives the call.
    let key = unsafe { slot.key() };
    let new = NewRun::single(key, slot, alike);
    let is_first = first.install(ptr::null_mut(), new.as_ptr());
    if is_first {
        new.published();
    }
    is_first
}

impl<'t> Level<'t, LaneSlot> {
    /// Enters an item. One of the same key that is there leads to a leaf that is dead, since a key begins one live leaf at most.
    /// If it is the first, so many bytes of its key are guessed to be `alike` in all that come.
    fn enter(&self, slot: LaneSlot, alike: u16, guard: &Guard) -> Option<Offspring<'t, LaneSlot>> {
        if self.first.load(guard).is_none() && install_first(self.first, slot, alike) {
            self.lanes.raise(self.above);
            return None;
        }
        // SAFETY: the fence goes with its leaf, which is not listed yet and so does not die.
        let spot = self.seek(unsafe { slot.key() }, guard);
        let inserted = self.insert(spot, slot, |_| true, || true, guard);
        self.lanes.raise(self.above);
        match inserted {
            Inserted::Done { offspring, .. } => offspring,
            Inserted::Found(_) | Inserted::Unwanted => None,
        }
    }
}
