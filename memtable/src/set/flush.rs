//! The hand-over of a frozen table to who writes it to a file.

use super::{Member, MemtableSet};
use crate::account::Stats;
use crate::frozen::Frozen;
use crate::memtable::Memtable;
use std::ops::Deref;
use std::sync::atomic::Ordering;

/// A frozen table in the hands of the one who writes it to a file.
///
/// It dereferences to the table. When the file can be read, call [`Flush::complete`]: the table leaves the set as soon as all older
/// ones are complete too, so that an old value is never found where a newer one has left. If it is dropped instead, the
/// table is handed out again.
///
/// Whoever reads the set and then the files finds each key in one of them, if the file can be read before `complete`. Who wants a
/// snapshot of both takes the list of files, then the snapshot, then the list again, until both lists are the same: a file that
/// came in between may hold what is newer than the snapshot.
#[must_use = "the table stays in the set until the flush is complete"]
pub struct Flush<'s> {
    set: &'s MemtableSet,
    table: Frozen<Member>,
    number: u64,
    /// Taken by `complete`.
    member: Option<Member>,
}

impl<'s> Flush<'s> {
    pub(super) fn take(set: &'s MemtableSet, member: Member, number: u64) -> Option<Flush<'s>> {
        if member.0.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        let Ok(table) = Frozen::new(member.clone()) else {
            unreachable!("a set opens no stages")
        };
        Some(Flush {
            set,
            table,
            number,
            member: Some(member),
        })
    }

    /// The table's number, one more than that of the table before: of two files of this set, the one with the higher number holds the
    /// newer values. See [`SetWritten::table`](crate::SetWritten::table).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the table holds: live keys and their bytes, tombstones included.
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }

    /// The table is in a file that can be read.
    pub fn complete(mut self) {
        if let Some(member) = self.member.take() {
            member.0.flushed.store(true, Ordering::Release);
        }
        self.set.drop_flushed();
    }
}

impl Deref for Flush<'_> {
    type Target = Memtable;

    fn deref(&self) -> &Memtable {
        &self.table
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.0.taken.store(false, Ordering::Release);
            self.set.budget.notify();
        }
    }
}

impl std::fmt::Debug for Flush<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flush")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
