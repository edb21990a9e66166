//! Nested stages: writes that can be taken back as one.
//!
//! The open stages are a stack in the rules, in step with the table's own: both change with the
//! gate held exclusively, so a write, which passes the gate shared, knows its stage for its whole
//! course and notes there, before it ends, that the stage was touched, and whether by a value or
//! tombstone.
//!
//! | event | stack | table |
//! |---|---|---|
//! | `stage` | push | opens |
//! | `release` of the innermost | pop; its notes go to the stage outside, or dirty the buffer | releases |
//! | `cleanup` of the innermost | pop | cleans up; releases if untouched, since nothing is there to take back |
//! | the same inside doomed stages | pop all of them | releases all but the outermost of them, cleans that up: one instant |
//! | drop of the innermost | as `cleanup` | |
//! | drop of another | doomed | |
//! | `rollback_to` | the innermost forgets what it noted since | rolls back |
//! | `reset` | emptied | left behind with its stages |
//!
//! A note is the number of savepoints that had been made when it was taken, and only the oldest is
//! kept: what was written first is what a rollback takes back last.

use super::{Inner, MemBuffer, Rules};
use crate::error::Error;
use crossbeam_utils::sync::ShardedLockWriteGuard;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use untorn_memtable::StageId;

/// The open stages, outermost first.
#[derive(Debug, Default)]
pub(super) struct Stages {
    open: Vec<OpenStage>,
    /// Numbers given out; never reused, so that a handle from before a reset finds nothing.
    opened: u64,
    /// Savepoints made so far.
    savepoints: u64,
}

/// One open stage.
#[derive(Debug)]
pub(super) struct OpenStage {
    number: u64,
    table: StageId,
    /// Savepoints that had been made when it was opened.
    savepoints: u64,
    /// Something was written under it and is still there.
    touched: Note,
    /// A value or tombstone was written under it and is still there.
    wrote: Note,
    /// Its handle was dropped while a stage inside it was open.
    doomed: bool,
}

impl Stages {
    /// The innermost open stage.
    pub(super) fn top(&self) -> Option<&OpenStage> {
        self.open.last()
    }

    /// Notes that something was written in the innermost stage, and whether that was a value or
    /// tombstone.
    pub(super) fn note(&self, content: bool) {
        if let Some(stage) = self.top() {
            stage.touched.take(self.savepoints);
            if content {
                stage.wrote.take(self.savepoints);
            }
        }
    }

    /// Counts a savepoint; answers its number.
    pub(super) fn count_savepoint(&mut self) -> u64 {
        self.savepoints += 1;
        self.savepoints
    }

    /// What was written since a savepoint was taken back. No stage was opened since and is open.
    pub(super) fn rolled_back_to(&mut self, savepoint: u64) {
        if let Some(stage) = self.open.last_mut() {
            stage.touched.forget_since(savepoint);
            stage.wrote.forget_since(savepoint);
        }
    }

    /// Forgets every stage.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

/// That something happened, and how many savepoints had been made when it first did.
///
/// Taken by writers, read and changed with the writers shut out: the gate orders all of it.
#[derive(Debug)]
struct Note(AtomicU64);

impl Note {
    const NOTHING: u64 = u64::MAX;

    fn new() -> Note {
        Note(AtomicU64::new(Note::NOTHING))
    }

    /// Dirties the line only once; others that write at the same time take the same note.
    fn take(&self, savepoints: u64) {
        if self.0.load(Ordering::Relaxed) == Note::NOTHING {
            self.0.store(savepoints, Ordering::Relaxed);
        }
    }

    fn is_taken(&mut self) -> bool {
        *self.0.get_mut() != Note::NOTHING
    }

    fn merge(&mut self, mut inner: Note) {
        *self.0.get_mut() = (*self.0.get_mut()).min(*inner.0.get_mut());
    }

