//! Room for writes: what one takes, and what is done where there is none.

use super::{Limits, MemtableSet, Shared};
use crate::batch::WriteBatch;
use crate::error::Error;
use std::time::Instant;

/// What an entry costs beside its key and value, rounded up: its header, the allocator's, its share of a leaf that is half
/// full and of the copy that the next insert makes of it.
const OVERHEAD: u64 = 128;

/// How much of its [`Limits`](crate::Limits) a set needs for a write: for one of so many bytes, key and value in sum, or for a
/// [`WriteBatch`].
///
/// ```
/// use untorn_memtable::{Room, WriteBatch};
/// let mut batch = WriteBatch::new();
/// batch.put("key", "value").delete("key");
/// assert_eq!(Room::from("key".len() + "value".len()).bytes(), 8 + 128);
/// assert_eq!(Room::from(&batch).bytes(), 8 + 3 + 2 * 128);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room(u64);

impl Room {
    pub(crate) fn of(writes: usize, bytes: usize) -> Room {
        let overhead = OVERHEAD.saturating_mul(writes as u64);
        Room(overhead.saturating_add(bytes as u64))
    }

    /// What it takes of the limits.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl From<usize> for Room {
    fn from(bytes: usize) -> Room {
        Room::of(1, bytes)
    }
}

impl From<&WriteBatch> for Room {
    fn from(batch: &WriteBatch) -> Room {
        Room::of(batch.len(), batch.size())
    }
}

impl MemtableSet {
    /// Bytes that the writes of all tables took of the budget and did not give back yet; see [`Limits`](crate::Limits).
    pub fn reserved_bytes(&self) -> u64 {
        self.shared.budget.reserved()
    }

    /// Whether the soft limit is passed: time to slow down, or to flush more.
    pub fn is_over_soft_limit(&self) -> bool {
        self.shared.budget.is_over_soft_limit()
    }

    /// The limits as they are now.
    pub fn limits(&self) -> Limits {
        self.shared.budget.limits()
    }

    /// Others from now on, as where an engine divides its memory anew. Nothing is taken back: where more than the new `hard` is
    /// reserved, writes are refused until flushes have brought it below, and an active table with more than the new `table` is frozen
    /// by the next write. Who waits for room looks again. Of two that set them at once some of either may hold.
    ///
    /// ```
    /// # use untorn_memtable::{Error, Limits, MemtableSet};
    /// let set = MemtableSet::new(Limits { table: 100, soft: 100, hard: 100 });
    /// assert_eq!(set.insert("a", "1"), Err(Error::WriteTooLarge { size: 130, limit: 100 }));
    /// set.set_limits(Limits { hard: 1000, ..set.limits() });
    /// set.insert("a", "1")?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_limits(&self, limits: Limits) {
        self.shared.budget.set_limits(limits);
    }

    /// Waits until there is room for a write, or `deadline` has passed. That another writer takes the room first is possible.
    ///
    /// It frees what is flushed and nobody reads any more, as [`MemtableSet::next_flush`] does, until there is room.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use untorn_memtable::{Error, Limits, MemtableSet, WriteBatch};
    /// # let set = MemtableSet::new(Limits::default());
    /// # let batch = WriteBatch::new();
    /// let deadline = Instant::now() + Duration::from_secs(10);
    /// let written = loop {
    ///     match set.apply(&batch) {
    ///         Err(Error::MemoryLimit { .. }) => set.wait_for_room(&batch, deadline)?,
    ///         done => break done?,
    ///     }
    /// };
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] after `deadline`; [`Error::WriteTooLarge`] at once, for what the limits never allow.
    pub fn wait_for_room(&self, room: impl Into<Room>, deadline: Instant) -> Result<(), Error> {
        let room = room.into();
        let mut found = Ok(());
        self.shared.budget.wait(deadline, || {
            found = self.make_room(|| self.shared.budget.has_room(room));
            (!is_short(&found)).then_some(())
        });
        found
    }

    /// Takes room from the budget.
    pub(super) fn reserve(&self, room: Room) -> Result<(), Error> {
        self.make_room(|| self.shared.budget.reserve(room))
    }

    /// Looks for room. Where there is none it makes some, of tables that nobody reads any more, or sees to it that a flush will.
    fn make_room(&self, look: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let found = look();
            if !is_short(&found) {
                return found;
            }
            if !self.shared.budget.free_one() {
                self.offer_active();
                return found;
            }
        }
    }

    /// Gives flushers something to do, if they have nothing: freezes the active table, or has it frozen by who writes to it next (T8).
    #[cold]
    pub(super) fn offer_active(&self) {
        let Shared { tables, budget } = &*self.shared;
        let tables = tables.load();
        if !tables.frozen.is_empty() {
            return;
        }
        budget.set_short();
        if budget.is_worth_a_flush(tables.active.reserved()) {
            self.freeze(&tables);
        }
    }
}

fn is_short(found: &Result<(), Error>) -> bool {
    matches!(found, Err(Error::MemoryLimit { .. }))
}
