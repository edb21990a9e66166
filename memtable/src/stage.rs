//! Stages: writes that can be taken back at one instant.

use crate::clock::{Clock, Hole, Stage, View};
use crate::debt::{Debtors, Debts, HoleRecord};
use crate::reclaim::Guard;
use crate::sync::{self, Arc};

/// An open stage of a [`Memtable`](crate::Memtable): the right to close it, once.
///
/// Give it back to [`release_stage`](crate::Memtable::release_stage) or [`cleanup_stage`](crate::Memtable::cleanup_stage) of the
/// table that opened it. One that is dropped leaves the stage open.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a stage stays open until it is released or cleaned up"]
pub struct StageId {
    first: u64,
}

/// What became of a stage that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// It was the outermost open stage: its writes can no longer be taken back.
    pub outermost: bool,
}

pub(crate) fn open(clock: &Clock, guard: &Guard) -> StageId {
    loop {
        let view = clock.now(guard);
        let first = view.segment + 1;
        let next = View {
            segment: first,
            turns: view.turns + u64::from(view.stages.is_none()),
            stages: Some(Arc::new(Stage {
                first,
                outer: view.stages.clone(),
                written: Debtors::new(),
            })),
            holes: view.holes.clone(),
            frozen: view.frozen,
        };
        if clock.step(view, next, guard) {
            return StageId { first };
        }
        sync::spin();
    }
}

pub(crate) fn release(
    id: StageId,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> Result<Released, StageId> {
    let stage = loop {
        let view = clock.now(guard);
        let Some(stage) = innermost(&view, &id) else {
            return Err(id);
        };
        let next = View {
            stages: stage.outer.clone(),
            ..View::clone(&view)
        };
        if clock.step(view, next, guard) {
            break stage;
        }
        sync::spin();
    };
    let mut written = stage.written.close();
    // The stages outside may be closed meanwhile, from the inside to the outside.
    loop {
        let view = clock.now(guard);
        // Holes first: a stage further outside may be open still, but its closer knows nothing of the hole.
        let hole = view.rolled_back(stage.first);
        let hole = hole.map(|hole| hole.record.clone());
        match view.stage_of(stage.first) {
            Some(outer) if hole.is_none() => match outer.written.push_list(written) {
                Ok(()) => break,
                Err(refused) => written = refused,
            },
            _ => {
                if let Some(hole) = &hole {
                    hole.expect_batch();
                }
                if !written.is_empty() || hole.is_some() {
                    debts.add(written, hole);
                }
                break;
            }
        }
        sync::spin();
    }
    Ok(Released {
        outermost: stage.outer.is_none(),
    })
}

pub(crate) fn clean_up(
    id: StageId,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> Result<(), StageId> {
    let hole = HoleRecord::new();
    let stage = loop {
        let view = clock.now(guard);
        let Some(stage) = innermost(&view, &id) else {
            return Err(id);
        };
        let mut next = View {
            segment: view.segment + 1,
            turns: view.turns + 1,
            stages: stage.outer.clone(),
            holes: view.holes.clone(),
            frozen: view.frozen,
        };
        next.holes.push(Hole {
            first: stage.first,
            last: view.segment,
            at: next.segment,
            record: hole.clone(),
        });
        if clock.step(view, next, guard) {
            break stage;
        }
        sync::spin();
    };
    debts.add_hole(stage.written.close(), &hole, guard);
    Ok(())
}

fn innermost(view: &View, id: &StageId) -> Option<Arc<Stage>> {
    let stage = view.stages.as_ref()?;
    (stage.first == id.first).then(|| stage.clone())
}