    fn forget_since(&mut self, savepoint: u64) {
        if *self.0.get_mut() >= savepoint {
            *self = Note::new();
        }
    }
}

/// An open stage of a buffer.
///
/// Consumed by [`release`](Stage::release) or [`cleanup`](Stage::cleanup). Dropped while open, it is
/// cleaned up: at once if it is the innermost, else at the instant when it becomes that.
#[must_use = "a stage that is dropped is cleaned up"]
pub struct Stage {
    buffer: MemBuffer,
    number: u64,
    closed: bool,
}

/// The stage is not the innermost open one, so it was not closed; here it is back.
///
/// Converting this into [`Error`] (as `?` does) drops the handle, which dooms the stage.
#[derive(Debug, thiserror::Error)]
#[error("the stage is not the innermost open one")]
pub struct StageOrder {
    stage: Stage,
}

impl StageOrder {
    /// The handle, still open.
    pub fn into_stage(self) -> Stage {
        self.stage
    }
}

impl From<StageOrder> for Error {
    fn from(_: StageOrder) -> Error {
        Error::StageOrder
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl MemBuffer {
    /// Opens a stage inside the innermost open one. Nesting has no limit.
    ///
    /// Takes effect at one instant; waits for the writes under way. Stages belong to the buffer,
    /// not to a thread.
    pub fn stage(&self) -> Stage {
        let mut rules = self.inner().exclusive();
        let stages = &mut rules.stages;
        stages.opened += 1;
        let number = stages.opened;
        stages.open.push(OpenStage {
            number,
            table: self.inner().table.load().open_stage(),
            savepoints: stages.savepoints,
            touched: Note::new(),
            wrote: Note::new(),
            doomed: false,
        });
        drop(rules);
        self.report_memory();
        Stage {
            buffer: self.clone(),
            number,
            closed: false,
        }
    }

    /// Number of open stages, doomed ones included.
    pub fn open_stages(&self) -> usize {
        let made = self.made();
        made.map_or(0, |inner| inner.shared().stages.open.len())
    }
}

/// How a stage ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Release,
    Cleanup,
}

impl Stage {
    /// Ends the stage; its writes now belong to the stage outside, or to the buffer. O(1).
    ///
    /// # Errors
    /// [`StageOrder`] with the handle, and nothing changes, if a stage inside it is open or a
    /// reset closed it.
    pub fn release(self) -> Result<(), StageOrder> {
        self.close(End::Release)
    }

    /// Ends the stage; its writes vanish, released inner ones included, at one instant for every
    /// reader. Persistent flags stay. O(1); the space comes back later.
    ///
    /// # Errors
    /// As [`release`](Self::release).
    pub fn cleanup(self) -> Result<(), StageOrder> {
        self.close(End::Cleanup)
    }

    /// The table's stage, if this is an open one of `buffer`, whose stages are given.
    pub(super) fn in_table<'r>(
        &self,
        buffer: &MemBuffer,
        stages: &'r Stages,
    ) -> Option<&'r StageId> {
        let ours = Arc::ptr_eq(self.buffer.inner(), buffer.inner());
        let open = stages.open.iter().find(|open| open.number == self.number);
        open.filter(|_| ours).map(|open| &open.table)
    }

    fn close(mut self, end: End) -> Result<(), StageOrder> {
        if self.buffer.inner().close_stage(self.number, end) {
            self.closed = true;
            self.buffer.report_memory();
            Ok(())
        } else {
            Err(StageOrder { stage: self })
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.closed {
            self.buffer.inner().drop_stage(self.number);
        }
    }
}

impl Inner {
    /// False, and nothing done, if `number` is not the innermost open stage.
    fn close_stage(&self, number: u64, end: End) -> bool {
        let mut rules = self.exclusive();
        let innermost = rules
            .stages
            .top()
            .is_some_and(|stage| stage.number == number);
        if innermost {
            self.close_innermost(&mut rules, end);
        }
        innermost
    }

    /// Cleans the stage up if it is the innermost open one, else dooms it.
    fn drop_stage(&self, number: u64) {
        let mut rules = self.exclusive();
        let Some(place) = rules
            .stages
            .open
            .iter()
            .position(|stage| stage.number == number)
        else {
            return;
        };
        if place + 1 == rules.stages.open.len() {
            self.close_innermost(&mut rules, End::Cleanup);
        } else {
            rules.stages.open[place].doomed = true;
        }
    }

    /// Closes the innermost open stage and the doomed ones around it, at one instant for readers.
    fn close_innermost(&self, rules: &mut ShardedLockWriteGuard<'_, Rules>, mut end: End) {
        const AGREE: &str = "the stack and the table agree on the innermost stage";
        let table = self.table.load();
        while let Some(mut stage) = rules.stages.open.pop() {
            let savepoints_inside = rules.stages.savepoints > stage.savepoints;
            let outer = rules.stages.open.last_mut();
            // A stage around it that is doomed takes it along, in a single step for readers. One
            // without writes has nothing to take back; released, it leaves no trace in the table.
            let falls_with_outer = outer.as_ref().is_some_and(|outer| outer.doomed);
            let leaves_trace = stage.touched.is_taken() || savepoints_inside;
            if end == End::Cleanup && leaves_trace && !falls_with_outer {
                table.cleanup_stage(stage.table).expect(AGREE);
                self.recount(rules);
                return;
            }
            table.release_stage(stage.table).expect(AGREE);
            match outer {
                Some(outer) => {
                    outer.touched.merge(stage.touched);
                    outer.wrote.merge(stage.wrote);
                }
                None if stage.wrote.is_taken() => self.mark_dirty(),
                None => {}
            }
            if !falls_with_outer {
                return;
            }
            end = End::Cleanup;
        }
    }
}
