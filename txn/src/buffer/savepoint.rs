//! Savepoints: instants to which everything that was written since can be taken back.
//!
//! They are the table's own. What is added here is what a rollback means for the stages' notes and
//! for the room of a bounded buffer, both with the gate shut, and a count of the savepoints that
//! live, for writers have to know whether what they replace may come back.

use super::MemBuffer;
use super::seam::Moment;
use crate::error::Error;
use crate::mutant::planted;
use std::sync::Arc;
use untorn_memtable::{Memtable, RollbackError};

/// An instant of a [`MemBuffer`] to which it can return. A clone is the same savepoint.
///
/// Made by [`MemBuffer::savepoint`]. Dropping it takes nothing back; the last clone lets the old
/// versions go that were kept for it.
#[derive(Clone)]
pub struct Savepoint {
    held: Arc<Held>,
}

struct Held {
    buffer: MemBuffer,
    /// Taken by the drop alone.
    point: Option<Point>,
    number: u64,
}

type Point = untorn_memtable::Savepoint<Arc<Memtable>>;

impl Drop for Held {
    /// Behind the gate, for who looks at a stage has to find all that was written in it.
    fn drop(&mut self) {
        let inner = self.buffer.inner();
        // That of before a reset, maybe, with nobody else to hold it: a million keys are not freed inside of the gate.
        let table = self.point.as_ref().map(|point| point.table().clone());
        let rules = inner.inside();
        self.point = None;
        rules.let_savepoint_go();
        drop(rules);
        inner.seam.reached(Moment::LetGo);
        drop(table);
    }
}

impl MemBuffer {
    /// Makes a savepoint of now, for [`rollback_to`](Self::rollback_to). Independent of stages.
    ///
    /// Takes effect at one instant, in O(1); waits for the writes under way. While it lives the
    /// buffer keeps, of each key written since, the version of that instant.
    pub fn savepoint(&self) -> Savepoint {
        let shut = self.inner().shut();
        let held = Arc::new(Held {
            buffer: self.clone(),
            point: Some(Point::new(self.inner().table.load_full())),
            number: shut.rules().count_savepoint(),
        });
        drop(shut);
        self.report_memory();
        Savepoint { held }
    }

    /// Takes back everything that was written since the savepoint, by any thread, overwrites of
    /// equal length included, at one instant for every reader. Persistent flags stay. The savepoint
    /// stays valid; those made after it are stale from then on.
    ///
    /// O(1) in what was written; waits for the writes under way. The space comes back later, as
    /// after a [`cleanup`](super::Stage::cleanup); until then a read of a key steps over what was
    /// taken back of it.
    ///
    /// ```
    /// use untorn_txn::{Entry, Error, MemBuffer};
    ///
    /// # fn main() -> Result<(), Error> {
    /// let buffer = MemBuffer::new();
    /// buffer.set("k", "old")?;
    /// let savepoint = buffer.savepoint();
    /// buffer.set("k", "new")?;
    /// let later = buffer.savepoint();
    ///
    /// buffer.rollback_to(&savepoint)?;
    /// assert_eq!(buffer.get("k"), Some(Entry::Value("old".into())));
    /// assert!(matches!(buffer.rollback_to(&later), Err(Error::StaleSavepoint)));
    ///
    /// buffer.set("k", "newer")?;
    /// buffer.rollback_to(&savepoint)?;
    /// assert_eq!(buffer.get("k"), Some(Entry::Value("old".into())));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing is changed then: [`Error::TransactionClosed`]; [`Error::StaleSavepoint`] if it was
    /// rolled back itself, belongs to another buffer or is from before a reset;
    /// [`Error::StageOpen`] if a stage that was opened after it is open.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<(), Error> {
        let held = &savepoint.held;
        let inner = self.made().ok_or(Error::StaleSavepoint)?;
        let shut = inner.shut();
        if let Some(state) = shut.rules().closed() {
            return Err(Error::TransactionClosed { state });
        }
        let ours = |point: &&Point| {
            Arc::ptr_eq(point.table(), &inner.table.load())
                || planted("savepoint-of-before-a-reset")
        };
        let point = held.point.as_ref().filter(ours);
        point
            .ok_or(Error::StaleSavepoint)?
            .roll_back()
            .map_err(|error| match error {
                RollbackError::StageOpen => Error::StageOpen,
                _ => Error::StaleSavepoint,
            })?;
        shut.rules().notes().forget_since(held.number);
        inner.recount(&shut);
        drop(shut);
        inner.report_memory();
        Ok(())
    }
}

impl std::fmt::Debug for Savepoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Savepoint")
            .field("number", &self.held.number)
            .finish_non_exhaustive()
    }
}
