//! The transaction buffer of TiKV's client for Rust, made anew: an ordered map from keys to mutations, behind a mutex
//! because there it belongs to one thread.
//!
//! Faster here than there: a read looks at the value in place, under the lock, and copies nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::peer::{Peer, Room};

/// The new value of each key; none where the key is deleted.
type Mutations = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A `Mutex<BTreeMap>` of mutations.
pub struct ClientBufferPeer(Mutex<Mutations>);

impl ClientBufferPeer {
    fn lock(&self) -> MutexGuard<'_, Mutations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit_from(
        &self,
        from: Bound<&[u8]>,
        limit: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> usize {
        let map = self.lock();
        let mut seen = 0;
        for (key, entry) in map.range::<[u8], _>((from, Bound::Unbounded)).take(limit) {
            if let Some(value) = entry {
                visit(key, value);
                seen += 1;
            }
        }
        seen
    }
}

impl Peer for ClientBufferPeer {
    fn new(_: Room) -> Self {
        Self(Mutex::default())
    }

    #[inline]
    fn insert(&self, key: &[u8], value: &[u8]) {
        let (key, value) = (key.to_vec(), Some(value.to_vec()));
        let old = self.lock().insert(key, value);
        drop(old);
    }

    fn write_many(&self, writes: &[(&[u8], &[u8])]) {
        let mut map = self.lock();
        for (key, value) in writes {
            map.insert(key.to_vec(), Some(value.to_vec()));
        }
    }

    #[inline(always)]
    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.lock()
            .get(key)
            .and_then(Option::as_ref)
            .map(|value| read(value))
    }

    fn scan(&self, from: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.visit_from(Bound::Included(from), limit, visit)
    }

    fn scan_all(&self, visit: impl FnMut(&[u8], &[u8])) -> usize {
        self.visit_from(Bound::Unbounded, usize::MAX, visit)
    }
}
