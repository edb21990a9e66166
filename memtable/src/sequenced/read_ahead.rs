//! Owned ranges: versions are read in chunks, each under a guard of its own, and nothing is pinned between them.

use super::encoding::{NEWEST, OLDEST, Stored, encode};
use super::seen::Live;
use super::version::{Version, VersionItem};
use crate::walk::Direction;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Bound;

const MAX_FETCH: usize = 64;

/// Where versions are read.
pub(super) trait Source {
    /// Why they are not.
    type Error;

    /// At most so many of those between the bounds, from that end on: what a number sees, or all.
    fn read(
        &self,
        at: Option<u64>,
        bounds: Stored,
        from: Direction,
        most: usize,
    ) -> Result<Vec<Version>, Self::Error>;
}

/// Copies of the first of them from that end on.
pub(super) fn copies<'g>(
    versions: impl DoubleEndedIterator<Item = Live<'g>>,
    from: Direction,
    most: usize,
) -> Vec<Version> {
    let copy = |live| VersionItem::new(live).to_version();
    match from {
        Direction::Forward => versions.take(most).map(copy).collect(),
        Direction::Backward => versions.rev().take(most).map(copy).collect(),
    }
}

/// A range of a source, from either end.
pub(super) struct ReadAhead<S> {
    source: S,
    /// What this number sees; `None`: every version.
    at: Option<u64>,
    /// Between the bounds lies what was not read yet.
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    /// Read from the front and from the back, in the order in which they are yielded.
    front: VecDeque<Version>,
    back: VecDeque<Version>,
    fetch: usize,
    exhausted: bool,
}

impl<S: Source> ReadAhead<S> {
    pub(super) fn new(source: S, at: Option<u64>, (lower, upper): Stored) -> ReadAhead<S> {
        ReadAhead {
            source,
            at,
            lower,
            upper,
            front: VecDeque::new(),
            back: VecDeque::new(),
            fetch: 1,
            exhausted: false,
        }
    }

    pub(super) fn at(&self) -> Option<u64> {
        self.at
    }

    fn read_ahead(&mut self, direction: Direction) -> Result<(), S::Error> {
        let bounds = (self.lower.clone(), self.upper.clone());
        let read = self.source.read(self.at, bounds, direction, self.fetch)?;
        self.exhausted = read.len() < self.fetch;
        self.fetch = (self.fetch * 2).min(MAX_FETCH);
        if let Some(last) = read.last() {
            // At a number the key's other versions are done with.
            let done = |end| match self.at {
                Some(_) => end,
                None => last.sequence,
            };
            let behind = |end| Bound::Excluded(encode(&last.entry.key, done(end)).into());
            match direction {
                Direction::Forward => self.lower = behind(OLDEST),
                Direction::Backward => self.upper = behind(NEWEST),
            }
        }
        match direction {
            Direction::Forward => self.front.extend(read),
            Direction::Backward => self.back.extend(read),
        }
        Ok(())
    }

    pub(super) fn step(&mut self, direction: Direction) -> Option<Result<Version, S::Error>> {
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
