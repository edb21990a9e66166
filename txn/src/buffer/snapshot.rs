//! Views of the buffer that do not change.

use super::{Entry, MemBuffer};
use bytes::Bytes;
use std::ops::RangeBounds;
use std::sync::Arc;
use untorn_memtable::{Memtable, Snapshot};

/// The buffer as it was at one instant; answers the same for as long as it lives, whatever happens
/// to the buffer, `reset` included.
#[derive(Clone)]
pub struct BufferSnapshot {
    _view: Arc<Snapshot<Arc<Memtable>>>,
}

/// Values and tombstones of a snapshot in key order; made by [`BufferSnapshot::range`].
pub struct SnapshotRange {
    _view: BufferSnapshot,
}

impl MemBuffer {
    /// The buffer as it was when the outermost open stage began, or now if none is open: the view
    /// for a statement that must not see its own writes.
    pub fn snapshot(&self) -> BufferSnapshot {
        todo!()
    }

    /// The buffer as it is now, staged writes included.
    pub fn snapshot_now(&self) -> BufferSnapshot {
        todo!()
    }
}

impl BufferSnapshot {
    /// What the key held.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        let _ = key;
        todo!()
    }

    /// Values and tombstones within `bounds`, in order, from either end.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SnapshotRange {
        let _ = bounds;
        todo!()
    }
}

impl Iterator for SnapshotRange {
    type Item = (Bytes, Entry);
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

impl DoubleEndedIterator for SnapshotRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
