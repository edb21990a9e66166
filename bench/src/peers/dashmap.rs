//! dashmap: a sharded, locked hash map. No order: a mark for point operations alone.

use dashmap::DashMap;

use crate::peer::{Peer, Room};

type Blob = Box<[u8]>;

/// dashmap's map.
pub struct DashPeer(DashMap<Blob, Blob>);

impl Peer for DashPeer {
    const ORDERED: bool = false;

    fn new(_: Room) -> Self {
        Self(DashMap::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key.into(), value.into());
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.view(key, |_, value| read(value))
    }

    fn scan(&self, _: &[u8], _: usize, _: impl FnMut(&[u8], &[u8])) -> usize {
        0
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let mut seen = 0;
        for entry in self.0.iter() {
            visit(entry.key(), entry.value());
            seen += 1;
        }
        seen
    }
}
