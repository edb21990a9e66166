//! The hand-over of a frozen table to who writes it to a file.

use super::{Member, MemtableSet};
use crate::account::Stats;
use crate::memtable::Memtable;
use crate::mutant::planted;
use std::ops::Deref;

/// A frozen table in the hands of the one who writes it to a file.
///
/// It dereferences to the table. When the file can be read, call [`Flush::complete`]: the table leaves the set as soon as all older
/// ones are complete too, so that an old value is never found where a newer one has left. If it is dropped instead, the
/// table is handed out again. It holds a handle of the set, so it may go to any thread.
///
/// Whoever reads the set and then the files finds each key in one of them, if the file can be read before `complete`. Who wants a
/// snapshot of both takes the list of files, then the snapshot, then the list again, until both lists are the same: a file that
/// came in between may hold what is newer than the snapshot.
#[must_use = "the table stays in the set until the flush is complete"]
pub struct Flush {
    set: MemtableSet,
    member: Member,
    number: u64,
    stats: Stats,
}

impl Flush {
    pub(super) fn take(set: &MemtableSet, member: Member, number: u64) -> Option<Flush> {
        if !member.take() {
            return None;
        }
        Some(Flush {
            set: set.clone(),
            stats: member.freeze(),
            number,
            member,
        })
    }

    pub(crate) fn member(&self) -> &Member {
        &self.member
    }

    /// The table's number, one more than that of the table before: of two files of this set, the one with the higher number holds the
    /// newer values. See [`SetWritten::table`](crate::SetWritten::table).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the table holds: live keys and their bytes, tombstones included.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The table is in a file that can be read. Frees it, if it leaves the set and nobody reads it any more.
    pub fn complete(self) {
        let set = self.set.clone();
        self.member.set_flushed();
        set.drop_flushed();
        drop(self);
        set.shared.budget.free_retired();
    }
}

impl Deref for Flush {
    type Target = Memtable;

    fn deref(&self) -> &Memtable {
        &self.member
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if !self.member.is_flushed() {
            self.member.give_back();
            if !planted("set-given-up-unheard") {
                self.set.shared.budget.notify();
            }
        }
    }
}

impl std::fmt::Debug for Flush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flush")
            .field("number", &self.number)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
