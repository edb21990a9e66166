//! What a number sees of a range of one table's keys, from either end: of each key one version, found in O(log n) steps however many
//! it has.
//!
//! The versions of a key lie side by side, from the newest to the oldest. Those that the number does not see are passed one by one
//! while they are few; then the walk jumps, to the number or over the key.

use super::encoding::{NEWEST, OLDEST, Stored, sibling, split};
use crate::entry::EntryRef;
use crate::reclaim::Guard;
use crate::table::Table;
use crate::version::VersionRef;
use crate::visible::newest;
use crate::walk::{Direction, Edge, Walk};
use bytes::Bytes;
use std::ops::Bound;

/// So many versions are passed one by one. That takes about as long as a jump, so no more than twice the shorter way is spent; a step
/// backward takes twice as long as one forward.
const PATIENCE_FORWARD: usize = 64;
const PATIENCE_BACKWARD: usize = 32;

pub(super) type Live<'g> = (EntryRef<'g>, VersionRef<'g>);

/// The version of a key that a number sees, from the stored key of both.
#[inline]
pub(super) fn version_at<'g>(table: &Table, stored: &[u8], guard: &'g Guard) -> Option<Live<'g>> {
    let (key, _) = split(stored);
    table
        .entries_alike(stored, key.len(), guard)
        .find_map(|entry| Some((entry, newest(entry, &table.clock, guard)?)))
}

/// A walk over what a number sees between two stored keys.
pub(super) struct Seen<'g> {
    table: &'g Table,
    guard: &'g Guard,
    walk: Walk<'g>,
    at: u64,
    /// The direction of the last step.
    direction: Direction,
    /// What it came to.
    last: Option<EntryRef<'g>>,
    /// So many versions were passed since then, or since the last jump.
    passed: usize,
    /// Backward: of the key that was met last the newest version so far that the number sees.
    candidate: Option<Live<'g>>,
}

impl<'g> Seen<'g> {
    /// The bounds are those of that number.
    pub(super) fn new(
        table: &'g Table,
        (lower, upper): Stored,
        at: u64,
        guard: &'g Guard,
    ) -> Seen<'g> {
        Seen {
            table,
            guard,
            walk: Walk::between(table, lower, upper, guard),
            at,
            direction: Direction::Forward,
            last: None,
            passed: 0,
            candidate: None,
        }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// What the number sees of the next key from that end.
    #[inline]
    fn step(&mut self, direction: Direction) -> Option<Live<'g>> {
        if self.direction != direction {
            self.turn(direction);
        }
        self.passed = 0;
        let found = match direction {
            Direction::Forward => self.forward(),
            Direction::Backward => self.backward(),
        };
        self.last = found.as_ref().map(|(entry, _)| *entry);
        found
    }

    /// Leaves its place, which becomes a bound: the other versions of the key that it came to last are done with.
    fn turn(&mut self, direction: Direction) {
        if let Some(last) = self.last.take() {
            let end = match self.direction {
                Direction::Forward => OLDEST,
                Direction::Backward => NEWEST,
            };
            self.jump(Bound::Excluded(sibling(last.key(), end)));
        }
        self.candidate = None;
        self.direction = direction;
    }

    /// Of each key the first version, from the newest on, that the number sees.
    fn forward(&mut self) -> Option<Live<'g>> {
        let done = self.last.map(|last| split(last.key()).0);
        while let Some(entry) = self.walk.next() {
            let (key, sequence) = split(entry.key());
            let is_done = done == Some(key);
            if !is_done && sequence <= self.at {
                if let Some(version) = newest(entry, &self.table.clock, self.guard) {
                    return Some((entry, version));
                }
            } else if self.pass() {
                self.jump(match is_done {
                    true => Bound::Excluded(sibling(entry.key(), OLDEST)),
                    false => Bound::Included(sibling(entry.key(), self.at)),
                });
            }
        }
        None
    }

    /// Of each key the last version, from the oldest on, that the number sees.
    fn backward(&mut self) -> Option<Live<'g>> {
        while let Some(entry) = self.walk.next_back() {
            let (key, sequence) = split(entry.key());
            let is_newer = sequence > self.at;
            let found = self
                .candidate
                .take_if(|(candidate, _)| is_newer || split(candidate.key()).0 != key);
            if !is_newer && let Some(version) = newest(entry, &self.table.clock, self.guard) {
                self.candidate = Some((entry, version));
            }
            if found.is_some() {
                return found;
            }
            if self.pass() {
                if !is_newer {
                    // None between is in effect, perhaps; what was met before is of the same key.
                    self.candidate = self.newest_of(entry).or(self.candidate.take());
                }
                self.jump(Bound::Excluded(sibling(entry.key(), NEWEST)));
            }
        }
        self.candidate.take()
    }

    /// The version that the number sees of the key of an older version.
    fn newest_of(&self, older: EntryRef<'g>) -> Option<Live<'g>> {
        let first = Edge::Shared(sibling(older.key(), self.at));
        let last = Edge::Yielded(older.key());
        let mut walk = Walk::new(
            self.table,
            Bound::Included(first),
            Bound::Included(last),
            self.guard,
        );
        std::iter::from_fn(|| walk.next())
            .find_map(|entry| Some((entry, newest(entry, &self.table.clock, self.guard)?)))
    }

    /// Counts a version that was passed; answers whether to jump.
    fn pass(&mut self) -> bool {
        self.passed += 1;
        self.passed
            == match self.direction {
                Direction::Forward => PATIENCE_FORWARD,
                Direction::Backward => PATIENCE_BACKWARD,
            }
    }

    fn jump(&mut self, to: Bound<Bytes>) {
        self.passed = 0;
        self.walk.jump(self.direction, to.map(Edge::Shared));
    }
}

impl<'g> Iterator for Seen<'g> {
    type Item = Live<'g>;

    #[inline]
    fn next(&mut self) -> Option<Live<'g>> {
        self.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for Seen<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Backward)
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::super::SequencedMemtable;
    use super::super::encoding::encode;
    use super::*;

    /// As beside a batch that is under way, or after one that a freeze has refused.
    #[test]
    fn a_version_that_is_not_in_effect_hides_no_older_one_where_a_walk_jumps() {
        for versions in 1..=4 * PATIENCE_FORWARD as u64 {
            let table = SequencedMemtable::new();
            for sequence in 1..=versions + 1 {
                table.insert_at(sequence, "k", "v").expect("small");
            }
            let inner = &table.table;
            let _keeps = inner.snapshot();
            let gone = inner.remove(encode(b"k", versions + 1)).expect("small");
            assert!(gone.is_some());
            let mut all = table.range_at::<&str>(u64::MAX, ..);
            let back = all.next_back().expect("older ones are there");
            assert_eq!(back.expect("not pruned").sequence, versions);
            let mut all = table.range_at::<&str>(u64::MAX, ..);
            let front = all.next().expect("older ones are there");
            assert_eq!(front.expect("not pruned").sequence, versions);
        }
    }
}
