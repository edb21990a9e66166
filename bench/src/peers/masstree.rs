//! masstree: a trie of B+trees with version-validated reads and leaf locks, reclaimed by seize.
//!
//! Values of more than eight bytes live behind a box; `get_ref` borrows them, and `scan_intra_leaf_batch` is the scan
//! that its documentation calls the fastest.

use masstree::{MassTree15, RangeBound};

use crate::peer::{Peer, Room};

/// masstree with boxed values.
pub struct MasstreePeer(MassTree15<Box<[u8]>>);

impl Peer for MasstreePeer {
    fn new(_: Room) -> Self {
        Self(MassTree15::new())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        let guard = self.0.guard();
        self.0.insert_with_guard(key, value.into(), &guard);
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let guard = self.0.guard();
        self.0.get_ref(key, &guard).map(|value| read(&value))
    }

    #[inline]
    fn scan(&self, from: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let guard = self.0.guard();
        let mut seen = 0;
        self.0.scan_intra_leaf_batch(
            RangeBound::Included(from),
            RangeBound::Unbounded,
            |key, value| {
                visit(key, &value);
                seen += 1;
                seen < limit
            },
            &guard,
        );
        seen
    }

    fn scan_all(&self, mut visit: impl FnMut(&[u8], &[u8])) -> usize {
        let guard = self.0.guard();
        self.0.scan_intra_leaf_batch(
            RangeBound::Unbounded,
            RangeBound::Unbounded,
            |key, value| {
                visit(key, &value);
                true
            },
            &guard,
        )
    }
}
