//! Tables under an engine's own sequence numbers.
//!
//! Each write is an entry of its own, under the key and then the sequence number, newest first, as in LevelDB's memtable. So writes may
//! arrive in any order of their numbers, and what a number sees is one seek away however many versions a key has.
//!
//! * Q1: pruning first raises the number below which nobody may read, then removes. A reader looks at that number after what
//!   he read: if he missed something that was removed, he sees the removal's number too, and answers an error.
//! * Q2: a writer looks at that number before he publishes, so one who begins after it was raised is refused. A write that looked
//!   before may land while the pruner removes, or after that, and leaves what it would have left had it come first: of each key
//!   the pruner keeps the newest version up to his number that he found in effect. If the late one is newer, every number that may
//!   be read sees it, whatever went; if it is older, none does, and the next pruner takes it away.

mod encoding;
mod every;
mod pinned;
mod prune;
mod range;
mod read_ahead;
mod seen;
mod set;
mod version;

use crate::account::Stats;
use crate::batch::{BatchWrite, WriteBatch};
use crate::error::Error;
use crate::frozen::{Freeze, Frozen};
use crate::item::{Item, Update, Written};
use crate::memory::Memory;
use crate::memtable::Memtable;
use crate::mutant::planted;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::teardown::Teardown;
use bytes::Bytes;
use encoding::encode;
use std::ops::RangeBounds;

pub use encoding::MAX_SEQUENCED_KEY_LEN;
pub use pinned::{PinnedSequenced, PinnedSequencedRange, PinnedVersions};
pub use prune::Pruner;
pub use range::SequencedRange;
pub use set::{
    PinnedSequencedView, PinnedSequencedViewRange, PinnedSequencedViewVersions, SequencedFlush,
    SequencedSet, SequencedView, SequencedViewRange,
};
pub use version::{Version, VersionItem};

/// A table in which the engine numbers the writes: every version stays until it is pruned, and reads are at a number.
///
/// For engines that have sequence numbers or commit timestamps of their own and want no other clock. A number sees of each key the
/// version with the highest number not above it. Writes may come in any order of their numbers, from any number of threads;
/// of two under the same key and number the later one stays. What a number sees is constant once all writes up to it
/// are done: to know that is the engine's affair.
///
/// Every operation but [`freeze`](SequencedMemtable::freeze) is lock-free. A write costs as much as an insert of a new key in a [`Memtable`]; a look for one
/// key O(log versions), as does each key of a range, from either end. A version takes 48 bytes beside its key (bytes that are zero
/// count twice) and value.
///
/// A [`SequencedSet`] freezes such tables when they are full and reads those that are not flushed as one.
///
/// ```
/// use untorn_memtable::SequencedMemtable;
/// let table = SequencedMemtable::new();
/// table.insert_at(7, "k", "new")?;
/// table.insert_at(5, "k", "old")?;
/// table.delete_at(9, "k")?;
/// assert_eq!(table.get_at(4, "k")?, None);
/// assert_eq!(table.get_at(6, "k")?.as_deref(), Some(&b"old"[..]));
/// assert_eq!(table.get_at(8, "k")?.as_deref(), Some(&b"new"[..]));
/// assert_eq!(table.get_at(9, "k")?, None);
/// let numbers: Result<Vec<u64>, _> = table.versions("k"..="k").map(|version| Ok(version?.sequence)).collect();
/// assert_eq!(numbers, Ok::<_, untorn_memtable::Error>(vec![9, 7, 5]));
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct SequencedMemtable {
    table: Memtable,
    /// Reads below are refused.
    oldest: AtomicU64,
}

impl SequencedMemtable {
    /// An empty table.
    pub fn new() -> SequencedMemtable {
        SequencedMemtable::over(Memtable::new())
    }

    /// The same over an empty table of yours, for tests that want small leaves.
    #[doc(hidden)]
    pub fn over(table: Memtable) -> SequencedMemtable {
        SequencedMemtable {
            table,
            oldest: AtomicU64::new(0),
        }
    }

    /// Writes a value under a number.
    ///
    /// # Errors
    /// [`Error::Pruned`] if the number is below what was pruned (see [`prune`](SequencedMemtable::prune)); [`Error::KeyTooLarge`] over
    /// [`MAX_SEQUENCED_KEY_LEN`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]. Nothing is changed then.
    pub fn insert_at(
        &self,
        sequence: u64,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let key = key.as_ref();
        encoding::check(key)?;
        self.write(sequence, || self.table.insert(encode(key, sequence), value))
    }

