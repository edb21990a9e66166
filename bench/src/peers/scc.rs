//! `scc::TreeIndex`: a read-optimised concurrent B+tree. `peek` reads without a lock under a guard.

use std::ops::Bound;

use scc::{Guard, TreeIndex};

use crate::peer::{Peer, Room};

type Blob = Box<[u8]>;

/// scc's ordered index.
pub struct TreeIndexPeer(TreeIndex<Blob, Blob>);

impl Peer for TreeIndexPeer {
    fn new(_: Room) -> Self {
        Self(TreeIndex::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        self.0.upsert_sync(key.into(), value.into());
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let guard = Guard::new();
        self.0
            .peek::<[u8]>(key, &guard)
            .map(|value| read(value.as_ref()))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let guard = Guard::new();
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut seen = 0;
        for (key, value) in self.0.range::<[u8], _>(bounds, &guard).take(limit) {
            visit(key, value);
            seen += 1;
        }
        seen
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let guard = Guard::new();
        let mut seen = 0;
        for (key, value) in self.0.iter(&guard) {
            visit(key, value);
            seen += 1;
        }
        seen
    }
}
