//! Walking over a range of keys, from either end.
//!
//! Forward, one run is read as a whole up to its `high`, then the leaf behind `next`, whose `low` is that same fence: so no key
//! is passed over and none comes twice, whatever splits meanwhile. Backward, a run is read down to its `low`, then the leaf
//! with the greatest `low` below it is looked for from the lanes. What is found in each entry is the reader's affair.

use crate::chain::{self, Side};
use crate::entry::{EntryRef, EntrySlot};
use crate::prefetch::prefetch;
use crate::reclaim::Guard;
use crate::run::RunRef;
use crate::table::Table;
use std::ops::Bound;

/// How many entries ahead are asked for: enough to hide a miss behind the work on the entries before.
const AHEAD: usize = 6;

/// The bounds that are left, as owned keys or as keys of entries that were yielded.
#[derive(Clone)]
pub(crate) enum Edge<'g> {
    Given(Box<[u8]>),
    Yielded(&'g [u8]),
}

impl AsRef<[u8]> for Edge<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Edge::Given(key) => key,
            Edge::Yielded(key) => key,
        }
    }
}

/// The slots of one run that are still to be yielded.
struct Stretch<'g> {
    run: RunRef<'g, EntrySlot>,
    from: usize,
    to: usize,
    /// Nothing is to be yielded beyond this run.
    last: bool,
}

pub(crate) struct Walk<'g> {
    table: &'g Table,
    guard: &'g Guard,
    lower: Bound<Edge<'g>>,
    upper: Bound<Edge<'g>>,
    front: Option<Stretch<'g>>,
    back: Option<Stretch<'g>>,
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
        let done = is_empty(&lower, &upper);
        Walk {
            table,
            guard,
            lower,
            upper,
            front: None,
            back: None,
            done,
        }
    }

    /// The next entry from the front, dead and absent ones included.
    pub(crate) fn next(&mut self) -> Option<EntryRef<'g>> {
        while !self.done {
            let Some(front) = &mut self.front else {
                self.start_front();
                continue;
            };
            if front.from < front.to {
                let at = front.from;
                front.from += 1;
                let slots = front.run.slots();
                if let Some(slot) = slots.get(at + AHEAD) {
                    prefetch(slot.as_ptr());
                    prefetch(slot.as_ptr().wrapping_add(64));
                }
                // SAFETY: from a run that was loaded under the guard (I4).
                let entry = unsafe { slots[at].under(self.guard) };
                self.lower = Bound::Excluded(Edge::Yielded(entry.key()));
                self.back = None;
                return Some(entry);
            }
            let next = front.run.range().next;
            if front.last || next.is_null() {
                self.done = true;
                break;
            }
            // SAFETY: cells live as long as the table (I3).
            let run = unsafe { &*next }.load(self.guard);
            self.enter_front(run, 0);
        }
        None
    }

    fn start_front(&mut self) {
        let key = match &self.lower {
            Bound::Included(key) | Bound::Excluded(key) => key.as_ref(),
            Bound::Unbounded => &[],
        };
        let hint = self.table.hint(key, Side::At, self.guard);
        let (_, run) = chain::walk(hint, key, Side::At, self.guard);
        let from = run.map_or(0, |run| after(&self.lower, run));
        self.enter_front(run, from);
    }

    fn enter_front(&mut self, run: Option<RunRef<'g, EntrySlot>>, from: usize) {
        let Some(run) = run else {
            self.done = true;
            return;
        };
        run.prefetch();
        let last = match (&self.upper, run.high()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            // The next leaf begins at `high`.
            (Bound::Included(upper), Some(high)) => upper.as_ref() < high,
            (Bound::Excluded(upper), Some(high)) => upper.as_ref() <= high,
        };
        let to = if last {
            before(&self.upper, run)
        } else {
            run.len()
        };
        for slot in run.slots()[from.min(to)..to].iter().take(AHEAD) {
            prefetch(slot.as_ptr());
            prefetch(slot.as_ptr().wrapping_add(64));
        }
        self.front = Some(Stretch {
            run,
            from,
            to,
            last,
        });
    }

    /// The next entry from the back, dead and absent ones included.
    pub(crate) fn next_back(&mut self) -> Option<EntryRef<'g>> {
        while !self.done {
            let Some(back) = &mut self.back else {
                self.start_back();
                continue;
            };
            if back.from < back.to {
                back.to -= 1;
                let slots = back.run.slots();
                if let Some(slot) = back.to.checked_sub(AHEAD).map(|at| slots[at]) {
                    prefetch(slot.as_ptr());
                    prefetch(slot.as_ptr().wrapping_add(64));
                }
                // SAFETY: from a run that was loaded under the guard (I4).
                let entry = unsafe { slots[back.to].under(self.guard) };
                self.upper = Bound::Excluded(Edge::Yielded(entry.key()));
                self.front = None;
                return Some(entry);
            }
            let low = back.run.low();
            let Some(low) = low.filter(|_| !back.last) else {
                self.done = true;
                break;
            };
            let hint = self.table.hint(low, Side::Before, self.guard);
            let (_, run) = chain::walk(hint, low, Side::Before, self.guard);
            self.enter_back(run);
        }
        None
    }

    fn start_back(&mut self) {
        let (key, side) = match &self.upper {
            Bound::Included(key) => (key.as_ref(), Side::At),
            Bound::Excluded(key) => (key.as_ref(), Side::Before),
            Bound::Unbounded => (&[][..], Side::Last),
        };
        let hint = self.table.hint(key, side, self.guard);
        let (_, run) = chain::walk(hint, key, side, self.guard);
        self.enter_back(run);
    }

    fn enter_back(&mut self, run: Option<RunRef<'g, EntrySlot>>) {
        let Some(run) = run else {
            self.done = true;
            return;
        };
        let last = match (&self.lower, run.low()) {
            (Bound::Unbounded, _) => false,
            (_, None) => true,
            (Bound::Included(lower) | Bound::Excluded(lower), Some(low)) => lower.as_ref() >= low,
        };
        let from = if last { after(&self.lower, run) } else { 0 };
        let to = before(&self.upper, run);
        self.back = Some(Stretch {
            run,
            from,
            to,
            last,
        });
    }
}

/// Index of the first slot above the lower bound.
fn after(lower: &Bound<Edge<'_>>, run: RunRef<'_, EntrySlot>) -> usize {
    match lower {
        Bound::Unbounded => 0,
        Bound::Included(key) => run.seek(key.as_ref()).unwrap_or_else(|at| at),
        Bound::Excluded(key) => run.seek(key.as_ref()).map_or_else(|at| at, |at| at + 1),
    }
}

/// Index behind the last slot below the upper bound.
fn before(upper: &Bound<Edge<'_>>, run: RunRef<'_, EntrySlot>) -> usize {
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
