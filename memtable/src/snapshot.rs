//! Snapshots: the table as it was at one instant.

mod pinned;

use crate::cursor::Cursor;
use crate::instants::{self, Instant};
use crate::item::Entry;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::sync::Arc;
use crate::table::item;
use crate::visible;
use crate::walk::{Direction, Walk};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::{Bound, Deref, RangeBounds};

pub use pinned::{PinnedSnapshot, PinnedSnapshotRange};

/// The table as it was at one instant: constant for as long as it lives, whatever is written, rolled back or removed.
///
/// `T` is how the table is held: `&Memtable`, or `Arc<Memtable>` for a snapshot that owns what it needs. A snapshot pins no
/// epoch guard between calls; it keeps the versions that it shows from being freed, and no others. A clone is the same instant.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// table.insert("k", "old")?;
/// let snapshot = table.snapshot();
/// table.insert("k", "new")?;
/// table.remove("k")?;
/// assert_eq!(snapshot.get("k").as_deref(), Some(&b"old"[..]));
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
///
/// One that borrows the table cannot outlive it:
///
/// ```compile_fail,E0505
/// let table = untorn_memtable::Memtable::new();
/// let snapshot = table.snapshot();
/// drop(table);
/// snapshot.get("k");
/// ```
pub struct Snapshot<T: Deref<Target = Memtable>> {
    held: Arc<Held<T>>,
}

impl<T: Deref<Target = Memtable>> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Snapshot {
            held: self.held.clone(),
        }
    }
}

impl<T: Deref<Target = Memtable>> std::fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("segment", &self.held.instant.segment)
            .finish_non_exhaustive()
    }
}

struct Held<T: Deref<Target = Memtable>> {
    instant: Arc<Instant>,
    table: T,
}

impl<T: Deref<Target = Memtable>> Drop for Held<T> {
    fn drop(&mut self) {
        let core = self.table.table();
        instants::let_go(&self.instant, &core.clock, &reclaim::pin());
    }
}

impl<T: Deref<Target = Memtable>> Snapshot<T> {
    /// The table as it is now.
    ///
    /// O(1): one compare-and-swap, no key is touched. Consistent over all keys: every write that returned before is in it,
    /// of those under way each is in it as a whole or not at all.
    pub fn new(table: T) -> Self {
        Snapshot::register(table, false)
    }

    /// The table as it was when the outermost open stage was opened; as it is now, if none is open. Costs as much as a new one, and a step
    /// for each snapshot that was taken since and lives.
    pub fn before_stages(table: T) -> Self {
        Snapshot::register(table, true)
    }

    fn register(table: T, before_stages: bool) -> Self {
        let guard = reclaim::pin();
        let core = table.table();
        let instant = instants::take(&core.clock, before_stages, &guard);
        let held = Arc::new(Held { instant, table });
        Snapshot { held }
    }

