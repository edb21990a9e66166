//! Nested stages: writes that can be taken back as one.
//!
//! The open stages are a stack, in step with the table's own: both change with the gate shut, so a
//! write knows its stage for its whole course and [notes](super::notes), before it ends, that the
//! stage was touched, and whether by a value or tombstone. The notes in the rules are those of the
//! innermost stage; each stage keeps those of the stage outside of it until it is closed.
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

use super::notes::Notes;
use super::{Inner, MemBuffer, Shut};
use crate::error::Error;
use std::sync::Arc;
use untorn_memtable::StageId;

/// The open stages, outermost first.
#[derive(Debug, Default)]
pub(super) struct Stages {
    open: Vec<OpenStage>,
    /// Numbers given out; never reused, so that a handle from before a reset finds nothing.
    opened: u64,
}

impl Stages {
    /// Where in the stack an open stage is.
    fn place(&self, number: u64) -> Option<usize> {
        self.open
            .binary_search_by_key(&number, |stage| stage.number)
            .ok()
    }
}

/// One open stage.
#[derive(Debug)]
struct OpenStage {
    number: u64,
    table: StageId,
    /// Savepoints that had been made when it was opened.
    savepoints: u64,
    /// Of the stage outside, for as long as this one is open.
    outside: Notes,
    /// Its handle was dropped while a stage inside it was open.
    doomed: bool,
}

/// Closes every stage and leaves what was written.
pub(super) fn end_all(shut: &mut Shut<'_>) {
    shut.open.clear();
    shut.rules().set_staged(false);
    shut.rules().notes().put(&Notes::default());
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
        self.open_stage(self.inner().shut())
    }

    /// As [`stage`](Self::stage); `None` if writing has ended.
    pub(super) fn stage_unless_closed(&self) -> Option<Stage> {
        let shut = self.inner().shut();
        let is_closed = shut.rules().closed().is_some();
        (!is_closed).then(|| self.open_stage(shut))
    }

    fn open_stage(&self, mut shut: Shut<'_>) -> Stage {
        shut.opened += 1;
        let number = shut.opened;
        let opened = OpenStage {
            number,
            table: self.inner().table.load().open_stage(),
            savepoints: shut.rules().savepoints(),
            outside: shut.rules().notes().begin(),
            doomed: false,
        };
        shut.open.push(opened);
        shut.rules().set_staged(true);
        drop(shut);
        // Before the hook, whose panic drops it.
        let stage = Stage {
            buffer: self.clone(),
            number,
            closed: false,
        };
        self.report_memory();
        stage
    }

    /// Number of open stages, doomed ones included.
    pub fn open_stages(&self) -> usize {
        let made = self.made();
        made.map_or(0, |inner| inner.shut().open.len())
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
        let place = stages.place(self.number).filter(|_| ours)?;
        Some(&stages.open[place].table)
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
        let mut shut = self.shut();
        let innermost = shut.open.last();
        let innermost = innermost.is_some_and(|stage| stage.number == number);
        if innermost {
            self.close_innermost(&mut shut, end);
        }
        innermost
    }

    /// Cleans the stage up if it is the innermost open one, else dooms it.
    fn drop_stage(&self, number: u64) {
        let mut shut = self.shut();
        let Some(place) = shut.place(number) else {
            return;
        };
        if place + 1 == shut.open.len() {
            self.close_innermost(&mut shut, End::Cleanup);
        } else {
            shut.open[place].doomed = true;
        }
    }

    /// Closes the innermost open stage and the doomed ones around it, at one instant for readers.
    fn close_innermost(&self, shut: &mut Shut<'_>, mut end: End) {
        const AGREE: &str = "the stack and the table agree on the innermost stage";
        let table = self.table.load();
        while let Some(stage) = shut.open.pop() {
            let rules = shut.rules();
            let outer = shut.open.last();
            rules.set_staged(outer.is_some());
            // A stage around it that is doomed takes it along, in a single step for readers. One
            // without writes has nothing to take back; released, it leaves no trace in the table.
            let falls_with_outer = outer.is_some_and(|outer| outer.doomed);
            let leaves_trace = rules.notes().touched() || rules.savepoints() > stage.savepoints;
            if end == End::Cleanup && leaves_trace && !falls_with_outer {
                table.cleanup_stage(stage.table).expect(AGREE);
                rules.notes().put(&stage.outside);
                self.recount(shut);
                return;
            }
            table.release_stage(stage.table).expect(AGREE);
            match outer {
                Some(_) => rules.notes().merge(&stage.outside),
                None => {
                    if rules.notes().wrote() {
                        self.mark_dirty();
                    }
                    rules.notes().put(&stage.outside);
                }
            }
            if !falls_with_outer {
                return;
            }
            end = End::Cleanup;
        }
    }
}
