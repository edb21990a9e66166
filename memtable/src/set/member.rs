//! One table of a set, which may outlive its place there.

use super::budget::Budget;
use super::room::Room;
use crate::account::Stats;
use crate::memtable::Memtable;
use crate::mutant::planted;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::mem;
use std::ops::Deref;

/// A reference to a table of the set; who lets the last one go retires the table (T7).
#[derive(Clone)]
pub(crate) struct Member(Arc<Slot>);

struct Slot {
    table: Memtable,
    /// Bytes of the budget that the table's writes took.
    reserved: AtomicU64,
    /// The highest number of a write, where an engine numbers them (T9).
    largest: AtomicU64,
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
            largest: AtomicU64::new(0),
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

    /// A write under that number is about to begin (T9).
    pub(crate) fn raise(&self, sequence: u64) {
        let largest = &self.0.largest;
        if largest.load(Ordering::Relaxed) < sequence {
            largest.fetch_max(sequence, Ordering::Relaxed);
        }
    }

    /// No version has a higher number, if the table is behind another one in a list (T9).
    pub(crate) fn largest(&self) -> u64 {
        self.0.largest.load(Ordering::Relaxed)
    }

    /// Ends its writes; answers what it holds.
    pub(super) fn freeze(&self) -> Stats {
        match self.0.table.freeze() {
            Ok(frozen) => frozen.stats(),
            Err(_) => unreachable!("a set opens no stages"),
        }
    }

    /// Takes it in hand to flush it; answers whether nobody else has it.
    pub(super) fn take(&self) -> bool {
        let taken = &self.0.taken;
        if planted("set-taken-looked-at-first") {
            let was_free = !taken.load(Ordering::Acquire);
            taken.store(true, Ordering::Relaxed);
            return was_free;
        }
        taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Lets it be taken again.
    pub(super) fn give_back(&self) {
        self.0.taken.store(false, Ordering::Release);
    }

    pub(super) fn set_flushed(&self) {
        let order = match planted("set-flushed-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        self.0.flushed.store(true, order);
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
        let reserved = self.reserved.load(Ordering::Relaxed);
        // Nothing was written to it otherwise.
        if reserved > 0 {
            self.budget.retire(mem::take(&mut self.table), reserved);
        }
    }
}
