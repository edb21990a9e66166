//! Stages: writes that can be taken back at one instant.

use crate::clock::{Clock, View, ViewRef};
use crate::debt::{DebtorList, Debts};
use crate::marks::{Mark, Marks};
use crate::reclaim::Guard;
use crate::savepoint::sweep;
use crate::sync::{self, Arc};

/// An open stage of a [`Memtable`](crate::Memtable): the right to close it, once.
///
/// Give it back to [`release_stage`](crate::Memtable::release_stage) or [`cleanup_stage`](crate::Memtable::cleanup_stage) of the
/// table that opened it. One that is dropped leaves the stage open.
#[must_use = "a stage stays open until it is released or cleaned up"]
pub struct StageId {
    pub(crate) mark: Arc<Mark>,
}

impl std::fmt::Debug for StageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageId")
            .field("segment", &self.mark.first)
            .finish_non_exhaustive()
    }
}

/// What became of a stage that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// It was the outermost open stage: only a savepoint from before can take its writes back from now on.
    pub outermost: bool,
}

pub(crate) fn open(clock: &Clock, guard: &Guard) -> StageId {
    clock.change(guard, |view| {
        let mark = Mark::stage(view.segment + 1, &view.marks);
        (view.marked(mark.clone()), StageId { mark })
    })
}

pub(crate) fn release(
    id: StageId,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> Result<Released, StageId> {
    let left = loop {
        let view = clock.now(guard);
        if !is_innermost(&view, &id) {
            return Err(id);
        }
        // The savepoints that were made in the stage outlive it.
        let marks = view.marks.without(&id.mark);
        let next = View {
            marks: marks.clone(),
            ..View::clone(&view)
        };
        if clock.step(view, next, guard) {
            break marks;
        }
        sync::spin();
    };
    let outer = left.mark_of(id.mark.first);
    hand_outward(&id.mark, outer, clock, debts, guard);
    sweep(false, clock, debts, guard);
    Ok(Released {
        outermost: left.outermost_stage().is_none(),
    })
}

/// What was written since a mark that left the stack, and stays, belongs to the mark outside: `outer`, when it left.
pub(crate) fn hand_outward(
    mark: &Mark,
    outer: Option<&Arc<Mark>>,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) {
    let mut written = mark.written.close();
    let mut outer = outer.cloned();
    // It may be taken away meanwhile: then its list is closed.
    loop {
        let view = clock.now(guard);
        // Holes first: a mark further outside may be there still, but who takes it away knows nothing of the hole.
        let hole = view.rolled_back(mark.first);
        let hole = hole.map(|hole| hole.record.clone());
        match &outer {
            Some(outer) if hole.is_none() => {
                if let Ok(paid) = written.hand_to(&outer.written, outer.first) {
                    if !paid.is_empty() {
                        debts.add(paid, None);
                    }
                    return;
                }
            }
            _ => {
                let written = written.all();
                if let Some(hole) = &hole {
                    hole.expect_batch();
                }
                if !written.is_empty() || hole.is_some() {
                    debts.add(written, hole);
                }
                return;
            }
        }
        sync::spin();
        outer = clock.now(guard).mark_of(mark.first).cloned();
    }
}

pub(crate) fn clean_up(
    id: StageId,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> Result<(), StageId> {
    loop {
        let view = clock.now(guard);
        if !is_innermost(&view, &id) {
            return Err(id);
        }
        if cut(view, &id.mark, |outside, _| outside, clock, debts, guard) {
            break;
        }
        sync::spin();
    }
    sweep(false, clock, debts, guard);
    Ok(())
}

/// Takes back what was written since `mark`, which is in the stack of `seen`, and takes it and all marks inside of it away; `left`
/// makes the new stack of what is outside and the segment that begins. False if the clock moved meanwhile.
pub(crate) fn cut(
    seen: ViewRef<'_>,
    mark: &Arc<Mark>,
    left: impl FnOnce(Marks, u64) -> Marks,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> bool {
    let left = left(seen.marks.outside_of(mark), seen.segment + 1);
    let (view, hole) = seen.cut(mark.first, left);
    if !clock.step(seen, view, guard) {
        return false;
    }
    let mut written = DebtorList::default();
    for mark in seen.marks.within(mark) {
        written.absorb(mark.written.close().all());
    }
    debts.add_hole(written, hole);
    true
}

/// Whether it is the innermost open stage; savepoints may lie inside.
fn is_innermost(view: &View, id: &StageId) -> bool {
    let stage = view.marks.innermost_stage();
    stage.is_some_and(|stage| Arc::ptr_eq(stage, &id.mark))
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use crate::memtable::Memtable;
    use crate::{WriteBatch, reclaim};

    const STAGES: usize = 1000;

    /// Runs so many rounds, each of which leaves a hole, and more as long as too many holes are there: guards of other tests, whose
    /// threads may have to wait for a processor, keep them for a while.
    fn leave_few_holes(table: &Memtable, rounds: usize, mut round: impl FnMut(usize)) {
        let holes = || table.table().clock.now(&reclaim::pin()).holes.len();
        let is_few = |number| {
            round(number);
            number >= rounds && holes() < rounds / 10
        };
        assert!((0..100 * rounds).any(is_few), "{}", holes());
    }

    /// What such a snapshot keeps of the rest is no reason to keep a hole.
    #[test]
    fn a_snapshot_from_before_all_stages_keeps_few_holes() {
        let table = Memtable::new();
        let keys: Vec<[u8; 1]> = (0..10).map(|n| [n]).collect();
        let write = |value: &[u8]| {
            for key in &keys {
                table.insert(key, value).expect("small");
            }
        };
        write(b"before");
        let snapshot = table.snapshot();
        leave_few_holes(&table, STAGES, |_| {
            let stage = table.open_stage();
            write(b"inside");
            table.cleanup_stage(stage).expect("it is the innermost one");
        });
        for key in &keys {
            assert_eq!(snapshot.get(key).as_deref(), Some(&b"before"[..]));
            assert_eq!(table.get(key).as_deref(), Some(&b"before"[..]));
        }
    }

    /// What each snapshot shows of its stage was taken back with another hole than what is cleared away meanwhile.
    #[test]
    fn snapshots_one_after_another_of_stages_on_the_same_keys_keep_few_holes() {
        let table = Memtable::new();
        let mut snapshot = table.snapshot();
        let mut last = 0;
        leave_few_holes(&table, STAGES, |n| {
            last = n;
            let stage = table.open_stage();
            for key in 0..10u8 {
                table.insert([key], n.to_be_bytes()).expect("small");
            }
            snapshot = table.snapshot();
            table.cleanup_stage(stage).expect("it is the innermost one");
        });
        assert_eq!(snapshot.get([9]).as_deref(), Some(&last.to_be_bytes()[..]));
        assert_eq!(table.get([9]), None);
    }

    #[test]
    fn batches_in_stages_leave_few_holes_behind() {
        let table = Memtable::new();
        leave_few_holes(&table, STAGES, |n| {
            let stage = table.open_stage();
            let mut batch = WriteBatch::new();
            for key in 0..10u8 {
                batch.put([key], n.to_be_bytes());
            }
            table.apply(&batch).expect("small");
            table.cleanup_stage(stage).expect("it is the innermost one");
        });
    }

    #[test]
    fn stages_without_a_write_leave_few_holes_behind() {
        let table = Memtable::new();
        table.insert("k", "v").expect("small");
        leave_few_holes(&table, 10 * STAGES, |_| {
            let stage = table.open_stage();
            table.cleanup_stage(stage).expect("it is the innermost one");
        });
    }
}
