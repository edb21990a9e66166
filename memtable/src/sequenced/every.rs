//! Every version of a range of one table's keys, from either end.

use super::encoding::Stored;
use super::seen::Live;
use crate::reclaim::Guard;
use crate::table::Table;
use crate::visible::newest;
use crate::walk::{Edge, Walk};

/// A walk over all versions between two stored keys.
pub(super) struct Every<'g> {
    table: &'g Table,
    guard: &'g Guard,
    walk: Walk<'g>,
}

impl<'g> Every<'g> {
    pub(super) fn new(table: &'g Table, bounds: Stored, guard: &'g Guard) -> Every<'g> {
        let (lower, upper) = bounds;
        Every {
            table,
            guard,
            walk: Walk::new(
                table,
                lower.map(Edge::Shared),
                upper.map(Edge::Shared),
                guard,
            ),
        }
    }
}

impl<'g> Iterator for Every<'g> {
    type Item = Live<'g>;

    #[inline]
    fn next(&mut self) -> Option<Live<'g>> {
        loop {
            let entry = self.walk.next()?;
            if let Some(version) = newest(entry, &self.table.clock, self.guard) {
                return Some((entry, version));
            }
        }
    }
}

impl DoubleEndedIterator for Every<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.walk.next_back()?;
            if let Some(version) = newest(entry, &self.table.clock, self.guard) {
                return Some((entry, version));
            }
        }
    }
}
