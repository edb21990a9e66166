//! Sequenced tables that take turns.
//!
//! A set whose tables hold versions under their stored keys. All that is said of the [list](crate::set) holds here; what differs is that
//! an older table may hold a higher number than a newer one, since writes come in any order. So a read at a number asks all
//! tables for what it sees there and takes the highest number, of equal ones the newest table's; but a table behind the first
//! whose highest number is not above what was found is passed over (T9).

mod flush;
mod limits;
mod pinned;
mod view;

use super::encoding::{self, encode};
use super::version::Version;
use super::{apply, check};
use crate::batch::WriteBatch;
use crate::error::Error;
use crate::item::Written;
use crate::mutant::planted;
use crate::set::{Limits, Member, MemtableSet, SetWritten};
use bytes::Bytes;
use std::ops::RangeBounds;
use std::time::Instant;

pub use flush::SequencedFlush;
pub use pinned::{PinnedSequencedView, PinnedSequencedViewRange, PinnedSequencedViewVersions};
pub use view::{SequencedView, SequencedViewRange};

/// Tables under an engine's own sequence numbers that take turns: one takes the writes, those before it are frozen and wait to be
/// flushed, and all are read as one.
///
/// It is to a [`SequencedMemtable`](crate::SequencedMemtable) what a [`MemtableSet`] is to a [`Memtable`](crate::Memtable): writes may
/// come in any order of their numbers, from any number of threads, and go to the table that is active then; a number sees of each key
/// the version with the highest number not above it, whichever table has it. Of two writes under the same key and number the later
/// one counts, and of what a number sees the same holds: it is constant once all writes up to it are done, and as long as no flushed
/// table has left. Nothing is pruned: what no number reads any more is left out when a table is written to a file.
///
/// All methods take `&self`, from any number of threads; a clone is another handle of the same set. What is lock-free, what waits, how
/// bytes are reserved, how tables are numbered and when a segment of a log can go is as for a [`MemtableSet`].
///
/// A read costs O(log n) in the active table, and in each older one whose highest number is above that of the version found so far: where
/// numbers rise as the writes come, a key that is found is not looked for any further.
///
/// ```
/// use untorn_memtable::{Limits, SequencedSet};
/// let set = SequencedSet::new(Limits::default());
/// set.insert_at(7, "k", "seven")?;
/// set.rotate();
/// set.insert_at(5, "k", "five")?; // late, in a newer table
/// set.delete_at(9, "k")?;
/// assert_eq!(set.get_at(6, "k").as_deref(), Some(&b"five"[..]));
/// assert_eq!(set.get_at(8, "k").as_deref(), Some(&b"seven"[..]));
/// assert_eq!(set.get_at(9, "k"), None);
///
/// let flush = set.next_flush().expect("one table is frozen");
/// let rows: Vec<u64> = flush.versions::<&str>(..).map(|version| version.sequence).collect();
/// assert_eq!(rows, [7]);
/// flush.complete(); // the file is written: the table leaves the set
/// assert_eq!(set.get_at(8, "k").as_deref(), Some(&b"five"[..])); // the file has a higher number
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[derive(Clone)]
pub struct SequencedSet {
    set: MemtableSet,
}

impl SequencedSet {
    /// An empty set, whose first table has the number 0.
    pub fn new(limits: Limits) -> SequencedSet {
        SequencedSet::starting_at(limits, 0)
    }

    /// An empty set, whose first table has the number `first`; see [`MemtableSet::starting_at`].
    pub fn starting_at(limits: Limits, first: u64) -> SequencedSet {
        SequencedSet {
            set: MemtableSet::starting_at(limits, first),
        }
    }

