//! Walking over a range of keys, from either end.
//!
//! Forward, one run is read as a whole up to its `high`, then the leaf behind `next`, whose `low` is that same fence: so no key
//! is passed over and none comes twice, whatever splits meanwhile. Backward, a run is read down to its `low`, then the leaf
//! with the greatest `low` below it is looked for from the lanes. What is found in each entry is the reader's affair.

use crate::chain::Side;
use crate::entry::{EntryRef, EntrySlot};
use crate::reclaim::Guard;
use crate::run::{RunRef, Slot};
use crate::table::Table;
use bytes::Bytes;
use std::ops::Bound;

/// How many entries ahead are asked for: enough to hide a miss behind the work on the entries before.
const AHEAD: usize = 12;

/// The bounds that are left, as owned keys or as keys of entries that were yielded.
#[derive(Clone)]
pub(crate) enum Edge<'g> {
    Given(Box<[u8]>),
    Shared(Bytes),
    Yielded(&'g [u8]),
}

impl AsRef<[u8]> for Edge<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Edge::Given(key) => key,
            Edge::Shared(key) => key,
            Edge::Yielded(key) => key,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

/// Which way a reader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// A walk over the entries between two bounds. It stands in one run, for the end that moved last; when the other end moves, its
/// place becomes a bound.
pub(crate) struct Walk<'g> {
    table: &'g Table,
    guard: &'g Guard,
    lower: Bound<Edge<'g>>,
    upper: Bound<Edge<'g>>,
    end: End,
    /// The run in which the walk stands, and those of its slots that are still to be yielded.
    run: Option<RunRef<'g, EntrySlot>>,
    slots: &'g [EntrySlot],
    /// The slot that was yielded last, if it came from `run`.
    yielded: Option<EntrySlot>,
    /// Nothing is to be yielded beyond `run`.
    last: bool,
    done: bool,
}

pub(crate) fn owned<'g, K: AsRef<[u8]>>(bound: Bound<&K>) -> Bound<Edge<'g>> {
    bound.map(|key| Edge::Given(key.as_ref().into()))
}

