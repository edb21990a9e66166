//! The limits of a sequenced set: those of the set beneath.

use super::SequencedSet;
use crate::error::Error;
use crate::set::{Limits, Room};
use std::time::Instant;

impl SequencedSet {
    /// Bytes that the writes of all tables took of the budget and did not give back yet. A key takes ten bytes more than its own
    /// length, one that is zero counts twice; see [`Limits`].
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

    /// Waits until there is room for a write, or `deadline` has passed; see
    /// [`MemtableSet::wait_for_room`](crate::MemtableSet::wait_for_room).
    ///
    /// # Errors
    /// [`Error::MemoryLimit`] after `deadline`; [`Error::WriteTooLarge`] at once, for what the limits never allow.
    pub fn wait_for_room(&self, room: impl Into<Room>, deadline: Instant) -> Result<(), Error> {
        self.set.wait_for_room(room, deadline)
    }
}
