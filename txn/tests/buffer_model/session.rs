//! One sequence of operations on a buffer and on the model, with all that can be seen compared after each.

use super::check::{check, check_history, check_snapshot, check_stage, same_error};
use super::hook::{Told, unless_planned};
use super::model::{Content, KEYS, Model};
use std::collections::BTreeMap;
use untorn_txn::buffer::{BufferSnapshot, Savepoint, Stage, StageOrder};
use untorn_txn::{Entry, Error, FlagOp, MemBuffer};

#[derive(Debug, Clone)]
pub enum Op {
    Write {
        key: usize,
        content: Content,
        ops: Vec<FlagOp>,
    },
    Stage,
    Release {
        pick: usize,
    },
    Cleanup {
        pick: usize,
    },
    DropStage {
        pick: usize,
    },
    Savepoint,
    RollBack {
        pick: usize,
    },
    DropSavepoint {
        pick: usize,
    },
    BufferLimit(Option<usize>),
    EntryLimit(Option<usize>),
    KeyLimit(usize),
    Snapshot,
    SnapshotNow,
    Hook {
        panics: bool,
    },
    ClearHook,
    Compact,
    Reset,
}

/// Does the operations.
///
/// # Panics
/// Where buffer and model differ.
pub fn run(ops: Vec<Op>) {
    let mut session = Session::new();
    for op in ops {
        session.step(op);
        session.compare();
    }
}

struct Session {
    buffer: MemBuffer,
    model: Model,
    /// Open stages and savepoints, with their numbers in the model.
    stages: Vec<(usize, Stage)>,
    savepoints: Vec<(usize, Savepoint)>,
    views: Vec<(BufferSnapshot, BTreeMap<&'static str, Entry>)>,
    told: Option<Told>,
}

impl Session {
    fn new() -> Session {
        Session {
            buffer: MemBuffer::new(),
            model: Model::new(),
            stages: Vec::new(),
            savepoints: Vec::new(),
            views: Vec::new(),
            told: None,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Write { key, content, ops } => self.write(key, content, ops),
            Op::Stage => self.stage(),
            Op::Release { pick } => self.close(pick, false),
            Op::Cleanup { pick } => self.close(pick, true),
            Op::DropStage { pick } => {
                if let Some(place) = pick.checked_rem(self.stages.len()) {
                    let (number, stage) = self.stages.remove(place);
                    drop(stage);
                    self.model.drop_stage(number);
                }
            }
            Op::Savepoint => self.savepoint(),
            Op::RollBack { pick } => self.roll_back(pick),
            Op::DropSavepoint { pick } => {
                if let Some(place) = pick.checked_rem(self.savepoints.len()) {
                    let (number, savepoint) = self.savepoints.remove(place);
                    drop(savepoint);
                    self.model.drop_savepoint(number);
                }
            }
            Op::BufferLimit(limit) => {
                self.model.buffer_limit = limit.unwrap_or(usize::MAX);
                self.buffer.set_buffer_limit(self.model.buffer_limit);
            }
            Op::EntryLimit(limit) => {
                self.model.entry_limit = limit.unwrap_or(usize::MAX);
                self.buffer.set_entry_limit(self.model.entry_limit);
            }
            Op::KeyLimit(limit) => {
                self.model.key_limit = limit;
                self.buffer.set_key_limit(limit);
            }
            Op::Snapshot => self
                .views
                .push((self.buffer.snapshot(), self.model.snapshot())),
            Op::SnapshotNow => self
                .views
                .push((self.buffer.snapshot_now(), self.model.entries())),
            Op::Hook { panics } => self.told = Some(Told::set(&self.buffer, panics)),
            Op::ClearHook => {
                self.told = None;
                self.buffer.clear_memory_hook();
            }
            Op::Compact => self.compact(),
            Op::Reset => {
                if let Some(reset) = unless_planned(|| self.buffer.reset()) {
                    reset.unwrap();
                }
                self.model.reset();
            }
        }
    }

    fn write(&mut self, key: usize, content: Content, ops: Vec<FlagOp>) {
        let real = unless_planned(|| match &content {
            Content::Value(value) => self.buffer.set_with_flags(KEYS[key], value, &ops),
            Content::Tombstone => self.buffer.delete_with_flags(KEYS[key], &ops),
            Content::Keep => self.buffer.update_flags(KEYS[key], &ops),
        });
        agree(real, self.model.write(key, content, ops));
    }

    fn stage(&mut self) {
        let number = self.model.stage();
        match unless_planned(|| self.buffer.stage()) {
            Some(stage) => self.stages.push((number, stage)),
            None => self.model.drop_stage(number),
        }
    }

    fn close(&mut self, pick: usize, cleanup: bool) {
        let Some(place) = nearest_end(pick, self.stages.len()) else {
            return;
        };
        let (number, stage) = self.stages.remove(place);
        let closed = self.model.close(number, cleanup);
        let answer = unless_planned(|| match cleanup {
            true => stage.cleanup(),
            false => stage.release(),
        });
        // A hook that panics is called after the stage was closed.
        let answer: Result<(), StageOrder> = answer.unwrap_or(Ok(()));
        assert_eq!(answer.is_ok(), closed);
        if let Err(refused) = answer {
            self.stages.insert(place, (number, refused.into_stage()));
        }
    }

    fn savepoint(&mut self) {
        let number = self.model.savepoint();
        match unless_planned(|| self.buffer.savepoint()) {
            Some(savepoint) => self.savepoints.push((number, savepoint)),
            None => self.model.drop_savepoint(number),
        }
    }

    fn roll_back(&mut self, pick: usize) {
        if let Some(place) = nearest_end(pick, self.savepoints.len()) {
            let (number, savepoint) = &self.savepoints[place];
            let real = unless_planned(|| self.buffer.rollback_to(savepoint));
            agree(real, self.model.rollback_to(*number));
        }
    }

    fn compact(&mut self) {
        unless_planned(|| self.buffer.compact());
        if let Some(told) = &mut self.told
            && self.views.is_empty()
            && self.savepoints.is_empty()
            && self.model.stages.is_empty()
        {
            told.check(&self.buffer);
            told.check_compacted(&self.buffer);
        }
    }

    fn compare(&mut self) {
        check(&self.buffer, &self.model);
        check_history(&self.buffer, &self.model);
        for (number, stage) in &self.stages {
            check_stage(&self.buffer, stage, self.model.written_in(*number));
        }
        for (view, expected) in &self.views {
            check_snapshot(view, expected);
        }
        if let Some(told) = &mut self.told {
            told.check(&self.buffer);
        }
    }
}

/// Mostly the innermost, so that stages do close.
fn nearest_end(pick: usize, count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some(if pick < 12 { last } else { pick % count })
}

/// Where the hook panicked, whatever else was to be answered is not known.
fn agree(real: Option<Result<(), Error>>, expected: Result<(), Error>) {
    if let Some(real) = real {
        assert!(
            same_error(&real, &expected),
            "{real:?} instead of {expected:?}"
        );
    }
}
