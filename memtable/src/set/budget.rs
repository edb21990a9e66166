//! The budget of a set: bytes are reserved before they are allocated.

use super::limits::{Limits, LimitsCell};
use super::retired::Retired;
use super::room::Room;
use crate::error::Error;
use crate::mutant::planted;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::sync::{Condvar, Mutex, MutexGuard, fence_after_rmw};
use std::sync::PoisonError;
use std::time::Instant;

/// A table is frozen before its time only if it took such a part of all that is reserved.
const LEAST_SHARE: u64 = 16;

pub(super) struct Budget {
    limits: LimitsCell,
    reserved: AtomicU64,
    /// Room was short and no table frozen: who writes looks whether the active one is to be frozen before its time (T8).
    short: AtomicBool,
    pub(super) retired: Retired,
    /// How often something changed for which somebody may wait. Held for a moment only.
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Budget {
        Budget {
            limits: LimitsCell::new(limits),
            reserved: AtomicU64::new(0),
            short: AtomicBool::new(false),
            retired: Retired::default(),
            changes: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Others from now on; who waits looks again.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
        self.notify();
    }

    /// What will be reserved if so much is taken, too.
    fn sum(&self, reserved: u64, room: Room) -> Result<u64, Error> {
        let (size, limit) = (room.bytes(), self.limits.hard());
        match limit.checked_sub(size) {
            None => Err(Error::WriteTooLarge { size, limit }),
            Some(most) if reserved > most => Err(Error::MemoryLimit { limit }),
            Some(_) => Ok(reserved + size),
        }
    }

    pub(super) fn reserve(&self, room: Room) -> Result<(), Error> {
        let mut reserved = self.reserved();
        loop {
            let sum = self.sum(reserved, room)?;
            if planted("set-room-looked-at-first") {
                self.reserved.fetch_add(room.bytes(), Ordering::Relaxed);
                return Ok(());
            }
            let exchanged = self.reserved.compare_exchange_weak(
                reserved,
                sum,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return Ok(()),
                Err(now) => reserved = now,
            }
        }
    }

    pub(super) fn release(&self, reserved: u64) {
        if reserved > 0 {
            self.reserved.fetch_sub(reserved, Ordering::Relaxed);
            if !planted("set-release-unheard") {
                self.notify();
            }
        }
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, room: Room) -> Result<(), Error> {
        self.sum(self.reserved(), room).map(drop)
    }

    pub(super) fn is_over_soft_limit(&self) -> bool {
        self.reserved() > self.limits.soft()
    }

    /// Whether a batch that takes so much is to be a table of its own.
    pub(super) fn fills_half_a_table(&self, batch: Room) -> bool {
        batch.bytes() > self.limits.table() / 2
    }

    /// Whether a table that took so much is to be frozen.
    pub(super) fn is_full(&self, table: u64) -> bool {
        table >= self.limits.table().max(1)
    }

    /// Whether a table that took so much is to be frozen before its time, where room is short.
    pub(super) fn is_worth_a_flush(&self, table: u64) -> bool {
        table > 0 && table >= self.reserved() / LEAST_SHARE
    }

    /// Raises the flag that room is short.
    pub(super) fn set_short(&self) {
        // Release: with the list in which nothing was frozen.
        self.short.store(true, Ordering::Release);
        // Between this store and the look at what the active table took (T8).
        if !planted("set-short-without-fence") {
            fence(Ordering::SeqCst);
        }
    }

    /// Asked right after the active table took what was reserved, which is the other side of the fence.
    pub(super) fn is_short(&self) -> bool {
        if !planted("set-taken-without-fence") {
            fence_after_rmw();
        }
        self.short.load(Ordering::Acquire)
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait: room was given back, or there is a table to flush or to free.
    pub(super) fn notify(&self) {
        let late = planted("set-short-falls-late");
        if !late {
            self.short.store(false, Ordering::Relaxed);
        }
        *self.changes() += 1;
        self.changed.notify_all();
        if late {
            self.short.store(false, Ordering::Relaxed);
        }
    }

    /// Waits until `attempt` answers something, or the deadline has passed.
    pub(super) fn wait<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            let seen = *self.changes();
            // Without the lock: an attempt may free a table, which notifies.
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
