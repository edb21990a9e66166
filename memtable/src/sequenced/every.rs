//! Every version of a range of one table's keys, from either end.

use super::encoding::Stored;
use super::seen::Live;
use crate::reclaim::Guard;
use crate::table::Table;
use crate::visible::newest;
use crate::walk::{Direction, Walk};

/// A walk over all versions between two stored keys.
pub(super) struct Every<'g> {
    table: &'g Table,
    guard: &'g Guard,
    walk: Walk<'g>,
}

impl<'g> Every<'g> {
    pub(super) fn new(table: &'g Table, (lower, upper): Stored, guard: &'g Guard) -> Every<'g> {
        Every {
            table,
            guard,
            walk: Walk::between(table, lower, upper, guard),
        }
    }

    #[inline]
    fn step(&mut self, direction: Direction) -> Option<Live<'g>> {
        loop {
            let entry = self.walk.step(direction)?;
            if let Some(version) = newest(entry, &self.table.clock, self.guard) {
                return Some((entry, version));
            }
        }
    }
}

impl<'g> Iterator for Every<'g> {
    type Item = Live<'g>;

    #[inline]
    fn next(&mut self) -> Option<Live<'g>> {
        self.step(Direction::Forward)
    }
}

impl DoubleEndedIterator for Every<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(Direction::Backward)
    }
}