    /// The value that the key held; `None` if it was absent, deleted or had a tag alone. O(log n), and a step for each version of the
    /// key that is newer.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.entry(key)?.into_value()
    }

    /// What the key held. A key that was live by its persistent bits alone is not shown, nor are those bits of a key whose write that set
    /// them was taken back.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        let guard = reclaim::pin();
        let table = self.held.table.table();
        let entry = table.find(key.as_ref(), &guard)?;
        let version = visible::at(entry, self.held.instant.segment, &table.clock, &guard)?;
        Some(item(entry, Some(version), version.tag()).to_entry())
    }

    /// Every key that was live in the bounds, in order, from either end. Pins nothing between steps; shares the snapshot.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SnapshotRange<T> {
        let owned = |bound: Bound<&K>| bound.map(|key| Bytes::copy_from_slice(key.as_ref()));
        SnapshotRange {
            snapshot: self.clone(),
            lower: owned(bounds.start_bound()),
            upper: owned(bounds.end_bound()),
            front: VecDeque::new(),
            back: VecDeque::new(),
            fetch: FIRST_FETCH,
            exhausted: false,
        }
    }

    /// The first live key, a tombstone too.
    pub fn first(&self) -> Option<Entry> {
        self.range::<&[u8]>(..).next()
    }

    /// The last live key.
    pub fn last(&self) -> Option<Entry> {
        self.range::<&[u8]>(..).next_back()
    }

    /// The snapshot under an epoch guard, for reads that copy nothing.
    pub fn pin(&self) -> PinnedSnapshot<'_> {
        PinnedSnapshot::new(self)
    }

    /// A cursor over the snapshot, which shares it.
    pub fn cursor(&self) -> Cursor<T> {
        Cursor::at(self.clone())
    }

    /// Appends entries of a range to `read`, in that direction, until there are `up_to`.
    pub(crate) fn read(
        &self,
        lower: &Bound<Bytes>,
        upper: &Bound<Bytes>,
        direction: Direction,
        up_to: usize,
        read: &mut VecDeque<Entry>,
    ) {
        let guard = reclaim::pin();
        let table = self.held.table.table();
        let mut walk = Walk::between(table, lower.clone(), upper.clone(), &guard);
        let segment = self.held.instant.segment;
        while read.len() < up_to
            && let Some(entry) = walk.step(direction)
        {
            if let Some(version) = visible::at(entry, segment, &table.clock, &guard) {
                read.push_back(item(entry, Some(version), version.tag()).to_entry());
            }
        }
    }
}

/// Every key that was live, as [`Snapshot::range`] shows them.
impl<T: Deref<Target = Memtable>> IntoIterator for &Snapshot<T> {
    type Item = Entry;
    type IntoIter = SnapshotRange<T>;

    fn into_iter(self) -> SnapshotRange<T> {
        self.range::<&[u8]>(..)
    }
}

const FIRST_FETCH: usize = 8;
const LAST_FETCH: usize = 64;

/// A range of a snapshot, from [`Snapshot::range`]: an owned iterator that reads some keys ahead.
pub struct SnapshotRange<T: Deref<Target = Memtable>> {
    snapshot: Snapshot<T>,
    /// Between the bounds lies what was not read yet.
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    /// Read from the front and from the back, in the order in which they are yielded.
    front: VecDeque<Entry>,
    back: VecDeque<Entry>,
    fetch: usize,
    exhausted: bool,
}

impl<T: Deref<Target = Memtable>> SnapshotRange<T> {
    fn read_ahead(&mut self, direction: Direction) {
        let read = match direction {
            Direction::Forward => &mut self.front,
            Direction::Backward => &mut self.back,
        };
        self.snapshot
            .read(&self.lower, &self.upper, direction, self.fetch, read);
        self.exhausted = read.len() < self.fetch;
        self.fetch = (self.fetch * 2).min(LAST_FETCH);
        if let Some(last) = read.back() {
            let edge = Bound::Excluded(last.key.clone());
            match direction {
                Direction::Forward => self.lower = edge,
                Direction::Backward => self.upper = edge,
            }
        }
    }
}

impl<T: Deref<Target = Memtable>> Iterator for SnapshotRange<T> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.front.is_empty() && !self.exhausted {
            self.read_ahead(Direction::Forward);
        }
        self.front.pop_front().or_else(|| self.back.pop_back())
    }
}

impl<T: Deref<Target = Memtable>> DoubleEndedIterator for SnapshotRange<T> {
    fn next_back(&mut self) -> Option<Entry> {
        if self.back.is_empty() && !self.exhausted {
            self.read_ahead(Direction::Backward);
        }
        self.back.pop_front().or_else(|| self.front.pop_back())
    }
}

impl<T: Deref<Target = Memtable>> std::iter::FusedIterator for SnapshotRange<T> {}

impl<T: Deref<Target = Memtable>> std::fmt::Debug for SnapshotRange<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotRange")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}
