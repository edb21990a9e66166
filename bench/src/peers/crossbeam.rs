//! `crossbeam_skiplist::SkipMap`: a lock-free skiplist under crossbeam-epoch. It pins by itself in every call.

use std::borrow::Borrow;
use std::ops::Bound;

use crossbeam_skiplist::SkipMap;

use crate::owned::Owned;
use crate::peer::{Peer, Room};

/// crossbeam's skiplist with keys `K` and values `V`.
pub struct SkipMapPeer<K, V>(SkipMap<K, V>);

impl<K: Owned + Borrow<[u8]>, V: Owned> Peer for SkipMapPeer<K, V> {
    const KEY_LEN: Option<usize> = K::LEN;

    fn new(_: Room) -> Self {
        Self(SkipMap::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.insert(K::copied(key), V::copied(value));
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0
            .get::<[u8]>(key)
            .map(|entry| read(entry.value().content()))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        let range = self
            .0
            .range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        for entry in range.take(limit) {
            visit(entry.key().content(), entry.value().content());
            seen += 1;
        }
        seen
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        for entry in self.0.iter() {
            visit(entry.key().content(), entry.value().content());
            seen += 1;
        }
        seen
    }
}
