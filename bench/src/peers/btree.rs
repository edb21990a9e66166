//! `RwLock<BTreeMap>`: what anyone has without a library, and the fastest scan there is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use crate::peer::{Peer, Room};

type Blob = Box<[u8]>;

/// The standard library's B-tree behind its reader-writer lock.
pub struct BTreePeer(RwLock<BTreeMap<Blob, Blob>>);

impl Peer for BTreePeer {
    fn new(_: Room) -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        let (key, value) = (Blob::from(key), Blob::from(value));
        let old = self
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, value);
        drop(old);
    }

    /// In place: the length of the value is the same, so nothing is allocated.
    #[inline]
    fn overwrite(&self, key: &[u8], value: &[u8]) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match map.get_mut(key) {
            Some(slot) if slot.len() == value.len() => slot.copy_from_slice(value),
            Some(slot) => *slot = value.into(),
            None => {
                map.insert(key.into(), value.into());
            }
        }
    }

    /// Under one lock, so that nobody sees a part of them.
    fn write_many(&self, writes: &[(&[u8], &[u8])]) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for &(key, value) in writes {
            map.insert(key.into(), value.into());
        }
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).map(|value| read(value))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut seen = 0;
        for (key, value) in map.range::<[u8], _>(bounds).take(limit) {
            visit(key, value);
            seen += 1;
        }
        seen
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in map.iter() {
            visit(key, value);
        }
        map.len()
    }
}
