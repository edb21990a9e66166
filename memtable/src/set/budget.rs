//! The budget of a set: bytes are reserved before they are allocated.

use crate::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What an entry costs beside its key and value, rounded up: its header, the allocator's, its share of a leaf that is half
/// full and of the copy that the next insert makes of it.
const OVERHEAD: u64 = 128;

/// How much a [`MemtableSet`](crate::MemtableSet) may hold, in bytes.
///
/// A write takes its key, its value and 128 bytes, as much as it can allocate at most, and nothing is given back before the table
/// that it went to is flushed and dropped, by everybody who has a snapshot of it too. So the limits are held by what the
/// allocator gives out, not by an estimate after the fact; in return, a key that is overwritten counts as often as it is
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A table that took so much is frozen, and the next one begins.
    pub table: u64,
    /// More than this over all tables is signalled by [`MemtableSet::is_over_soft_limit`](crate::MemtableSet::is_over_soft_limit).
    pub soft: u64,
    /// Writes that would pass this over all tables are refused with [`Error::MemoryLimit`].
    pub hard: u64,
}

impl Default for Limits {
    /// Tables of 64 MiB; a signal at 192 MiB, the end at 256 MiB.
    fn default() -> Limits {
        Limits {
            table: 64 << 20,
            soft: 192 << 20,
            hard: 256 << 20,
        }
    }
}

pub(super) struct Budget {
    limits: Limits,
    reserved: AtomicU64,
    /// How often something changed for which somebody may wait. Held for a moment only.
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Budget {
        Budget {
            limits,
            reserved: AtomicU64::new(0),
            changes: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    /// Takes what so many writes need, with so many bytes of keys and values in all; answers how much that is.
    pub(super) fn reserve(&self, writes: usize, bytes: usize) -> Result<u64, Error> {
        let need = bytes as u64 + writes as u64 * OVERHEAD;
        let hard = self.limits.hard;
        let taken = |reserved: u64| reserved.checked_add(need).filter(|&sum| sum <= hard);
        match self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
        {
            Ok(_) => Ok(need),
            Err(_) => Err(Error::MemoryLimit { limit: hard }),
        }
    }

    pub(super) fn release(&self, reserved: u64) {
        if reserved > 0 {
            self.reserved.fetch_sub(reserved, Ordering::Relaxed);
            self.notify();
        }
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.reserved() + bytes as u64 + OVERHEAD <= self.limits.hard
    }

    pub(super) fn is_over_soft_limit(&self) -> bool {
        self.reserved() > self.limits.soft
    }

    /// Whether a batch that takes so much is to be a table of its own.
    pub(super) fn fills_half_a_table(&self, batch: u64) -> bool {
        batch > self.limits.table / 2
    }

    /// Whether a table that took so much is to be frozen.
    pub(super) fn is_full(&self, table: u64) -> bool {
        table >= self.limits.table
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait: room was given back, or a table was frozen.
    pub(super) fn notify(&self) {
        *self.changes() += 1;
        self.changed.notify_all();
    }

    /// Waits until `attempt` answers something, or the deadline has passed.
    pub(super) fn wait<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            let seen = *self.changes();
            // Without the lock: an attempt may drop a table, which notifies.
            if let Some(found) = attempt() {
                return Some(found);
            }
            let mut changes = self.changes();
            while *changes == seen {
                let left = deadline.checked_duration_since(Instant::now())?;
                let woken = self.changed.wait_timeout(changes, left);
                changes = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
