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
const AHEAD: usize = 32;
/// In the first run fewer, and more in each that follows: most walks are short, and what is asked for in vain keeps others waiting.
const AHEAD_AT_FIRST: usize = 12;
const MORE_AHEAD: usize = 8;

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
    pub(crate) table: &'g Table,
    pub(crate) guard: &'g Guard,
    lower: Bound<Edge<'g>>,
    upper: Bound<Edge<'g>>,
    end: End,
    /// The run in which the walk stands, those of its slots that are between the bounds, and those that are still to be yielded.
    run: Option<RunRef<'g, EntrySlot>>,
    all: &'g [EntrySlot],
    slots: &'g [EntrySlot],
    /// The slots to ask for, so many ahead of those; of the run `beyond` when this one has no more. None for a walk from the back.
    ahead: &'g [EntrySlot],
    /// How many these are to be.
    wanted: usize,
    /// The run on the right, as it was when that was asked for.
    beyond: Option<RunRef<'g, EntrySlot>>,
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
            all: &[],
            slots: &[],
            ahead: &[],
            wanted: 0,
            beyond: None,
            last: false,
        }
    }

    /// Between bounds that are owned.
    pub(crate) fn between(
        table: &'g Table,
        lower: Bound<Bytes>,
        upper: Bound<Bytes>,
        guard: &'g Guard,
    ) -> Walk<'g> {
        Walk::new(
            table,
            lower.map(Edge::Shared),
            upper.map(Edge::Shared),
            guard,
        )
    }

    /// As [`Walk::next`], if that is a matter of two slots that are at hand; else the walk stays where it is.
    #[inline(always)]
    pub(crate) fn next_at_hand(&mut self) -> Option<EntryRef<'g>> {
        let (&slot, slots) = self.slots.split_first()?;
        let (to_come, ahead) = self.ahead.split_first()?;
        to_come.prefetch();
        (self.slots, self.ahead) = (slots, ahead);
        // SAFETY: from a run that was loaded under the guard (I4).
        Some(unsafe { slot.under(self.guard) })
    }

    /// The next entry from the front, dead and absent ones included.
    pub(crate) fn next(&mut self) -> Option<EntryRef<'g>> {
        if (self.end != End::Front || self.slots.is_empty()) && !self.advance(End::Front) {
            return None;
        }
        let (&slot, rest) = self.slots.split_first()?;
        self.slots = rest;
        if self.ahead.is_empty() {
            self.look_beyond();
        }
        if let Some((slot, rest)) = self.ahead.split_first() {
            slot.prefetch();
            self.ahead = rest;
        }
        // SAFETY: from a run that was loaded under the guard (I4).
        Some(unsafe { slot.under(self.guard) })
    }

    /// The next entry from the back, dead and absent ones included.
    pub(crate) fn next_back(&mut self) -> Option<EntryRef<'g>> {
        if (self.end != End::Back || self.slots.is_empty()) && !self.advance(End::Back) {
            return None;
        }
        let (&slot, rest) = self.slots.split_last()?;
        self.slots = rest;
        if let Some(slot) = rest.len().checked_sub(AHEAD_AT_FIRST).map(|at| rest[at]) {
            slot.prefetch();
        }
        // SAFETY: from a run that was loaded under the guard (I4).
        Some(unsafe { slot.under(self.guard) })
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

    /// Goes on asking in the run on the right; once for each run.
    #[cold]
    fn look_beyond(&mut self) {
        if self.last || self.beyond.is_some() {
            return;
        }
        self.beyond = self.next_run();
        self.ahead = self.beyond.map_or(&[], |run| run.slots());
    }

    fn next_run(&self) -> Option<RunRef<'g, EntrySlot>> {
        self.run?.next(self.guard)
    }

    /// Goes on to the next slots of that end; false at the end of the walk.
    #[cold]
    fn advance(&mut self, end: End) -> bool {
        if self.end != end {
            self.turn(end);
        }
        while self.slots.is_empty() {
            if self.done {
                return false;
            }
            let (run, is_first) = match self.run {
                Some(_) if self.last => (None, false),
                Some(run) => (self.neighbour(run), false),
                None => (self.first(), true),
            };
            match run {
                Some(run) => self.enter(run, is_first),
                None => self.done = true,
            }
        }
        true
    }

    /// The run where the walk begins, at its end.
    fn first(&self) -> Option<RunRef<'g, EntrySlot>> {
        match (self.end, &self.lower, &self.upper) {
            (End::Front, Bound::Included(key) | Bound::Excluded(key), _) => {
                self.load(key.as_ref(), Side::At)
            }
            (End::Front, Bound::Unbounded, _) => self.load(&[], Side::At),
            (End::Back, _, Bound::Included(key)) => self.load(key.as_ref(), Side::At),
            (End::Back, _, Bound::Excluded(key)) => self.load(key.as_ref(), Side::Before),
            (End::Back, _, Bound::Unbounded) => self.load(&[], Side::Last),
        }
    }

    /// The run behind `run`, away from its end.
    fn neighbour(&mut self, run: RunRef<'g, EntrySlot>) -> Option<RunRef<'g, EntrySlot>> {
        match self.end {
            End::Front => {
                self.lower = Bound::Included(Edge::Yielded(run.high()?));
                self.next_run()
            }
            End::Back => {
                let low = run.low()?;
                self.upper = Bound::Excluded(Edge::Yielded(low));
                self.load(low, Side::Before)
            }
        }
    }

    /// Leaves its place, which becomes a bound.
    fn turn(&mut self, end: End) {
        if let Some(slot) = self.yielded() {
            // SAFETY: from a run that was loaded under the guard (I4).
            let edge = Bound::Excluded(Edge::Yielded(unsafe { slot.key() }));
            match self.end {
                End::Front => self.lower = edge,
                End::Back => self.upper = edge,
            }
        }
        self.end = end;
        self.run = None;
        self.all = &[];
        self.slots = &[];
        self.ahead = &[];
        self.beyond = None;
    }

    /// The slot that was yielded last, if it came from `run`.
    fn yielded(&self) -> Option<EntrySlot> {
        let yielded = self.all.len() - self.slots.len();
        let at = match self.end {
            End::Front => yielded.checked_sub(1)?,
            End::Back => self.slots.len(),
        };
        self.all.get(at).copied()
    }

    fn load(&self, key: &[u8], side: Side) -> Option<RunRef<'g, EntrySlot>> {
        self.table.leaves().find(key, side, self.guard).1
    }

    fn enter(&mut self, run: RunRef<'g, EntrySlot>, is_first: bool) {
        // Whole runs are the rule, so a bound is looked for in a run only if it lies there.
        let ends_here = match (&self.upper, run.high()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            // The next leaf begins at `high`.
            (Bound::Included(upper), Some(high)) => upper.as_ref() < high,
            (Bound::Excluded(upper), Some(high)) => upper.as_ref() <= high,
        };
        let to = match ends_here {
            true => before(&self.upper, run),
            false => run.len(),
        };
        let (from, last) = match self.end {
            // The run of the lower bound, or one that begins where the one before ended.
            End::Front if is_first => (above(&self.lower, |key| run.search(key)), ends_here),
            End::Front => (0, ends_here),
            End::Back => self.lower_end(run),
        };
        self.all = run.slots().get(from..to).unwrap_or_default();
        self.slots = self.all;
        // Fewer than are to be, behind a run that has fewer.
        let asked = match self.beyond.take() == Some(run) {
            true => self.slots.len().saturating_sub(self.ahead.len()),
            false => 0,
        };
        self.run = Some(run);
        self.last = last;
        if self.end == End::Front {
            if !self.last
                && let Some(next) = self.next_run()
            {
                next.prefetch();
            }
            self.wanted = match is_first {
                true => AHEAD_AT_FIRST,
                false => (self.wanted + MORE_AHEAD).min(AHEAD),
            };
            let begun = asked.max(self.wanted).min(self.slots.len());
            let (begun, ahead) = self.slots.split_at(begun);
            begun.iter().skip(asked).for_each(|slot| slot.prefetch());
            self.ahead = ahead;
        }
    }

    /// Where the lower bound leaves off in a run that is entered from its end, and whether it lies there.
    fn lower_end(&self, run: RunRef<'g, EntrySlot>) -> (usize, bool) {
        let begins_here = match (&self.lower, run.low()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            (Bound::Included(lower) | Bound::Excluded(lower), Some(low)) => lower.as_ref() >= low,
        };
        match begins_here {
            true => (after(&self.lower, run), true),
            false => (0, false),
        }
    }
}

/// Index of the first slot above the lower bound, which may lie outside of the run.
pub(crate) fn after(lower: &Bound<Edge<'_>>, run: RunRef<'_, EntrySlot>) -> usize {
    above(lower, |key| run.seek(key))
}

/// The same, for a search that tells where a key is or would have to be.
fn above(lower: &Bound<Edge<'_>>, search: impl FnOnce(&[u8]) -> Result<usize, usize>) -> usize {
    match lower {
        Bound::Unbounded => 0,
        Bound::Included(key) => search(key.as_ref()).unwrap_or_else(|at| at),
        Bound::Excluded(key) => search(key.as_ref()).map_or_else(|at| at, |at| at + 1),
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
