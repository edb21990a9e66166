//! The buffer over a store.

use super::MemBuffer;
use bytes::Bytes;
use std::ops::RangeBounds;

/// Buffer over store: the buffer wins, tombstones hide. Made by [`MemBuffer::union`] (ascending)
/// and [`MemBuffer::union_rev`] (descending).
pub struct Union<S> {
    _store: S,
}

impl MemBuffer {
    /// The merged view of the buffer, asked anew at each step, over `store`: the store's pairs
    /// within `bounds`, ascending.
    pub fn union<K: AsRef<[u8]>, S: Iterator<Item = (Bytes, Bytes)>>(
        &self,
        bounds: impl RangeBounds<K>,
        store: S,
    ) -> Union<S> {
        let _ = bounds;
        Union { _store: store }
    }

    /// The same from the back: `store` descends.
    pub fn union_rev<K: AsRef<[u8]>, S: Iterator<Item = (Bytes, Bytes)>>(
        &self,
        bounds: impl RangeBounds<K>,
        store: S,
    ) -> Union<S> {
        let _ = bounds;
        Union { _store: store }
    }
}

impl<S: Iterator<Item = (Bytes, Bytes)>> Iterator for Union<S> {
    type Item = (Bytes, Bytes);
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
