//! Merging the ranges of several tables: of a key that several have, the newest table's entry is shown.

use crate::item::Entry;

/// One table's range, and what was read of it at either end.
struct Source<I> {
    range: I,
    front: Option<Entry>,
    back: Option<Entry>,
}

impl<I: DoubleEndedIterator<Item = Entry>> Source<I> {
    fn front(&mut self) -> Option<&Entry> {
        if self.front.is_none() {
            // What was read at the other end is the last of all.
            self.front = self.range.next().or_else(|| self.back.take());
        }
        self.front.as_ref()
    }

    fn back(&mut self) -> Option<&Entry> {
        if self.back.is_none() {
            self.back = self.range.next_back().or_else(|| self.front.take());
        }
        self.back.as_ref()
    }
}

/// The merged range.
pub(super) struct Merge<I> {
    /// From the newest to the oldest.
    sources: Vec<Source<I>>,
}

impl<I: DoubleEndedIterator<Item = Entry>> Merge<I> {
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
}

impl<I: DoubleEndedIterator<Item = Entry>> Iterator for Merge<I> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let fronts = self.sources.iter_mut().filter_map(Source::front);
        let key = fronts.map(|entry| &entry.key).min()?.clone();
        let mut newest = None;
        for source in &mut self.sources {
            let shown = source.front.take_if(|entry| entry.key == key);
            newest = newest.or(shown);
        }
        newest
    }
}

impl<I: DoubleEndedIterator<Item = Entry>> DoubleEndedIterator for Merge<I> {
    fn next_back(&mut self) -> Option<Entry> {
        let backs = self.sources.iter_mut().filter_map(Source::back);
        let key = backs.map(|entry| &entry.key).max()?.clone();
        let mut newest = None;
        for source in &mut self.sources {
            let shown = source.back.take_if(|entry| entry.key == key);
            newest = newest.or(shown);
        }
        newest
    }
}
