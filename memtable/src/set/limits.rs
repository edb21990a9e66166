//! The limits of a set, which can be changed while it is in use.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much a [`MemtableSet`](crate::MemtableSet) may hold, in bytes.
///
/// A write takes its key, its value and 128 bytes, as much as it can allocate at most, and nothing is given back before the table
/// that it went to is flushed, let go by everybody who has a snapshot of it, and freed by who flushes next or finds no room. So
/// the limits are held by what the allocator gives out, not by an estimate after the fact; in return, a key that is overwritten
/// counts as often as it is written.
///
/// Not in the limits is what waits to be freed ([`garbage_bytes`](crate::garbage_bytes)): leaves that were replaced by a copy, and the
/// contents of batches that were applied. Little as a rule, but while a [`Pinned`](crate::Pinned) lives, of whatever table, up to 1 KiB for
/// each new key, and every batch once more. Nor are the tables themselves, about 1 KiB for each: where a table takes only a few writes
/// the heap is several times as large as what was reserved.
///
/// Any limits work, though some badly. Where a write finds no room and no table is frozen, the active one is frozen before its
/// time, so that there is something to flush: with `table` at or near `hard` that is what ends each table, and writers stand
/// still while it is flushed. A table that holds less than a sixteenth of what is reserved is spared: snapshots of flushed tables
/// hold the rest then, and writers wait for these rather than that a file is made for each few writes. A write that takes more
/// than `hard` is refused with [`Error::WriteTooLarge`](crate::Error::WriteTooLarge).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A table that took so much is frozen, and the next one begins.
    pub table: u64,
    /// More than this over all tables is signalled by [`MemtableSet::is_over_soft_limit`](crate::MemtableSet::is_over_soft_limit).
    pub soft: u64,
    /// Writes that would pass this over all tables are refused with [`Error::MemoryLimit`](crate::Error::MemoryLimit).
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

/// Limits that anybody may change. Each is looked at alone, and no order with what else is written is asked of them.
pub(super) struct LimitsCell {
    table: AtomicU64,
    soft: AtomicU64,
    hard: AtomicU64,
}

impl LimitsCell {
    pub(super) fn new(limits: Limits) -> LimitsCell {
        LimitsCell {
            table: AtomicU64::new(limits.table),
            soft: AtomicU64::new(limits.soft),
            hard: AtomicU64::new(limits.hard),
        }
    }

    pub(super) fn get(&self) -> Limits {
        Limits {
            table: self.table(),
            soft: self.soft(),
            hard: self.hard(),
        }
    }

    pub(super) fn set(&self, limits: Limits) {
        self.table.store(limits.table, Ordering::Relaxed);
        self.soft.store(limits.soft, Ordering::Relaxed);
        self.hard.store(limits.hard, Ordering::Relaxed);
    }

    pub(super) fn table(&self) -> u64 {
        self.table.load(Ordering::Relaxed)
    }

    pub(super) fn soft(&self) -> u64 {
        self.soft.load(Ordering::Relaxed)
    }

    pub(super) fn hard(&self) -> u64 {
        self.hard.load(Ordering::Relaxed)
    }
}
