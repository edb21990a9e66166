//! The tables of a set at one moment, to be read at any number.

use super::super::encoding::{Stored, stored};
use super::super::read_ahead::{ReadAhead, Source, copies};
use super::super::version::Version;
use super::pinned::{PinnedSequencedView, every, seen};
use crate::reclaim;
use crate::set::Tables;
use crate::sync::Arc;
use crate::walk::Direction;
use bytes::Bytes;
use std::convert::Infallible;
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// The tables that a [`SequencedSet`](crate::SequencedSet) had at one moment, to be read at any number, whatever is rotated or flushed since.
///
/// Writes go on in the table that was active, as long as it is in the set; they are seen here, too, and those in later tables are
/// not. So a number sees the same for as long as the view lives, if all writes up to it were done when it was taken. Who reads files as
/// well takes the view first and then the files: what had left the set is in them.
///
/// It keeps the tables alive, and so their bytes reserved, also after they were flushed. A clone shows the same tables. Cheap to take.
#[derive(Clone)]
pub struct SequencedView {
    tables: Arc<Tables>,
}

impl SequencedView {
    pub(super) fn new(tables: Arc<Tables>) -> SequencedView {
        SequencedView { tables }
    }

    /// The view under an epoch guard, for reads that copy nothing; cheaper for a scan or a flush.
    pub fn pin(&self) -> PinnedSequencedView<'_> {
        PinnedSequencedView::new(&self.tables)
    }

    /// The value that the number sees; `None` if no table has one or it was deleted.
    pub fn get_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.pin().get_at(sequence, key).map(Bytes::copy_from_slice)
    }

    /// The version that the number sees, a tombstone too; `None` if no table has one, so that the files decide.
    pub fn version_at(&self, sequence: u64, key: impl AsRef<[u8]>) -> Option<Version> {
        Some(self.pin().version_at(sequence, key)?.to_version())
    }

    /// What the number sees in the bounds, tombstones included, in order, from either end. It is owned, keeps the tables alive and pins
    /// nothing between steps.
    ///
    /// A key costs in each table what it does in [`SequencedMemtable::range_at`](crate::SequencedMemtable::range_at), and a comparison.
    pub fn range_at<K: AsRef<[u8]>>(
        &self,
        sequence: u64,
        bounds: impl RangeBounds<K>,
    ) -> SequencedViewRange {
        self.range(Some(sequence), bounds)
    }

    /// All versions in the bounds, by key and of each key from the newest to the oldest, none twice.
    pub fn versions<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SequencedViewRange {
        self.range(None, bounds)
    }

    fn range<K: AsRef<[u8]>>(
        &self,
        at: Option<u64>,
        bounds: impl RangeBounds<K>,
    ) -> SequencedViewRange {
        SequencedViewRange(ReadAhead::new(self.clone(), at, stored(at, bounds)))
    }
}

impl Source for SequencedView {
    type Error = Infallible;

    fn read(
        &self,
        at: Option<u64>,
        bounds: Stored,
        from: Direction,
        most: usize,
    ) -> Result<Vec<Version>, Infallible> {
        let guard = reclaim::pin();
        Ok(match at {
            Some(at) => copies(seen(&self.tables, bounds, at, &guard), from, most),
            None => copies(every(&self.tables, bounds, &guard), from, most),
        })
    }
}

impl std::fmt::Debug for SequencedView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedView")
            .field("tables", &self.tables.iter().count())
            .finish_non_exhaustive()
    }
}

/// Versions of a range, from [`SequencedView::range_at`] or [`SequencedView::versions`]: an owned iterator that reads some ahead.
pub struct SequencedViewRange(ReadAhead<SequencedView>);

impl SequencedViewRange {
    fn step(&mut self, direction: Direction) -> Option<Version> {
        let Ok(version) = self.0.step(direction)?;
        Some(version)
    }
}

impl Iterator for SequencedViewRange {
    type Item = Version;

    fn next(&mut self) -> Option<Version> {
        self.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for SequencedViewRange {
    fn next_back(&mut self) -> Option<Version> {
        self.step(Direction::Backward)
    }
}

impl FusedIterator for SequencedViewRange {}

impl std::fmt::Debug for SequencedViewRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedViewRange")
            .field("at", &self.0.at())
            .finish_non_exhaustive()
    }
}
