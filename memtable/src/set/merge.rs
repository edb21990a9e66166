//! Merging the ranges of several tables: of a key that several have, what the newest table has is shown.

use crate::item::{Entry, Item};
use std::cmp::Ordering;

/// What a range shows under a key.
pub(super) trait Keyed {
    fn key(&self) -> &[u8];
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Keyed for Item<'_> {
    fn key(&self) -> &[u8] {
        self.key
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
pub(super) struct Merge<I: Iterator> {
    /// From the newest to the oldest.
    sources: Vec<Source<I>>,
}

impl<I: DoubleEndedIterator<Item: Keyed>> Merge<I> {
    pub(super) fn new(ranges: impl Iterator<Item = I>) -> Merge<I> {
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
            match &first {
                None => first = Some(shown),
                Some(newer) => match newer.as_ref().map(|newer| item.key().cmp(newer.key())) {
                    // Hidden by what is newer, even if that is not the first.
                    Some(Ordering::Equal) => *shown = None,
                    Some(order) if order == before => first = Some(shown),
                    _ => {}
                },
            }
        }
        first?.take()
    }
}

impl<I: DoubleEndedIterator<Item: Keyed>> Iterator for Merge<I> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.take(Source::front, Ordering::Less)
    }
}

impl<I: DoubleEndedIterator<Item: Keyed>> DoubleEndedIterator for Merge<I> {
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
