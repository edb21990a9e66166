//! Reads of a set's snapshot without copying.

use super::merge::Merge;
use crate::item::Item;
use crate::snapshot::{PinnedSnapshot, PinnedSnapshotRange};
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// A [`SetSnapshot`](crate::SetSnapshot) under an epoch guard: what it lends is not copied, and stays valid for as long as the handle lives.
///
/// Made by [`SetSnapshot::pin`](crate::SetSnapshot::pin). Bound to its thread, and to be held for a lookup or a scan, as [`Pinned`](crate::Pinned).
///
/// ```
/// use untorn_memtable::{Kind, MemtableSet, Limits};
/// let set = MemtableSet::new(Limits::default());
/// set.insert("a", "1")?;
/// set.insert("b", "1")?;
/// set.rotate();
/// set.delete("a")?;
/// let snapshot = set.snapshot();
/// let pinned = snapshot.pin();
/// assert_eq!(pinned.get("b"), Some(&b"1"[..]));
/// let kinds: Vec<(&[u8], Kind)> = pinned.range_all::<&str>(..).map(|item| (item.key, item.kind)).collect();
/// assert_eq!(kinds, [(&b"a"[..], Kind::Tombstone), (&b"b"[..], Kind::Value)]);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[derive(Debug)]
pub struct PinnedSet<'s> {
    /// From the newest to the oldest.
    tables: Vec<PinnedSnapshot<'s>>,
}

impl<'s> PinnedSet<'s> {
    pub(super) fn new(tables: impl Iterator<Item = PinnedSnapshot<'s>>) -> PinnedSet<'s> {
        PinnedSet {
            tables: tables.collect(),
        }
    }

    /// The value that the key held; `None` if no table had it or it was deleted.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.entry(key)?.into_value()
    }

    /// What the newest table that had the key held, a tombstone too; `None` if none had it.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Item<'_>> {
        let mut tables = self.tables.iter();
        tables.find_map(|table| table.entry(key.as_ref()))
    }

    /// Every key in the bounds with what the newest table that has it holds, tombstones included, in order, from either end.
    ///
    /// A step compares keys once for each table beyond the first.
    pub fn range_all<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> PinnedSetRange<'_> {
        let bounds = (
            bounds.start_bound().map(AsRef::as_ref),
            bounds.end_bound().map(AsRef::as_ref),
        );
        let tables = self.tables.iter();
        let ranges = tables.map(|table| table.range_all::<&[u8]>(bounds));
        PinnedSetRange(Merge::new(ranges))
    }
}

/// A range of a set's snapshot that lends its keys, from [`PinnedSet::range_all`].
#[derive(Debug)]
pub struct PinnedSetRange<'g>(Merge<PinnedSnapshotRange<'g>>);

impl<'g> Iterator for PinnedSetRange<'g> {
    type Item = Item<'g>;

    fn next(&mut self) -> Option<Item<'g>> {
        self.0.next()
    }
}

impl DoubleEndedIterator for PinnedSetRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl FusedIterator for PinnedSetRange<'_> {}
