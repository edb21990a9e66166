//! Untorn's memtable, through a pinned handle: `pin().get` borrows the value in place.

use std::ops::Bound;

use untorn_memtable::{Memtable, WriteBatch};

use crate::peer::{Peer, Room};

/// Untorn's memtable.
#[derive(Debug)]
pub struct UntornPeer(Memtable);

impl Peer for UntornPeer {
    fn new(_: Room) -> Self {
        Self(Memtable::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0
            .insert(key, value)
            .expect("benchmark keys and values are far below the limits");
    }

    fn write_many(&self, writes: &[(&[u8], &[u8])]) {
        let mut batch = WriteBatch::new();
        for (key, value) in writes {
            batch.put(key, value);
        }
        self.0
            .apply(&batch)
            .expect("benchmark keys and values are far below the limits");
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.pin().get(key).map(read)
    }

    fn get_many(&self, keys: &[&[u8]], read: impl FnMut(&[u8])) {
        let pinned = self.0.pin();
        let values = pinned.get_many(keys);
        values.into_iter().flatten().for_each(read);
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let pinned = self.0.pin();
        let range = pinned.range::<&[u8]>((Bound::Included(from), Bound::Unbounded));
        let mut seen = 0;
        for (key, value) in range.take(limit) {
            visit(key, value);
            seen += 1;
        }
        seen
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let pinned = self.0.pin();
        let mut seen = 0;
        for (key, value) in pinned.range::<&[u8]>(..) {
            visit(key, value);
            seen += 1;
        }
        seen
    }
}
