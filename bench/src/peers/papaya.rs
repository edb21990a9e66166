//! papaya: a lock-free hash map with a pinned handle. No order: a mark for point operations alone.

use papaya::HashMap;

use crate::peer::{Peer, Room};

type Blob = Box<[u8]>;

/// papaya's map.
pub struct PapayaPeer(HashMap<Blob, Blob>);

impl Peer for PapayaPeer {
    const ORDERED: bool = false;

    fn new(_: Room) -> Self {
        Self(HashMap::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.pin().insert(key.into(), value.into());
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.0.pin().get(key).map(|value| read(value))
    }

    fn scan(&self, _: &[u8], _: usize, _: impl FnMut(&[u8], &[u8])) -> usize {
        0
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let pinned = self.0.pin();
        let mut seen = 0;
        for (key, value) in pinned.iter() {
            visit(key, value);
            seen += 1;
        }
        seen
    }
}
