//! One table of a set, which may outlive its place there.

use super::budget::Budget;
use super::room::Room;
use crate::memtable::Memtable;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A reference to a table of the set; who lets the last one go retires the table (T7).
#[derive(Clone)]
pub(super) struct Member(Arc<Slot>);

struct Slot {
    table: Memtable,
    /// Bytes of the budget that the table's writes took.
    reserved: AtomicU64,
    budget: Arc<Budget>,
    /// Somebody has it in hand to flush it.
    taken: AtomicBool,
    flushed: AtomicBool,
}

impl Member {
    /// An empty table.
    pub(super) fn new(budget: Arc<Budget>) -> Member {
        Member(Arc::new(Slot {
            table: Memtable::new(),
            reserved: AtomicU64::new(0),
            budget,
            taken: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
        }))
    }

    /// Bytes of the budget that the table's writes took so far.
    pub(super) fn reserved(&self) -> u64 {
        self.0.reserved.load(Ordering::Relaxed)
    }

    /// A write of it is done, for which that was reserved; answers what all of them took.
    pub(super) fn take_over(&self, room: Room) -> u64 {
        self.0.reserved.fetch_add(room.bytes(), Ordering::Relaxed) + room.bytes()
    }

    /// Takes it in hand to flush it; answers whether nobody else has it.
    pub(super) fn take(&self) -> bool {
        !self.0.taken.swap(true, Ordering::Acquire)
    }

    /// Lets it be taken again.
    pub(super) fn give_back(&self) {
        self.0.taken.store(false, Ordering::Release);
    }

    pub(super) fn set_flushed(&self) {
        self.0.flushed.store(true, Ordering::Release);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.0.flushed.load(Ordering::Acquire)
    }
}

impl Deref for Member {
    type Target = Memtable;

    fn deref(&self) -> &Memtable {
        &self.0.table
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let reserved = *self.reserved.get_mut();
        // Nothing was written to it otherwise.
        if reserved > 0 {
            self.budget.retire(mem::take(&mut self.table), reserved);
        }
    }
}
