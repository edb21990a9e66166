//! Ranges: ordered, from either end, over a buffer as it is or over a snapshot.

use super::layer::{Cursor, End, Layer, Step};
use super::{BufferSnapshot, Entry, MemBuffer};
use crate::flags::KeyFlags;
use bytes::Bytes;
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// Values and tombstones in key order; made by [`MemBuffer::range`] and [`BufferSnapshot::range`].
///
/// Owns what it needs (`Send + 'static`) and pins nothing between two steps. After its end it
/// stays at its end.
#[derive(Clone)]
#[must_use = "iterators do nothing unless they are advanced"]
pub struct Range<L = MemBuffer> {
    cursor: Cursor<L>,
}

/// Every live key in order, flags-only ones included; made by [`MemBuffer::range_with_flags`].
#[derive(Clone)]
#[must_use = "iterators do nothing unless they are advanced"]
pub struct RangeWithFlags {
    cursor: Cursor<MemBuffer>,
}

impl MemBuffer {
    /// Values and tombstones of the keys within `bounds`, in order, from either end; skips
    /// flags-only keys. Empty and inverted bounds yield nothing.
    ///
    /// Survives concurrent writes: a key that is there and untouched for the whole scan is yielded
    /// exactly once, a key written meanwhile is seen or not, and each item is the newest one at the
    /// instant of the step that yields it. A scan is not one instant: one that a `cleanup` or
    /// `reset` overtakes has shown what was there before and shows what is left after. Use
    /// [`snapshot_now`](Self::snapshot_now) where it must be all or nothing.
    ///
    /// One descent and one copy of key and value a step. A scan that was begun before the buffer was
    /// ever used shows nothing, and takes no heap.
    ///
    /// ```
    /// use untorn_txn::MemBuffer;
    ///
    /// # fn main() -> Result<(), untorn_txn::Error> {
    /// let buffer = MemBuffer::new();
    /// buffer.set("a", "1")?;
    /// buffer.delete("b")?;
    /// let keys: Vec<_> = buffer.range("a".."c").rev().map(|(key, _)| key).collect();
    /// assert_eq!(keys, ["b", "a"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range {
            cursor: self.cursor(bounds, false),
        }
    }

    /// Every live key within `bounds` with its flags, flags-only keys (`None`) included: the view
    /// that a committer walks. Otherwise as [`range`](Self::range).
    pub fn range_with_flags<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> RangeWithFlags {
        RangeWithFlags {
            cursor: self.cursor(bounds, true),
        }
    }

    fn cursor<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
        flags_only: bool,
    ) -> Cursor<MemBuffer> {
        match self.made() {
            Some(_) => Cursor::new(self.clone(), bounds, flags_only),
            None => Cursor::ended(),
        }
    }
}

impl BufferSnapshot {
    /// Values and tombstones within `bounds`, in order, from either end, as they were. Empty and
    /// inverted bounds yield nothing. One descent a step.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range<BufferSnapshot> {
        let cursor = match self.view() {
            Some(_) => Cursor::new(self.clone(), bounds, false),
            None => Cursor::ended(),
        };
        Range { cursor }
    }
}

/// A step of a cursor that skips flags-only keys.
fn with_content(step: Step) -> Option<(Bytes, Entry)> {
    Some((step.key, step.entry?))
}

fn with_flags(step: Step) -> (Bytes, Option<Entry>, KeyFlags) {
    (step.key, step.entry, step.flags)
}

impl<L: Layer> Iterator for Range<L> {
    type Item = (Bytes, Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.take(End::Front).and_then(with_content)
    }
}

impl<L: Layer> DoubleEndedIterator for Range<L> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.cursor.take(End::Back).and_then(with_content)
    }
}

impl<L: Layer> FusedIterator for Range<L> {}

impl Iterator for RangeWithFlags {
    /// Key, content (`None`: flags only), flags.
    type Item = (Bytes, Option<Entry>, KeyFlags);

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.take(End::Front).map(with_flags)
    }
}

impl DoubleEndedIterator for RangeWithFlags {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.cursor.take(End::Back).map(with_flags)
    }
}

impl FusedIterator for RangeWithFlags {}

impl<L> std::fmt::Debug for Range<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RangeWithFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeWithFlags").finish_non_exhaustive()
    }
}
