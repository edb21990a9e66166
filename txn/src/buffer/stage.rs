//! Nested stages: writes that can be taken back as one.
//!
//! The open stages are a stack in the rules, in step with the table's own: both change with the
//! gate held exclusively, so a write, which passes the gate shared, knows its stage for its whole
//! course and marks it `touched` (and `wrote`, if it wrote a value or tombstone) before it ends.
//!
//! | event | stack | table |
//! |---|---|---|
//! | `stage` | push | opens |
//! | `release` of the innermost | pop; its marks go to the stage outside, or dirty the buffer | releases |
//! | `cleanup` of the innermost | pop | cleans up; releases if untouched, since nothing is there to take back |
//! | the same inside doomed stages | pop all of them | releases all but the outermost of them, cleans that up: one instant |
//! | drop of the innermost | as `cleanup` | |
//! | drop of another | doomed | |
//! | `reset` | emptied | left behind with its stages |

use super::{Inner, MemBuffer, Rules};
use crate::error::Error;
use crossbeam_utils::sync::ShardedLockWriteGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use untorn_memtable::StageId;

/// The open stages, outermost first.
#[derive(Debug, Default)]
pub(super) struct Stages {
    open: Vec<OpenStage>,
    /// Numbers given out; never reused, so that a handle from before a reset finds nothing.
    opened: u64,
}

/// One open stage.
#[derive(Debug)]
pub(super) struct OpenStage {
    number: u64,
    table: StageId,
    /// Something was written under it and is still there.
    touched: AtomicBool,
    /// A value or tombstone was written under it and is still there.
    wrote: AtomicBool,
    /// Its handle was dropped while a stage inside it was open.
    doomed: bool,
}

impl Stages {
    /// The innermost open stage.
    pub(super) fn top(&self) -> Option<&OpenStage> {
        self.open.last()
    }

    /// Forgets every stage.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

impl OpenStage {
    /// Notes that something was written under it, and whether that was a value or tombstone.
    pub(super) fn mark(&self, content: bool) {
        set(&self.touched);
        if content {
            set(&self.wrote);
        }
    }
}

/// Sets a flag that is read with the writers shut out, and dirties its line only once.
fn set(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
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
        let mut rules = self.inner.exclusive();
        let stages = &mut rules.stages;
        stages.opened += 1;
        let number = stages.opened;
        stages.open.push(OpenStage {
            number,
            table: self.inner.table.load().open_stage(),
            touched: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            doomed: false,
        });
        Stage {
            buffer: self.clone(),
            number,
            closed: false,
        }
    }

    /// Number of open stages, doomed ones included.
    pub fn open_stages(&self) -> usize {
        self.inner.shared().stages.open.len()
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

    fn close(mut self, end: End) -> Result<(), StageOrder> {
        if self.buffer.inner.close_stage(self.number, end) {
            self.closed = true;
            Ok(())
        } else {
            Err(StageOrder { stage: self })
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.closed {
            self.buffer.inner.drop_stage(self.number);
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
        while let Some(stage) = rules.stages.open.pop() {
            let (touched, wrote) = (stage.touched.into_inner(), stage.wrote.into_inner());
            let outer = rules.stages.top();
            // A stage around it that is doomed takes it along, in a single step for readers. One
            // without writes has nothing to take back; released, it leaves no trace in the table.
            let falls_with_outer = outer.is_some_and(|outer| outer.doomed);
            if end == End::Cleanup && touched && !falls_with_outer {
                table.cleanup_stage(stage.table).expect(AGREE);
                self.recount(rules);
                return;
            }
            table.release_stage(stage.table).expect(AGREE);
            match outer {
                Some(outer) if touched => outer.mark(wrote),
                None if wrote => self.mark_dirty(),
                _ => {}
            }
            if !falls_with_outer {
                return;
            }
            end = End::Cleanup;
        }
    }
}
