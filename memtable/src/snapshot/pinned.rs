//! Reads of a snapshot without copying.

use super::Snapshot;
use crate::item::Item;
use crate::memtable::Memtable;
use crate::reclaim::{self, Guard};
use crate::table::{Table, item};
use crate::visible;
use crate::walk::{Direction, Walk, owned};
use std::iter::FusedIterator;
use std::ops::{Deref, RangeBounds};

/// A [`Snapshot`] under an epoch guard: what it lends is not copied, and stays valid for as long as the handle lives.
///
/// Made by [`Snapshot::pin`]. As [`Pinned`](crate::Pinned) it is cheap to make, bound to its thread, and to be held for a lookup or a
/// scan, not for as long as the snapshot: nothing that is removed or overwritten anywhere can be freed meanwhile.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// table.insert("k", "old")?;
/// let snapshot = table.snapshot();
/// table.insert("k", "new")?;
/// let pinned = snapshot.pin();
/// assert_eq!(pinned.get("k"), Some(&b"old"[..]));
/// let values: Vec<&[u8]> = pinned.range_all::<&str>(..).map(|item| item.value).collect();
/// assert_eq!(values, [b"old"]);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct PinnedSnapshot<'s> {
    table: &'s Table,
    segment: u64,
    guard: Guard,
}

impl<'s> PinnedSnapshot<'s> {
    pub(super) fn new<T: Deref<Target = Memtable>>(snapshot: &'s Snapshot<T>) -> Self {
        PinnedSnapshot {
            table: snapshot.held.table.table(),
            segment: snapshot.held.instant.segment,
            guard: reclaim::pin(),
        }
    }

    /// The value that the key held; `None` if it was absent, deleted or had a tag alone.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.entry(key)?.into_value()
    }

    /// What the key held. A key that was live by its persistent bits alone is not shown.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Item<'_>> {
        let entry = self.table.find(key.as_ref(), &self.guard)?;
        let version = visible::at(entry, self.segment, &self.table.clock, &self.guard)?;
        Some(item(entry, Some(version), version.tag()))
    }

    /// Every key that was live in the bounds, tombstones and tags alone too, in order, from either end.
    ///
    /// O(log n) to start, O(1) a step; a step after one from the other end costs O(log n).
    pub fn range_all<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
    ) -> PinnedSnapshotRange<'_> {
        let (lower, upper) = (owned(bounds.start_bound()), owned(bounds.end_bound()));
        PinnedSnapshotRange {
            pinned: self,
            walk: Walk::new(self.table, lower, upper, &self.guard),
        }
    }
}

impl std::fmt::Debug for PinnedSnapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedSnapshot")
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

/// A range of a snapshot that lends its keys, from [`PinnedSnapshot::range_all`].
pub struct PinnedSnapshotRange<'g> {
    pinned: &'g PinnedSnapshot<'g>,
    walk: Walk<'g>,
}

impl<'g> PinnedSnapshotRange<'g> {
    #[inline]
    fn step(&mut self, direction: Direction) -> Option<Item<'g>> {
        let PinnedSnapshot {
            table,
            segment,
            guard,
        } = self.pinned;
        loop {
            let entry = self.walk.step(direction)?;
            if let Some(version) = visible::at(entry, *segment, &table.clock, guard) {
                return Some(item(entry, Some(version), version.tag()));
            }
        }
    }
}

impl<'g> Iterator for PinnedSnapshotRange<'g> {
    type Item = Item<'g>;

    #[inline]
    fn next(&mut self) -> Option<Item<'g>> {
        self.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for PinnedSnapshotRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Backward)
    }
}

impl FusedIterator for PinnedSnapshotRange<'_> {}

impl std::fmt::Debug for PinnedSnapshotRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedSnapshotRange")
            .finish_non_exhaustive()
    }
}