impl<'g> Walk<'g> {
    pub(crate) fn new(
        table: &'g Table,
        lower: Bound<Edge<'g>>,
        upper: Bound<Edge<'g>>,
        guard: &'g Guard,
    ) -> Walk<'g> {
        Walk {
            table,
            guard,
            done: is_empty(&lower, &upper),
            lower,
            upper,
            end: End::Front,
            run: None,
            slots: &[],
            yielded: None,
            last: false,
        }
    }

    /// The next entry from the front, dead and absent ones included.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<EntryRef<'g>> {
        loop {
            if self.end == End::Front
                && let Some((&slot, rest)) = self.slots.split_first()
            {
                self.slots = rest;
                self.yielded = Some(slot);
                match rest.get(AHEAD) {
                    Some(slot) => slot.prefetch(),
                    None => self.prefetch_beyond(AHEAD - rest.len()),
                }
                // SAFETY: from a run that was loaded under the guard (I4).
                return Some(unsafe { slot.under(self.guard) });
            }
            if !self.advance(End::Front) {
                return None;
            }
        }
    }

    /// The next entry from the back, dead and absent ones included.
    pub(crate) fn next_back(&mut self) -> Option<EntryRef<'g>> {
        loop {
            if self.end == End::Back
                && let Some((&slot, rest)) = self.slots.split_last()
            {
                self.slots = rest;
                self.yielded = Some(slot);
                if let Some(slot) = rest.len().checked_sub(AHEAD).map(|at| rest[at]) {
                    slot.prefetch();
                }
                // SAFETY: from a run that was loaded under the guard (I4).
                return Some(unsafe { slot.under(self.guard) });
            }
            if !self.advance(End::Back) {
                return None;
            }
        }
    }

    pub(crate) fn step(&mut self, direction: Direction) -> Option<EntryRef<'g>> {
        match direction {
            Direction::Forward => self.next(),
            Direction::Backward => self.next_back(),
        }
    }

    /// Passes over what lies before `key`, which is ahead in that direction: O(log n).
    pub(crate) fn jump(&mut self, direction: Direction, key: Bound<Edge<'g>>) {
        match direction {
            Direction::Forward => {
                self.turn(End::Front);
                self.lower = key;
            }
            Direction::Backward => {
                self.turn(End::Back);
                self.upper = key;
            }
        }
    }

    /// Asks for an entry of the next leaf.
    fn prefetch_beyond(&self, at: usize) {
        if let Some(next) = self.next_run()
            && let Some(slot) = next.slots().get(at)
        {
            slot.prefetch();
        }
    }

    fn next_run(&self) -> Option<RunRef<'g, EntrySlot>> {
        self.run?.next(self.guard)
    }

    /// Goes on to the next run of that end; false at the end of the walk.
    #[cold]
    fn advance(&mut self, end: End) -> bool {
        if self.done {
            return false;
        }
        if self.end != end {
            self.turn(end);
        }
        let run = match (end, self.run) {
            (_, Some(_)) if self.last => None,
            (End::Front, Some(run)) => {
                if let Some(high) = run.high() {
                    self.lower = Bound::Included(Edge::Yielded(high));
                }
                self.next_run()
            }
            (End::Back, Some(run)) => run.low().and_then(|low| {
                self.upper = Bound::Excluded(Edge::Yielded(low));
                self.load(low, Side::Before)
            }),
            (End::Front, None) => match &self.lower {
                Bound::Included(key) | Bound::Excluded(key) => self.load(key.as_ref(), Side::At),
                Bound::Unbounded => self.load(&[], Side::At),
            },
            (End::Back, None) => match &self.upper {
                Bound::Included(key) => self.load(key.as_ref(), Side::At),
                Bound::Excluded(key) => self.load(key.as_ref(), Side::Before),
                Bound::Unbounded => self.load(&[], Side::Last),
            },
        };
        match run {
            Some(run) => self.enter(run),
            None => self.done = true,
        }
        run.is_some()
    }

    /// Leaves its place, which becomes a bound.
    fn turn(&mut self, end: End) {
        if let Some(slot) = self.yielded.take() {
            // SAFETY: from a run that was loaded under the guard (I4).
            let edge = Bound::Excluded(Edge::Yielded(unsafe { slot.key() }));
            match self.end {
                End::Front => self.lower = edge,
                End::Back => self.upper = edge,
            }
        }
        self.end = end;
        self.run = None;
        self.slots = &[];
    }

    fn load(&self, key: &[u8], side: Side) -> Option<RunRef<'g, EntrySlot>> {
        self.table.leaves().find(key, side, self.guard).1
    }

    fn enter(&mut self, run: RunRef<'g, EntrySlot>) {
        // Whole runs are the rule, so a bound is looked for in a run only if it lies there.
        let ends_here = match (&self.upper, run.high()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            // The next leaf begins at `high`.
            (Bound::Included(upper), Some(high)) => upper.as_ref() < high,
            (Bound::Excluded(upper), Some(high)) => upper.as_ref() <= high,
        };
        let begins_here = match (&self.lower, run.low()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            (Bound::Included(lower) | Bound::Excluded(lower), Some(low)) => lower.as_ref() >= low,
        };
        let to = if ends_here {
            before(&self.upper, run)
        } else {
            run.len()
        };
        let from = if begins_here {
            after(&self.lower, run)
        } else {
            0
        };
        self.slots = run.slots().get(from..to).unwrap_or_default();
        self.run = Some(run);
        self.yielded = None;
        self.last = match self.end {
            End::Front => ends_here,
            End::Back => begins_here,
        };
        if self.end == End::Front {
            if !self.last
                && let Some(next) = self.next_run()
            {
                next.prefetch();
            }
            self.slots
                .iter()
                .take(AHEAD)
                .for_each(|slot| slot.prefetch());
        }
    }
}

/// Index of the first slot above the lower bound.
pub(crate) fn after(lower: &Bound<Edge<'_>>, run: RunRef<'_, EntrySlot>) -> usize {
    match lower {
        Bound::Unbounded => 0,
        Bound::Included(key) => run.seek(key.as_ref()).unwrap_or_else(|at| at),
        Bound::Excluded(key) => run.seek(key.as_ref()).map_or_else(|at| at, |at| at + 1),
    }
}

/// Index behind the last slot below the upper bound.
pub(crate) fn before(upper: &Bound<Edge<'_>>, run: RunRef<'_, EntrySlot>) -> usize {
    match upper {
        Bound::Unbounded => run.len(),
        Bound::Included(key) => run.seek(key.as_ref()).map_or_else(|at| at, |at| at + 1),
        Bound::Excluded(key) => run.seek(key.as_ref()).unwrap_or_else(|at| at),
    }
}

fn is_empty(lower: &Bound<Edge<'_>>, upper: &Bound<Edge<'_>>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(lower), Bound::Included(upper)) => lower.as_ref() > upper.as_ref(),
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => lower.as_ref() >= upper.as_ref(),
    }
}