    /// Writes a value under a number, to the active table; rotates if that is full.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`] over [`MAX_SEQUENCED_KEY_LEN`](crate::MAX_SEQUENCED_KEY_LEN), [`Error::ValueTooLarge`], [`Error::OutOfMemory`],
    /// [`Error::WriteTooLarge`]; [`Error::MemoryLimit`], which [`SequencedSet::wait_for_room`] may mend. Nothing is changed then.
    pub fn insert_at(
        &self,
        sequence: u64,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<SetWritten, Error> {
        let (key, value) = (key.as_ref(), value.as_ref());
        encoding::check(key)?;
        let stored = encode(key, sequence);
        self.set.write(
            stored.len() + value.len(),
            numbered(sequence, |table| table.insert(&stored, value)),
        )
    }

    /// Writes a tombstone under a number: from there on the key is deleted, in the files below too. Otherwise as
    /// [`SequencedSet::insert_at`].
    ///
    /// # Errors
    /// As for [`SequencedSet::insert_at`]; nothing is changed then.
    pub fn delete_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Result<SetWritten, Error> {
        let key = key.as_ref();
        encoding::check(key)?;
        let stored = encode(key, sequence);
        self.set.write(
            stored.len(),
            numbered(sequence, |table| table.delete(&stored)),
        )
    }

    /// Applies all writes of a batch under one number and at one instant, in one table; see
    /// [`SequencedMemtable::apply_at`](crate::SequencedMemtable::apply_at). One that takes more than half of [`Limits::table`] is a
    /// table of its own, as by [`MemtableSet::apply`].
    ///
    /// # Errors
    /// [`Error::NoTags`] if the batch sets a tag; otherwise as for [`SequencedSet::insert_at`], but that a failure of the allocator aborts
    /// the process under a batch of several writes. Nothing is changed then.
    pub fn apply_at(&self, sequence: u64, batch: &WriteBatch) -> Result<SetWritten, Error> {
        check(batch)?;
        if batch.is_empty() {
            // No version has the number.
            return self.set.apply(batch);
        }
        let apply = numbered(sequence, |table| apply(table, sequence, batch));
        self.set.write_batch(Self::batch_room(batch), apply)
    }

    /// The value that the number sees; `None` if no table has one or it was deleted. Beside files
    /// [`SequencedSet::version_at`] tells more.
    pub fn get_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<Bytes> {
        let tables = self.set.tables();
        let pinned = PinnedSequencedView::new(&tables);
        pinned.get_at(sequence, key).map(Bytes::copy_from_slice)
    }

    /// The version that the number sees, a tombstone too; `None` if no table has one, so that the files decide.
    ///
    /// Where numbers do not rise as the writes come, a file may hold a higher one that the number sees, too.
    pub fn version_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<Version> {
        let tables = self.set.tables();
        let pinned = PinnedSequencedView::new(&tables);
        Some(pinned.version_at(sequence, key)?.to_version())
    }

    /// What the number sees in the bounds, as by [`SequencedView::range_at`] of a new view.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        sequence: u64,
        bounds: impl RangeBounds<K>,
    ) -> SequencedViewRange {
        self.view().range_at(sequence, bounds)
    }

    /// The tables that the set has now; see [`SequencedView`].
    pub fn view(&self) -> SequencedView {
        SequencedView::new(self.set.tables().clone())
    }

    /// Freezes the active table and puts an empty one in its place; see [`MemtableSet::rotate`].
    pub fn rotate(&self) -> Option<u64> {
        self.set.rotate()
    }

    /// Number of frozen tables that are not flushed yet, or wait for an older one that is not.
    pub fn frozen_tables(&self) -> usize {
        self.set.frozen_tables()
    }

    /// Whatever was written to a table with a lower number is in files; see [`MemtableSet::oldest_table`].
    pub fn oldest_table(&self) -> u64 {
        self.set.oldest_table()
    }

    /// The oldest frozen table that nobody has in hand, to be written to a file; see [`MemtableSet::next_flush`].
    pub fn next_flush(&self) -> Option<SequencedFlush> {
        self.set.next_flush().map(SequencedFlush::new)
    }

    /// As [`SequencedSet::next_flush`], but waits for a table until `deadline`; see [`MemtableSet::wait_flush`].
    pub fn wait_flush(&self, deadline: Instant) -> Option<SequencedFlush> {
        self.set.wait_flush(deadline).map(SequencedFlush::new)
    }
}

/// A write under a number, which the table learns of before it begins (T9).
fn numbered(
    sequence: u64,
    write: impl Fn(&Member) -> Result<Written, Error>,
) -> impl Fn(&Member) -> Result<Written, Error> {
    move |table| {
        if planted("set-largest-raised-late") {
            let written = write(table);
            table.raise(sequence);
            return written;
        }
        table.raise(sequence);
        write(table)
    }
}

impl Default for SequencedSet {
    fn default() -> SequencedSet {
        SequencedSet::new(Limits::default())
    }
}

impl std::fmt::Debug for SequencedSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedSet")
            .field("frozen_tables", &self.frozen_tables())
            .field("reserved_bytes", &self.reserved_bytes())
            .finish_non_exhaustive()
    }
}
