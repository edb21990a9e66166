//! Reads of several tables at a number without copying.

use super::super::encoding::{Stored, encode, split, stored};
use super::super::every::Every;
use super::super::seen::{Live, Seen, version_at};
use super::super::version::{VersionItem, value};
use crate::reclaim::{self, Guard};
use crate::set::{Member, Merge, Ordered, Tables};
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// A [`SequencedView`](crate::SequencedView) under an epoch guard: what it lends is not copied, and stays valid for as long as the handle lives.
///
/// Bound to its thread, and to be held for a lookup, a scan or a flush, as [`Pinned`](crate::Pinned).
///
/// ```
/// use untorn_memtable::{Limits, SequencedSet};
/// let set = SequencedSet::new(Limits::default());
/// set.insert_at(1, "k", "old")?;
/// set.rotate();
/// set.insert_at(2, "k", "new")?;
/// let view = set.view();
/// let pinned = view.pin();
/// assert_eq!(pinned.get_at(1, "k"), Some(&b"old"[..]));
/// let rows: Vec<(u64, &[u8])> = pinned.versions::<&str>(..).map(|version| (version.sequence, version.value)).collect();
/// assert_eq!(rows, [(2, &b"new"[..]), (1, b"old")]);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct PinnedSequencedView<'v> {
    tables: &'v Tables,
    guard: Guard,
}

impl<'v> PinnedSequencedView<'v> {
    pub(super) fn new(tables: &'v Tables) -> PinnedSequencedView<'v> {
        PinnedSequencedView {
            tables,
            guard: reclaim::pin(),
        }
    }

    /// The value that the number sees; `None` if no table has one or it was deleted.
    pub fn get_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        value(self.live_at(sequence, key.as_ref())?)
    }

    /// The version that the number sees, a tombstone too; `None` if no table has one, so that the files decide.
    pub fn version_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<VersionItem<'_>> {
        self.live_at(sequence, key.as_ref()).map(VersionItem::new)
    }

    fn live_at(&self, sequence: u64, key: &[u8]) -> Option<Live<'_>> {
        let stored = encode(key, sequence);
        let mut found: Option<Live<'_>> = None;
        for member in self.tables.iter() {
            let least = found.as_ref().map(Seen::rank);
            // Where something was found this table is behind the first (T9).
            if least.is_some_and(|least| member.largest() <= least) {
                continue;
            }
            let seen = version_at(member.table(), &stored, &self.guard);
            // Of equal numbers the newer table's stays.
            if seen.as_ref().map(Seen::rank) > least {
                found = seen;
            }
        }
        found
    }

    /// What the number sees in the bounds, tombstones included, in order, from either end.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        sequence: u64,
        bounds: impl RangeBounds<K>,
    ) -> PinnedSequencedViewRange<'_> {
        let bounds = stored(Some(sequence), bounds);
        PinnedSequencedViewRange(seen(self.tables, bounds, sequence, &self.guard))
    }

    /// All versions in the bounds, by key and of each key from the newest to the oldest, none twice; from either end.
    pub fn versions<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
    ) -> PinnedSequencedViewVersions<'_> {
        PinnedSequencedViewVersions(every(self.tables, stored(None, bounds), &self.guard))
    }
}

/// What a number sees in all tables.
pub(super) fn seen<'g>(
    tables: &'g Tables,
    bounds: Stored,
    at: u64,
    guard: &'g Guard,
) -> Merge<Seen<'g>> {
    let seen = |member: &'g Member| Seen::new(member.table(), bounds.clone(), at, guard);
    Merge::new(tables.iter().map(seen))
}

/// All versions in all tables.
pub(super) fn every<'g>(tables: &'g Tables, bounds: Stored, guard: &'g Guard) -> Merge<Every<'g>> {
    let every = |member: &'g Member| Every::new(member.table(), bounds.clone(), guard);
    Merge::new(tables.iter().map(every))
}

/// By keys, and of each key the highest number.
impl<'g> Ordered for Seen<'g> {
    fn key<'i>((entry, _): &'i Live<'g>) -> &'i [u8] {
        split(entry.key()).0
    }

    fn rank((entry, _): &Live<'g>) -> u64 {
        split(entry.key()).1
    }
}

/// By keys and numbers.
impl<'g> Ordered for Every<'g> {
    fn key<'i>((entry, _): &'i Live<'g>) -> &'i [u8] {
        entry.key()
    }
}

impl std::fmt::Debug for PinnedSequencedView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedSequencedView")
            .finish_non_exhaustive()
    }
}

/// What a number sees of a range, lent, from [`PinnedSequencedView::range_at`].
#[derive(Debug)]
pub struct PinnedSequencedViewRange<'g>(Merge<Seen<'g>>);

impl<'g> Iterator for PinnedSequencedViewRange<'g> {
    type Item = VersionItem<'g>;

    #[inline]
    fn next(&mut self) -> Option<VersionItem<'g>> {
        self.0.next().map(VersionItem::new)
    }
}

impl DoubleEndedIterator for PinnedSequencedViewRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(VersionItem::new)
    }
}

impl FusedIterator for PinnedSequencedViewRange<'_> {}

/// All versions of a range, lent, from [`PinnedSequencedView::versions`].
#[derive(Debug)]
pub struct PinnedSequencedViewVersions<'g>(Merge<Every<'g>>);

impl<'g> Iterator for PinnedSequencedViewVersions<'g> {
    type Item = VersionItem<'g>;

    #[inline]
    fn next(&mut self) -> Option<VersionItem<'g>> {
        self.0.next().map(VersionItem::new)
    }
}

impl DoubleEndedIterator for PinnedSequencedViewVersions<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(VersionItem::new)
    }
}

impl FusedIterator for PinnedSequencedViewVersions<'_> {}