    /// Writes a tombstone under a number: from there on the key is deleted, in what lies below the table too.
    ///
    /// # Errors
    /// As for [`insert_at`](SequencedMemtable::insert_at); nothing is changed then.
    pub fn delete_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = key.as_ref();
        encoding::check(key)?;
        let tombstone = |_: Option<Item<'_>>| Update::Tombstone { tag: 0 };
        self.write(sequence, || {
            self.table.update(encode(key, sequence), tombstone)
        })
    }

    /// Applies all writes of a batch under one number and at one instant: who saw one of them finds all from then on, with their number
    /// or a higher one.
    ///
    /// A range reads each key at an instant of its own: one that runs meanwhile may pass a key of the batch by and show a later one. At a
    /// number below, or once the call has returned, there is nothing to miss. Of several writes of one key the last counts.
    /// Otherwise as [`Memtable::apply`].
    ///
    /// ```
    /// use untorn_memtable::{SequencedMemtable, WriteBatch};
    /// let table = SequencedMemtable::new();
    /// let mut batch = WriteBatch::new();
    /// batch.put("alice", "70").put("bob", "80").delete("carol");
    /// table.apply_at(5, &batch)?;
    /// assert_eq!(table.range_at::<&str>(4, ..).count(), 0);
    /// assert_eq!(table.range_at::<&str>(5, ..).count(), 3); // with the tombstone
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoTags`] if the batch sets a tag; otherwise as for [`insert_at`](SequencedMemtable::insert_at), but that a failure of the
    /// allocator aborts the process under a batch of several writes. Nothing is changed then.
    pub fn apply_at(&self, sequence: u64, batch: &WriteBatch) -> Result<(), Error> {
        check(batch)?;
        self.write(sequence, || apply(&self.table, sequence, batch))
    }

    fn write(
        &self,
        sequence: u64,
        write: impl FnOnce() -> Result<Written, Error>,
    ) -> Result<(), Error> {
        // Before it is published (Q2).
        let allowed = self.check(sequence);
        if !planted("write-before-refusing") {
            allowed?;
        }
        write()?;
        allowed
    }

    /// The table for reads without copying, which is cheaper for a scan or a flush. Cheap; see [`PinnedSequenced`].
    pub fn pin(&self) -> PinnedSequenced<'_> {
        PinnedSequenced::new(self)
    }

    /// The value that the number sees; `None` if there is none or it was deleted.
    ///
    /// # Errors
    /// [`Error::Pruned`] if the number is below what was pruned.
    pub fn get_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let pinned = self.pin();
        Ok(pinned.get_at(sequence, key)?.map(Bytes::copy_from_slice))
    }

    /// The version that the number sees, a tombstone too; `None` if there is none, so that what lies below decides.
    ///
    /// # Errors
    /// [`Error::Pruned`] if the number is below what was pruned.
    pub fn version_at(
        &self,
        sequence: u64,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Version>, Error> {
        let pinned = self.pin();
        let version = pinned.version_at(sequence, key)?;
        Ok(version.map(|version| version.to_version()))
    }

    /// What the number sees in the bounds, tombstones included, in order, from either end. It is owned and pins nothing
    /// between steps; it ends with [`Error::Pruned`] if the number falls below what is pruned.
    ///
    /// Each key costs at most O(log n), however many of its versions the number does not see; few of them are passed one by one, which
    /// is cheaper.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        sequence: u64,
        bounds: impl RangeBounds<K>,
    ) -> SequencedRange<'_> {
        SequencedRange::new(self, Some(sequence), bounds)
    }

    /// All versions in the bounds that are not pruned, by key and of each key from the newest to the oldest.
    pub fn versions<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SequencedRange<'_> {
        SequencedRange::new(self, None, bounds)
    }

    /// Takes away what no number from `oldest` on sees: of each key all versions up to `oldest` but the newest of those. Reads and writes
    /// below `oldest` are refused from now on. Answers how many versions went.
    ///
    /// Lock-free, beside readers and writers; O(versions). Tombstones stay where they are the newest, since they hide what lies
    /// below the table.
    ///
    /// A write below `oldest` that began before this call may still land, even after it: every number sees then what it would see if
    /// the write had come first, and nothing that it should see is missing. So what `oldest` sees is constant if the writes up to it
    /// are done, and no later one changes it.
    ///
    /// # Errors
    /// [`Error::Frozen`]; nothing is changed then, unless the table is frozen meanwhile: what was removed is gone, the rest stays.
    pub fn prune(&self, oldest: u64) -> Result<usize, Error> {
        let mut pruner = self.pruner(oldest)?;
        pruner.step(usize::MAX)?;
        Ok(pruner.removed())
    }

    /// [`prune`](SequencedMemtable::prune) in steps that are as short as one likes; see [`Pruner`].
    ///
    /// # Errors
    /// [`Error::Frozen`]; nothing is changed then.
    pub fn pruner(&self, oldest: u64) -> Result<Pruner<&SequencedMemtable>, Error> {
        Pruner::new(self, oldest)
    }

    fn refuse_below(&self, oldest: u64) {
        self.oldest.fetch_max(oldest, Ordering::SeqCst);
    }

    fn check(&self, sequence: u64) -> Result<(), Error> {
        let oldest = self.oldest.load(Ordering::SeqCst);
        match sequence < oldest {
            true => Err(Error::Pruned { oldest }),
            false => Ok(()),
        }
    }

    /// Ends the table's writes, prunes included; see [`Frozen`], whose [`Frozen::new`] takes a table that is held by an `Arc`. What a file
    /// of it needs comes from [`PinnedSequenced::versions`], in the order of the file.
    ///
    /// ```
    /// use untorn_memtable::{Error, SequencedMemtable};
    /// let table = SequencedMemtable::new();
    /// table.insert_at(2, "a", "new")?;
    /// table.insert_at(1, "a", "old")?;
    /// table.delete_at(3, "b")?;
    /// let frozen = table.freeze();
    /// assert_eq!(table.insert_at(4, "a", "late"), Err(Error::Frozen)); // it goes to the next table
    /// let pinned = frozen.pin();
    /// let rows: Vec<_> = pinned.versions::<&str>(..).map(|row| (row.key, row.sequence)).collect();
    /// assert_eq!(rows, [(b"a".into(), 2), (b"a".into(), 1), (b"b".into(), 3)]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn freeze(&self) -> Frozen<&SequencedMemtable> {
        let Ok(frozen) = Frozen::new(self) else {
            unreachable!("nobody can open a stage in it")
        };
        frozen
    }

    /// Whether the table takes no write any more.
    pub fn is_frozen(&self) -> bool {
        self.table.is_frozen()
    }

    /// Number of versions, tombstones included. Linearizable; see [`SequencedMemtable::stats`].
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no version. Linearizable.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of versions, and the bytes of their keys as they are stored and of their values. Linearizable; see
    /// [`Memtable::stats`].
    pub fn stats(&self) -> Stats {
        self.table.stats()
    }

    /// What the table holds on the heap, by kind, keys as they are stored; see [`Memtable::memory`]. O(versions).
    pub fn memory(&self) -> Memory {
        self.table.memory()
    }

    /// Begins to count what the table holds, if it does not yet; see [`Memtable::count_held_bytes`].
    pub fn count_held_bytes(&self) {
        self.table.count_held_bytes();
    }

    /// About what [`memory`](SequencedMemtable::memory) would answer in all, in one load; see [`Memtable::held_bytes`].
    ///
    /// ```
    /// let table = untorn_memtable::SequencedMemtable::new();
    /// table.count_held_bytes();
    /// table.insert_at(1, "k", [0; 1000])?;
    /// assert!((1000..1400).contains(&table.held_bytes()));
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn held_bytes(&self) -> usize {
        self.table.held_bytes()
    }

    /// Drops the table in steps or in the background, for where a pause would hurt; see [`Teardown`].
    ///
    /// ```
    /// let table = untorn_memtable::SequencedMemtable::new();
    /// table.insert_at(1, "k", "v")?;
    /// if let Some(thread) = table.teardown().in_background() {
    ///     thread.join().expect("freeing does not panic");
    /// }
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn teardown(self) -> Teardown {
        self.table.teardown()
    }
}

/// What can be applied under a number: short keys, and no tags.
fn check(batch: &WriteBatch) -> Result<(), Error> {
    for write in batch {
        encoding::check(write.key())?;
        if matches!(write, BatchWrite::Tag { .. }) {
            return Err(Error::NoTags);
        }
    }
    Ok(())
}

fn apply(table: &Memtable, sequence: u64, batch: &WriteBatch) -> Result<Written, Error> {
    let encode = |key: &[u8], stored: &mut Vec<u8>| encoding::append(key, sequence, stored);
    table.table().apply(batch, Some(&encode))
}

impl Freeze for SequencedMemtable {
    fn memtable(&self) -> &Memtable {
        &self.table
    }
}

impl Default for SequencedMemtable {
    fn default() -> SequencedMemtable {
        SequencedMemtable::new()
    }
}

impl std::fmt::Debug for SequencedMemtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedMemtable")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
