//! Reads at a number without copying.

use super::SequencedMemtable;
use super::encoding::{encode, stored};
use super::every::Every;
use super::seen::{Live, Seen, version_at};
use super::version::{VersionItem, value};
use crate::error::Error;
use crate::reclaim::{self, Guard};
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// A [`SequencedMemtable`] under an epoch guard: what it lends is not copied, and stays valid for as long as the handle lives.
///
/// Made by [`SequencedMemtable::pin`]. As [`Pinned`](crate::Pinned) it is cheap to make, bound to its thread, and to be held for a lookup or a
/// scan: nothing that is removed or overwritten anywhere can be freed meanwhile. It does not hold pruning back.
///
/// ```
/// let table = untorn_memtable::SequencedMemtable::new();
/// table.insert_at(1, "k", "old")?;
/// table.insert_at(2, "k", "new")?;
/// let pinned = table.pin();
/// assert_eq!(pinned.get_at(1, "k")?, Some(&b"old"[..]));
/// let rows: Vec<(u64, &[u8])> = pinned.versions::<&str>(..).map(|version| (version.sequence, version.value)).collect();
/// assert_eq!(rows, [(2, &b"new"[..]), (1, b"old")]);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct PinnedSequenced<'t> {
    table: &'t SequencedMemtable,
    guard: Guard,
}

impl<'t> PinnedSequenced<'t> {
    pub(super) fn new(table: &'t SequencedMemtable) -> PinnedSequenced<'t> {
        PinnedSequenced {
            table,
            guard: reclaim::pin(),
        }
    }

    /// The value that the number sees; `None` if there is none or it was deleted.
    ///
    /// # Errors
    /// [`Error::Pruned`] if the number is below what was pruned.
    pub fn get_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Result<Option<&[u8]>, Error> {
        Ok(self.live_at(sequence, key.as_ref())?.and_then(value))
    }

    /// The version that the number sees, a tombstone too; `None` if there is none, so that what lies below decides.
    ///
    /// # Errors
    /// [`Error::Pruned`] if the number is below what was pruned.
    pub fn version_at(
        &self,
        sequence: u64,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<VersionItem<'_>>, Error> {
        let live = self.live_at(sequence, key.as_ref())?;
        Ok(live.map(VersionItem::new))
    }

    fn live_at(&self, sequence: u64, key: &[u8]) -> Result<Option<Live<'_>>, Error> {
        let core = self.table.table.table();
        let live = version_at(core, &encode(key, sequence), &self.guard);
        // After it was read (Q1).
        self.table.check(sequence)?;
        Ok(live)
    }

    /// What the number sees in the bounds, tombstones included, in order, from either end; it ends with [`Error::Pruned`] if the number falls
    /// below what is pruned.
    ///
    /// O(log n) to start; each key costs what it does in [`SequencedMemtable::range_at`], but for the copy.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        sequence: u64,
        bounds: impl RangeBounds<K>,
    ) -> PinnedSequencedRange<'_> {
        let core = self.table.table.table();
        let bounds = stored(Some(sequence), bounds);
        PinnedSequencedRange {
            table: self.table,
            seen: Some(Seen::new(core, bounds, sequence, &self.guard)),
        }
    }

    /// All versions in the bounds that are not pruned, by key and of each key from the newest to the oldest; from either end.
    ///
    /// O(log n) to start, O(1) a step; a step after one from the other end costs O(log n).
    pub fn versions<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> PinnedVersions<'_> {
        let core = self.table.table.table();
        PinnedVersions(Every::new(core, stored(None, bounds), &self.guard))
    }
}

impl std::fmt::Debug for PinnedSequenced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedSequenced").finish_non_exhaustive()
    }
}

/// What a number sees of a range, lent, from [`PinnedSequenced::range_at`].
pub struct PinnedSequencedRange<'g> {
    table: &'g SequencedMemtable,
    /// `None`: it has ended.
    seen: Option<Seen<'g>>,
}

impl<'g> PinnedSequencedRange<'g> {
    #[inline]
    fn step(
        &mut self,
        read: impl FnOnce(&mut Seen<'g>) -> Option<Live<'g>>,
    ) -> Option<Result<VersionItem<'g>, Error>> {
        let seen = self.seen.as_mut()?;
        let found = read(seen);
        // After it was read (Q1).
        let allowed = self.table.check(seen.at());
        if found.is_none() || allowed.is_err() {
            self.seen = None;
        }
        match allowed {
            Ok(()) => found.map(VersionItem::new).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<'g> Iterator for PinnedSequencedRange<'g> {
    type Item = Result<VersionItem<'g>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.step(Seen::next)
    }
}

impl DoubleEndedIterator for PinnedSequencedRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Seen::next_back)
    }
}

impl FusedIterator for PinnedSequencedRange<'_> {}

impl std::fmt::Debug for PinnedSequencedRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedSequencedRange")
            .finish_non_exhaustive()
    }
}

/// All versions of a range, lent, from [`PinnedSequenced::versions`].
pub struct PinnedVersions<'g>(Every<'g>);

impl<'g> Iterator for PinnedVersions<'g> {
    type Item = VersionItem<'g>;

    #[inline]
    fn next(&mut self) -> Option<VersionItem<'g>> {
        self.0.next().map(VersionItem::new)
    }
}

impl DoubleEndedIterator for PinnedVersions<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(VersionItem::new)
    }
}

impl FusedIterator for PinnedVersions<'_> {}

impl std::fmt::Debug for PinnedVersions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedVersions").finish_non_exhaustive()
    }
}
