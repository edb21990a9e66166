//! The limits of a sequenced set: those of the set beneath.

use super::super::encoding::stored_len;
use super::SequencedSet;
use crate::batch::WriteBatch;
use crate::error::Error;
use crate::set::{Limits, Room};
use std::time::Instant;

impl SequencedSet {
    /// What a write takes of the limits: a key takes ten bytes more than its own length, and each that is zero counts twice.
    ///
    /// ```
    /// use untorn_memtable::{Room, SequencedSet};
    /// assert_eq!(SequencedSet::room("key", "value"), Room::from(3 + 10 + 5));
    /// assert_eq!(SequencedSet::room([0; 3], "value"), Room::from(2 * 3 + 10 + 5));
    /// ```
    pub fn room(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Room {
        Room::from(stored_len(key.as_ref()) + value.as_ref().len())
    }

    /// What a batch takes: what its writes would take one by one.
    pub fn batch_room(batch: &WriteBatch) -> Room {
        let keys = batch.iter().map(|write| write.key());
        let more: usize = keys.map(|key| stored_len(key) - key.len()).sum();
        Room::of(batch.len(), batch.size() + more)
    }

    /// Bytes that the writes of all tables took of the budget and did not give back yet; see [`Limits`].
    pub fn reserved_bytes(&self) -> u64 {
        self.set.reserved_bytes()
    }

    /// Whether the soft limit is passed: time to slow down, or to flush more.
    pub fn is_over_soft_limit(&self) -> bool {
        self.set.is_over_soft_limit()
    }

    /// The limits as they are now.
    pub fn limits(&self) -> Limits {
        self.set.limits()
    }

    /// Others from now on; see [`MemtableSet::set_limits`](crate::MemtableSet::set_limits).
    pub fn set_limits(&self, limits: Limits) {
        self.set.set_limits(limits);
    }

    /// Waits until there is room for a write, or `deadline` has passed: for what [`room`](Self::room) or
    /// [`batch_room`](Self::batch_room) says. See [`MemtableSet::wait_for_room`](crate::MemtableSet::wait_for_room).
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] after `deadline`; [`Error::WriteTooLarge`] at once, for what the limits never allow.
    pub fn wait_for_room(&self, room: Room, deadline: Instant) -> Result<(), Error> {
        self.set.wait_for_room(room, deadline)
    }
}
