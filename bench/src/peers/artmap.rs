//! artmap: adaptive radix trees with optimistic lock coupling, on the heap under crossbeam-epoch or in a fixed arena.
//!
//! Gets go through `with_value` (one pin, no handle), scans through `scan`, which its documentation calls the
//! cheapest way to visit a range.

use std::borrow::Borrow;
use std::ops::Bound;

use artmap::{ArenaArtMap, ArtMap, AsBytes};

use crate::owned::Owned;
use crate::peer::{Peer, Room};

/// artmap's heap map with keys `K` and values `V`.
pub struct ArtPeer<K, V>(ArtMap<K, V>);

impl<K: Owned + AsBytes + Borrow<[u8]>, V: Owned> Peer for ArtPeer<K, V> {
    const KEY_LEN: Option<usize> = K::LEN;

    fn new(_: Room) -> Self {
        Self(ArtMap::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        let guard = self.0.pin();
        self.0
            .insert_with_guard(K::copied(key), V::copied(value), &guard);
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.with_value(key, |value: &V| read(value.content()))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        let range = (Bound::Included(from), Bound::<&[u8]>::Unbounded);
        self.0.scan::<_, [u8], _>(range, |key, value| {
            visit(key.content(), value.content());
            seen += 1;
            seen < limit
        });
        seen
    }

    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.scan(&[], usize::MAX, visit)
    }
}

/// Bytes of arena that one entry may take at most on average: its leaf and its share of the inner nodes.
const ARENA_PER_ENTRY: usize = 448;
/// Bytes of arena that an overwrite takes: a new leaf.
const ARENA_PER_OVERWRITE: usize = 192;

/// artmap's arena map with keys `K` and values `V`. Nothing that it holds is freed before the table is.
pub struct ArenaPeer<K, V>(ArenaArtMap<K, V>);

impl<K: Owned + AsBytes + Borrow<[u8]>, V: Owned> Peer for ArenaPeer<K, V> {
    const KEY_LEN: Option<usize> = K::LEN;
    const RECLAIMS: bool = false;

    fn new(room: Room) -> Self {
        let overwrites = room.writes.saturating_sub(room.entries);
        let bytes = room.entries * ARENA_PER_ENTRY + overwrites * ARENA_PER_OVERWRITE;
        Self(ArenaArtMap::with_capacity(bytes + 64 * 1024))
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.insert(K::copied(key), V::copied(value));
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0
            .get_entry(key)
            .map(|entry| read(entry.value().content()))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        let range = (Bound::Included(from), Bound::<&[u8]>::Unbounded);
        self.0.scan::<_, [u8], _>(range, |key, value| {
            visit(key.content(), value.content());
            seen += 1;
            seen < limit
        });
        seen
    }

    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.scan(&[], usize::MAX, visit)
    }

    fn unused_bytes(&self) -> usize {
        self.0.arena().remaining()
    }
}
