//! Reading the versions of a range of keys.

use super::encoding::{NEWEST, OLDEST, sibling, stored};
use super::seen::{Live, Seen};
use super::version::VersionItem;
use super::{SequencedMemtable, Version};
use crate::error::Error;
use crate::reclaim;
use crate::visible::newest;
use crate::walk::{Direction, Edge, Walk};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

const MAX_FETCH: usize = 64;

/// Versions of a range, from [`SequencedMemtable::range_at`] or [`SequencedMemtable::versions`]: an owned iterator that reads some ahead.
pub struct SequencedRange<'t> {
    table: &'t SequencedMemtable,
    /// What this number sees; `None`: every version.
    at: Option<u64>,
    /// Between the bounds, of stored keys, lies what was not read yet.
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    /// Read from the front and from the back, in the order in which they are yielded.
    front: VecDeque<Version>,
    back: VecDeque<Version>,
    fetch: usize,
    exhausted: bool,
}

impl<'t> SequencedRange<'t> {
    pub(super) fn new<K: AsRef<[u8]>>(
        table: &'t SequencedMemtable,
        at: Option<u64>,
        bounds: impl RangeBounds<K>,
    ) -> SequencedRange<'t> {
        let (lower, upper) = stored(at, bounds);
        SequencedRange {
            table,
            at,
            lower,
            upper,
            front: VecDeque::new(),
            back: VecDeque::new(),
            fetch: 1,
            exhausted: false,
        }
    }

    fn read_ahead(&mut self, direction: Direction) -> Result<(), Error> {
        let guard = reclaim::pin();
        let edge = |bound: &Bound<Bytes>| bound.clone().map(Edge::Shared);
        let core = self.table.table.table();
        let mut walk = Walk::new(core, edge(&self.lower), edge(&self.upper), &guard);
        let read: Vec<Live<'_>> = match self.at {
            None => std::iter::from_fn(|| walk.step(direction))
                .filter_map(|entry| Some((entry, newest(entry, &core.clock, &guard)?)))
                .take(self.fetch)
                .collect(),
            Some(at) => {
                let mut seen = Seen::new(core, walk, at, &guard);
                let seen = std::iter::from_fn(|| seen.step(direction));
                seen.take(self.fetch).collect()
            }
        };
        self.exhausted = read.len() < self.fetch;
        self.fetch = (self.fetch * 2).min(MAX_FETCH);
        // After all that was read (Q1).
        if let Some(at) = self.at {
            self.table.check(at)?;
        }
        if let Some((last, _)) = read.last() {
            // At a number the key's other versions are done with.
            match (direction, self.at) {
                (Direction::Forward, Some(_)) => {
                    self.lower = Bound::Excluded(sibling(last.key(), OLDEST))
                }
                (Direction::Backward, Some(_)) => {
                    self.upper = Bound::Excluded(sibling(last.key(), NEWEST))
                }
                (Direction::Forward, None) => {
                    self.lower = Bound::Excluded(Bytes::copy_from_slice(last.key()))
                }
                (Direction::Backward, None) => {
                    self.upper = Bound::Excluded(Bytes::copy_from_slice(last.key()))
                }
            }
        }
        let shown = read
            .into_iter()
            .map(|live| VersionItem::new(live).to_version());
        match direction {
            Direction::Forward => self.front.extend(shown),
            Direction::Backward => self.back.extend(shown),
        }
        Ok(())
    }

    fn step(&mut self, direction: Direction) -> Option<Result<Version, Error>> {
        let (near, far) = match direction {
            Direction::Forward => (&mut self.front, &mut self.back),
            Direction::Backward => (&mut self.back, &mut self.front),
        };
        if let Some(version) = near.pop_front() {
            return Some(Ok(version));
        }
        if self.exhausted {
            return far.pop_back().map(Ok);
        }
        if let Err(error) = self.read_ahead(direction) {
            self.exhausted = true;
            self.front.clear();
            self.back.clear();
            return Some(Err(error));
        }
        self.step(direction)
    }
}

impl Iterator for SequencedRange<'_> {
    type Item = Result<Version, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for SequencedRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Backward)
    }
}

impl std::iter::FusedIterator for SequencedRange<'_> {}

impl std::fmt::Debug for SequencedRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SequencedRange")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
