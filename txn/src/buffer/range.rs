//! Ranges over the buffer as it is.

use super::{Entry, Inner, MemBuffer};
use crate::flags::KeyFlags;
use bytes::Bytes;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Values and tombstones in key order; made by [`MemBuffer::range`].
pub struct Range {
    _inner: Arc<Inner>,
}

/// Every live key in order, flags-only ones included; made by [`MemBuffer::range_with_flags`].
pub struct RangeWithFlags {
    _inner: Arc<Inner>,
}

impl MemBuffer {
    /// Values and tombstones of the keys within `bounds`, in order, from either end.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        let _ = bounds;
        todo!()
    }

    /// Every live key within `bounds` with its flags, in order, from either end.
    pub fn range_with_flags<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> RangeWithFlags {
        let _ = bounds;
        todo!()
    }
}

impl Iterator for Range {
    type Item = (Bytes, Entry);
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

impl std::iter::FusedIterator for Range {}

impl Iterator for RangeWithFlags {
    /// `None`: the key has flags only.
    type Item = (Bytes, Option<Entry>, KeyFlags);
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

impl DoubleEndedIterator for RangeWithFlags {
    fn next_back(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

impl std::iter::FusedIterator for RangeWithFlags {}
