//! Untorn's transaction buffer. What it returns is owned, so a get copies the value and a scan keys and values.

use std::ops::Bound;

use untorn_txn::{Entry, MemBuffer};

use crate::peer::{Peer, Room};

/// Untorn's transaction buffer.
#[derive(Debug)]
pub struct MemBufferPeer(MemBuffer);

impl MemBufferPeer {
    fn visit_from(
        &self,
        from: Bound<&[u8]>,
        limit: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> usize {
        let mut seen = 0;
        for (key, entry) in self.0.range::<&[u8]>((from, Bound::Unbounded)).take(limit) {
            if let Entry::Value(value) = entry {
                visit(&key, &value);
                seen += 1;
            }
        }
        seen
    }
}

impl Peer for MemBufferPeer {
    fn new(_: Room) -> Self {
        Self(MemBuffer::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0
            .set(key, value)
            .expect("benchmark keys and values are far below the limits");
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self.0.get(key) {
            Some(Entry::Value(value)) => Some(read(&value)),
            _ => None,
        }
    }

    fn scan(&self, from: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.visit_from(Bound::Included(from), limit, visit)
    }

    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.visit_from(Bound::Unbounded, usize::MAX, visit)
    }
}
