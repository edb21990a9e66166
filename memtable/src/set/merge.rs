//! Merging the ranges of several tables: of a key that several have, what has the highest rank is shown, or what the newest table has.

use super::Member;
use crate::item::{Entry, Item};
use crate::snapshot::{PinnedSnapshotRange, SnapshotRange};
use std::cmp::Ordering;

/// One table's range.
pub(crate) trait Ordered: DoubleEndedIterator {
    /// By this it is ordered.
    fn key(item: &Self::Item) -> &[u8];

    /// Of what several tables have under one key that with the highest rank is shown, of equal ones the newest table's.
    fn rank(_item: &Self::Item) -> u64 {
        0
    }
}

impl Ordered for SnapshotRange<Member> {
    fn key(item: &Entry) -> &[u8] {
        &item.key
    }
}

impl<'g> Ordered for PinnedSnapshotRange<'g> {
    fn key<'i>(item: &'i Item<'g>) -> &'i [u8] {
        item.key
    }
}

/// One table's range, and what was read of it at either end.
struct Source<I: Iterator> {
    range: I,
    front: Option<I::Item>,
    back: Option<I::Item>,
}

impl<I: DoubleEndedIterator> Source<I> {
    /// What is first here, to be looked at or taken.
    fn front(&mut self) -> &mut Option<I::Item> {
        if self.front.is_none() {
            // What was read at the other end is the last of all.
            self.front = self.range.next().or_else(|| self.back.take());
        }
        &mut self.front
    }

    fn back(&mut self) -> &mut Option<I::Item> {
        if self.back.is_none() {
            self.back = self.range.next_back().or_else(|| self.front.take());
        }
        &mut self.back
    }
}

/// The merged range.
pub(crate) struct Merge<I: Iterator> {
    /// From the newest to the oldest.
    sources: Vec<Source<I>>,
}

impl<I: Ordered> Merge<I> {
    pub(crate) fn new(ranges: impl Iterator<Item = I>) -> Merge<I> {
        let sources = ranges.map(|range| Source {
            range,
            front: None,
            back: None,
        });
        Merge {
            sources: sources.collect(),
        }
    }

    /// Takes what comes first at one end, where one key is before another if they compare as `before`.
    fn take(
        &mut self,
        end: impl Fn(&mut Source<I>) -> &mut Option<I::Item>,
        before: Ordering,
    ) -> Option<I::Item> {
        let mut first: Option<&mut Option<I::Item>> = None;
        for source in &mut self.sources {
            let shown = end(source);
            let Some(item) = shown else { continue };
            let Some(newer) = &mut first else {
                first = Some(shown);
                continue;
            };
            let Some(other) = newer.as_ref() else {
                continue;
            };
            match I::key(item).cmp(I::key(other)) {
                // One hides the other, even if that is not the first.
                Ordering::Equal if I::rank(item) > I::rank(other) => {
                    **newer = None;
                    first = Some(shown);
                }
                Ordering::Equal => *shown = None,
                order if order == before => first = Some(shown),
                _ => {}
            }
        }
        first?.take()
    }
}

impl<I: Ordered> Iterator for Merge<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.take(Source::front, Ordering::Less)
    }
}

impl<I: Ordered> DoubleEndedIterator for Merge<I> {
    #[inline]
    fn next_back(&mut self) -> Option<I::Item> {
        self.take(Source::back, Ordering::Greater)
    }
}

impl<I: Iterator> std::fmt::Debug for Merge<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge")
            .field("tables", &self.sources.len())
            .finish_non_exhaustive()
    }
}
