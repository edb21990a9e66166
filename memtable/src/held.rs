//! A running count of what a table holds, for those who have to be told when it grows.
//!
//! [`Memtable::memory`] walks the table when it is asked. A limit or a tracker that looks after every write cannot; for it the table counts
//! on the way, once it was asked to: the entries and versions, each with its rounding, and a flat share of the leaves for each entry.
//! One word, changed by who publishes, unlinks and buries; nothing of it is touched before it was asked for.

use crate::entry::{self, EntryRef, Head};
use crate::memory::rounded;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::const_fn;
use crate::version::{self, VersionRef};

/// What the run of its leaf and the lanes above take for an entry, about.
const SHARE: usize = 32;

pub(crate) struct Held {
    counts: AtomicBool,
    /// Modulo its size, for what is let go may be counted before what was held.
    bytes: AtomicUsize,
}

impl Held {
    const_fn! {
        pub(crate) const fn new() -> Held {
            Held {
                counts: AtomicBool::new(false),
                bytes: AtomicUsize::new(0),
            }
        }
    }

    /// An entry was published, with its first version. Others may lie above that by now: who put them there counts them.
    #[inline]
    pub(crate) fn hold_entry(&self, entry: EntryRef<'_>, first: VersionRef<'_>) {
        self.change(|| entry_bytes(entry, std::iter::once(first)) as isize);
    }

    /// An entry was taken out of its leaf, with the versions that are in its chain.
    #[inline]
    pub(crate) fn let_entry_go(&self, entry: EntryRef<'_>) {
        self.change(|| {
            let head = match entry.head() {
                Head::Live(head) => Some(head),
                Head::Dead => entry.buried(),
            };
            let chain = std::iter::successors(head, VersionRef::previous);
            -(entry_bytes(entry, chain) as isize)
        });
    }

    /// A version was put on top.
    #[inline]
    pub(crate) fn hold_version(&self, version: VersionRef<'_>) {
        self.change(|| rounded(version::allocation(version)) as isize);
    }

    /// A version was unlinked.
    #[inline]
    pub(crate) fn let_version_go(&self, version: VersionRef<'_>) {
        self.change(|| -(rounded(version::allocation(version)) as isize));
    }

    #[inline]
    fn change(&self, by: impl FnOnce() -> isize) {
        if self.counts.load(Ordering::Relaxed) {
            // Relaxed: nothing is read by way of it.
            self.bytes.fetch_add(by() as usize, Ordering::Relaxed);
        }
    }
}

fn entry_bytes<'e>(entry: EntryRef<'e>, versions: impl Iterator<Item = VersionRef<'e>>) -> usize {
    let chained = versions.map(version::allocation).filter(|&bytes| bytes > 0);
    SHARE + rounded(entry::allocation(entry)) + chained.map(rounded).sum::<usize>()
}

impl Memtable {
    /// Begins to count what the table holds, if it does not yet: see [`held_bytes`](Self::held_bytes). Costs as much as
    /// [`memory`](Self::memory), and one word that writers share from then on. What is written during the call may be missed.
    pub fn count_held_bytes(&self) {
        let held = &self.table().held;
        if !held.counts.swap(true, Ordering::Relaxed) {
            let now = self.memory_but_for_notes(&reclaim::pin()).total() as usize;
            held.bytes.fetch_add(now, Ordering::Relaxed);
        }
    }

    /// About what [`memory`](Self::memory) would answer in all, in one load; 0 before [`count_held_bytes`](Self::count_held_bytes).
    ///
    /// Exact, with the allocator's rounding, for entries and versions; an entry's share of the leaves is a flat 32 bytes. What is noted for
    /// rollbacks and snapshots is not counted: some 50 bytes for each key that is written in a stage, while that is open.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.count_held_bytes();
    /// table.insert("k", [0; 1000])?;
    /// assert!((1000..1400).contains(&table.held_bytes()));
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn held_bytes(&self) -> usize {
        let bytes = self.table().held.bytes.load(Ordering::Relaxed);
        usize::try_from(bytes.cast_signed()).unwrap_or_default()
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;

    /// Each counts its own version of a key that none of them found.
    #[test]
    fn writers_of_the_same_new_keys_are_counted_once_each() {
        const THREADS: usize = 3;
        const KEYS: u16 = 300;
        let table = Memtable::new();
        table.count_held_bytes();
        for _ in 0..20 {
            let together = Barrier::new(THREADS);
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        together.wait();
                        for key in 0..KEYS {
                            table.insert(key.to_be_bytes(), [0; 1000]).expect("small");
                        }
                    });
                }
            });
            for key in 0..KEYS {
                table.remove(key.to_be_bytes()).expect("small");
            }
        }
        table.compact();
        assert!(table.is_empty());
        assert_eq!(table.held_bytes(), 0);
    }
}
