//! Reading the versions of a range of keys.

use super::encoding::{Stored, stored};
use super::every::Every;
use super::read_ahead::{ReadAhead, Source, copies};
use super::seen::Seen;
use super::{SequencedMemtable, Version};
use crate::error::Error;
use crate::reclaim;
use crate::walk::Direction;
use std::ops::RangeBounds;

/// Versions of a range, from [`SequencedMemtable::range_at`] or [`SequencedMemtable::versions`]: an owned iterator that reads some ahead.
pub struct SequencedRange<'t>(ReadAhead<&'t SequencedMemtable>);

impl<'t> SequencedRange<'t> {
    pub(super) fn new<K: AsRef<[u8]>>(
        table: &'t SequencedMemtable,
        at: Option<u64>,
        bounds: impl RangeBounds<K>,
    ) -> SequencedRange<'t> {
        SequencedRange(ReadAhead::new(table, at, stored(at, bounds)))
    }
}

impl Source for &SequencedMemtable {
    type Error = Error;

    fn read(
        &self,
        at: Option<u64>,
        bounds: Stored,
        from: Direction,
        most: usize,
    ) -> Result<Vec<Version>, Error> {
        let guard = reclaim::pin();
        let core = self.table.table();
        let Some(at) = at else {
            return Ok(copies(Every::new(core, bounds, &guard), from, most));
        };
        let read = copies(Seen::new(core, bounds, at, &guard), from, most);
        // After all that was read (Q1).
        self.check(at)?;
        Ok(read)
    }
}

impl Iterator for SequencedRange<'_> {
    type Item = Result<Version, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for SequencedRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.step(Direction::Backward)
    }
}

impl std::iter::FusedIterator for SequencedRange<'_> {}

impl std::fmt::Debug for SequencedRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedRange")
            .field("at", &self.0.at())
            .finish_non_exhaustive()
    }
}
