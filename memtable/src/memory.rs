//! What a table holds on the heap, counted when it is asked for.

use crate::account::OLDER_SUM;
use crate::chain::Level;
use crate::debt::DEBTOR;
use crate::entry::{self, EntryRef};
use crate::fence::Fence;
use crate::marks::Mark;
use crate::memtable::Memtable;
use crate::reclaim::{self, Guard};
use crate::run::{self, RunRef, Slot};
use crate::table::Table;
use crate::version::{self, VersionRef};
use crate::visible::Current;

/// What a table holds on the heap, in bytes, by kind; from [`Memtable::memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Memory {
    /// Keys and the values that they hold now.
    pub payload: u64,
    /// The headers of entries and of the versions that they hold now.
    pub entries: u64,
    /// Versions that were overwritten, removed or rolled back and are still there, for a snapshot or a stage or since nobody
    /// wrote the key again; first values that lie in their entry and were overwritten.
    pub superseded: u64,
    /// The leaves: their runs, and the fences between them.
    pub runs: u64,
    /// The lanes above, in the same way.
    pub lanes: u64,
    /// The words that name the runs, in blocks that are not all in use; the stripes of the counters; open stages and savepoints, and what
    /// is noted for them and for snapshots: which keys were written, and the counters' sums that a rollback would part.
    pub bookkeeping: u64,
    /// What an allocator with headers of 8 bytes and steps of 16 adds to all of that, as glibc's does.
    pub rounding: u64,
}

/// What an allocation of so many bytes takes of the heap; see [`Memory::rounding`].
pub(crate) fn rounded(size: usize) -> usize {
    (size + 8).max(32).next_multiple_of(16)
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.requested() + self.rounding
    }

    /// All but the rounding: what the table asked its allocator for.
    pub fn requested(&self) -> u64 {
        let content = self.payload + self.entries + self.superseded;
        content + self.runs + self.lanes + self.bookkeeping
    }

    /// So many allocations that keep books.
    fn keep_books(&mut self, count: usize, size: usize) {
        self.bookkeeping += (count * size) as u64;
        self.rounding += (count * (rounded(size) - size)) as u64;
    }

    /// One allocation, which holds so much of each kind.
    fn round(&mut self, size: usize) {
        self.rounding += (rounded(size) - size) as u64;
    }

    fn add_entry(&mut self, table: &Table, entry: EntryRef<'_>, guard: &Guard) {
        let whole = entry::allocation(entry);
        self.round(whole);
        let current = Current::read(entry, &table.clock, table.persistent_mask, guard);
        let Some(current) = current else {
            self.superseded += whole as u64;
            return;
        };
        let versions = std::iter::successors(Some(current.newest), VersionRef::previous);
        let mut chained = 0;
        for size in versions.map(version::allocation).filter(|&size| size > 0) {
            self.round(size);
            chained += size;
        }
        let (payload, headers) = match current.live {
            Some(live) => (live.value_len(), version::header(live)),
            None => (0, 0),
        };
        let (payload, headers) = match current.is_absent() {
            true => (0, 0),
            false => (entry.key().len() + payload, entry::HEADER + headers),
        };
        self.payload += payload as u64;
        self.entries += headers as u64;
        self.superseded += (whole + chained - payload - headers) as u64;
    }

    /// What is kept for rollbacks and snapshots beside versions.
    fn add_notes(&mut self, table: &Table, guard: &Guard) {
        let marks = &table.clock.now(guard).marks;
        self.keep_books(marks.depth(), Mark::ALLOCATED);
        let names = marks.iter().map(|mark| mark.written.count(guard));
        self.keep_books(names.sum(), DEBTOR);
        self.keep_books(table.account.older_sums(guard), OLDER_SUM);
        if !table.debts.is_empty() {
            let (names, bytes) = table.debts.noted();
            self.keep_books(names, DEBTOR);
            self.keep_books(1, bytes);
        }
    }

    /// Runs and fences of a chain; answers how much they take.
    fn add_chain<'g, S: Slot>(
        &mut self,
        chain: &Level<'_, S>,
        guard: &'g Guard,
        mut each: impl FnMut(&mut Memory, RunRef<'g, S>),
    ) -> u64 {
        let mut bytes = 0;
        for run in chain.runs(&[], guard) {
            let fence = run.low().map(|low| Fence::allocation(low.len()));
            for size in fence.into_iter().chain([run::allocation(run)]) {
                self.round(size);
                bytes += size as u64;
            }
            each(self, run);
        }
        bytes
    }
}

impl Memtable {
    /// What the table holds on the heap, by kind. What was retired and is not freed yet is not in it: see
    /// [`garbage_bytes`](crate::garbage_bytes).
    ///
    /// It costs nothing until it is asked for: the writes keep no account of it. O(n), two cache misses an entry, under one guard, and a
    /// step for each note. Waits for a writer that is just paying his share of what was taken back.
    /// Beside writers it is a sum of what was there at different moments. For a limit that is asked with every write, see
    /// [`MemtableSet::reserved_bytes`](crate::MemtableSet::reserved_bytes).
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.insert("key", "value")?;
    /// let memory = table.memory();
    /// assert_eq!(memory.payload, 8);
    /// assert!(memory.total() < 300);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn memory(&self) -> Memory {
        let guard = reclaim::pin();
        let mut memory = self.memory_but_for_notes(&guard);
        memory.add_notes(self.table(), &guard);
        memory
    }

    /// Without what is kept for rollbacks and snapshots beside versions.
    pub(crate) fn memory_but_for_notes(&self, guard: &Guard) -> Memory {
        let table = self.table();
        let mut memory = Memory::default();
        memory.runs = memory.add_chain(&table.leaves(), guard, |memory, run| {
            for slot in run.slots() {
                // SAFETY: from a run that was loaded under the guard (I4).
                memory.add_entry(table, unsafe { slot.under(guard) }, guard);
            }
        });
        let lanes = (0..).map_while(|number| table.lanes.above(number));
        for lane in lanes {
            memory.lanes += memory.add_chain(&lane, guard, |_, _| {});
        }
        memory.bookkeeping = (table.cells.allocated()
            + table.lanes.allocated_cells()
            + table.account.allocated()) as u64;
        memory
    }
}
