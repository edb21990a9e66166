//! What was written under the innermost stage, and since when.

use crate::sync::{AtomicU64, Ordering};

/// What the innermost open stage has to know of the writes under it when it is closed.
///
/// Taken by writers inside the gate, read and changed with it shut: the gate orders all of it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Something was written and is still there.
    touched: Note,
    /// A value or tombstone was written and is still there.
    wrote: Note,
}

impl Notes {
    /// Notes a write, made when so many savepoints had been made.
    pub(super) fn take(&self, content: bool, savepoints: u64) {
        self.touched.take(savepoints);
        if content {
            self.wrote.take(savepoints);
        }
    }

    pub(super) fn touched(&self) -> bool {
        self.touched.is_taken()
    }

    pub(super) fn wrote(&self) -> bool {
        self.wrote.is_taken()
    }

    /// Begins anew, for a stage inside; answers what was noted.
    pub(super) fn begin(&self) -> Notes {
        let noted = Notes::default();
        noted.put(self);
        self.put(&Notes::default());
        noted
    }

    /// Puts others in place of these.
    pub(super) fn put(&self, others: &Notes) {
        self.touched.set(others.touched.get());
        self.wrote.set(others.wrote.get());
    }

    /// Adds those of a stage that was released into this one, or was outside of it.
    pub(super) fn merge(&self, others: &Notes) {
        self.touched.merge(&others.touched);
        self.wrote.merge(&others.wrote);
    }

    /// What was written since a savepoint was taken back.
    pub(super) fn forget_since(&self, savepoint: u64) {
        self.touched.forget_since(savepoint);
        self.wrote.forget_since(savepoint);
    }
}

/// How many savepoints had been made when something first happened: what was written first is what a rollback takes back last.
#[derive(Debug)]
struct Note(AtomicU64);

impl Default for Note {
    fn default() -> Note {
        Note(AtomicU64::new(Note::NOTHING))
    }
}

impl Note {
    const NOTHING: u64 = u64::MAX;

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, savepoints: u64) {
        self.0.store(savepoints, Ordering::Relaxed);
    }

    fn is_taken(&self) -> bool {
        self.get() != Note::NOTHING
    }

    /// Dirties the line only once; others that write at the same time take the same note.
    fn take(&self, savepoints: u64) {
        if !self.is_taken() {
            self.set(savepoints);
        }
    }

    fn merge(&self, other: &Note) {
        self.set(self.get().min(other.get()));
    }

    fn forget_since(&self, savepoint: u64) {
        if self.get() >= savepoint {
            self.set(Note::NOTHING);
        }
    }
}
