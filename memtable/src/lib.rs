//! A sharded, lock-free, epoch-reclaimed concurrent skiplist memtable.
#![allow(missing_docs, unused_variables, clippy::missing_safety_doc)]
mod mutant;
mod reclaim;
mod sync;
#[cfg(untorn_loom)]
#[doc(hidden)]
#[path = "model.rs"]
pub mod __model;

use bytes::Bytes;
use std::ops::{Deref, RangeBounds};

/// Longest key, in bytes.
pub const MAX_KEY_LEN: usize = 1 << 18;
/// Longest value, in bytes.
pub const MAX_VALUE_LEN: usize = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge { size: usize, limit: usize },
    #[error("value of {size} bytes is over the limit of {limit}")]
    ValueTooLarge { size: usize, limit: usize },
    #[error("the stage is not the innermost open one")]
    StageOrder,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Value,
    Tombstone,
    /// The key has a tag and no content of its own.
    TagOnly,
}

/// One live key, borrowed from a pinned table.
#[derive(Debug, Clone, Copy)]
pub struct Item<'g> {
    pub key: &'g [u8],
    pub kind: Kind,
    /// Empty unless `kind` is `Value`.
    pub value: &'g [u8],
    pub tag: u32,
}

/// One live key, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Bytes,
    pub kind: Kind,
    pub value: Bytes,
    pub tag: u32,
}

/// Number of live keys (values, tombstones, tag-only) and the sum of their key and value lengths, at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub len: usize,
    pub size: usize,
}

/// What an update closure decides.
#[derive(Debug, Clone)]
pub enum Update<'v> {
    /// Leave the key as it is: nothing is written.
    Keep,
    Put { value: std::borrow::Cow<'v, [u8]>, tag: u32 },
    Tombstone { tag: u32 },
    /// Keep the content (value, tombstone, none) and set the tag; makes a tag-only key where there was none.
    Tag(u32),
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// False if the closure answered `Keep`.
    pub changed: bool,
    /// A stage was open at the instant of the write.
    pub staged: bool,
}

/// An open stage. Not `Clone`; give it back to `release_stage` or `cleanup_stage`.
#[derive(Debug)]
pub struct StageId(#[allow(dead_code)] u64);

/// What a stage left behind when it was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// It was the outermost open stage.
    pub outermost: bool,
}

#[derive(Debug, Default)]
pub struct Memtable {}

impl Memtable {
    /// Owns no heap until the first write.
    pub const fn new() -> Self { Memtable {} }
    /// The bits of the tag that belong to the key, not to a write: they survive every rollback.
    pub const fn with_persistent_tag(mask: u32) -> Self { Memtable {} }
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written, Error> { todo!() }
    /// Writes a tombstone, on an absent key too.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Written, Error> { todo!() }
    /// Takes the key out physically; of racing removers one gets what it held.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Option<Entry> { todo!() }
    /// Atomic read-modify-write of one key; `f` may be called again after a lost race. `f` gets `None` if absent.
    pub fn update<'v>(&self, key: impl AsRef<[u8]>, f: impl FnMut(Option<Item<'_>>) -> Update<'v>) -> Result<Written, Error> { todo!() }
    /// The value; `None` for absent, tombstone, tag-only.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> { todo!() }
    /// The live key with its kind and tag.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Entry> { todo!() }
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool { todo!() }
    pub fn len(&self) -> usize { todo!() }
    pub fn is_empty(&self) -> bool { todo!() }
    pub fn size(&self) -> usize { todo!() }
    pub fn stats(&self) -> Stats { todo!() }
    /// Borrowed, zero-copy reads.
    pub fn pin(&self) -> Pinned<'_> { todo!() }
    /// O(1); consistent over all keys.
    pub fn snapshot(&self) -> Snapshot<&Memtable> { Snapshot::new(self) }
    /// Opens a stage inside the innermost open one.
    pub fn open_stage(&self) -> StageId { todo!() }
    /// The writes of the innermost stage now belong to the one outside. `Err` gives the handle back.
    pub fn release_stage(&self, stage: StageId) -> Result<Released, StageId> { todo!() }
    /// The writes of the innermost stage vanish at one instant. O(1).
    pub fn cleanup_stage(&self, stage: StageId) -> Result<(), StageId> { todo!() }
}

/// A table under an epoch guard.
pub struct Pinned<'t> { table: &'t Memtable }
impl<'t> Pinned<'t> {
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> { todo!() }
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Item<'_>> { todo!() }
    /// Values only, newest at the moment of each step; double-ended.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range<'_> { todo!() }
    /// Every live key: tombstones and tag-only too.
    pub fn range_all<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> RangeAll<'_> { todo!() }
}
pub struct Range<'g>(std::marker::PhantomData<&'g ()>);
impl<'g> Iterator for Range<'g> { type Item = (&'g [u8], &'g [u8]); fn next(&mut self) -> Option<Self::Item> { todo!() } }
impl DoubleEndedIterator for Range<'_> { fn next_back(&mut self) -> Option<Self::Item> { todo!() } }
pub struct RangeAll<'g>(std::marker::PhantomData<&'g ()>);
impl<'g> Iterator for RangeAll<'g> { type Item = Item<'g>; fn next(&mut self) -> Option<Self::Item> { todo!() } }
impl DoubleEndedIterator for RangeAll<'_> { fn next_back(&mut self) -> Option<Self::Item> { todo!() } }

/// The table as it was at one instant. `T` is `&Memtable` or `Arc<Memtable>`. Pins nothing between calls.
pub struct Snapshot<T: Deref<Target = Memtable>> { table: T }
impl<T: Deref<Target = Memtable>> Snapshot<T> {
    pub fn new(table: T) -> Self { todo!() }
    /// As it was when the outermost open stage began; now, if none is open.
    pub fn before_stages(table: T) -> Self { todo!() }
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> { todo!() }
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Entry> { todo!() }
    /// Every live key at the snapshot, ascending or from the back; owned items; pins nothing between steps.
    pub fn into_range<K: AsRef<[u8]>>(self, bounds: impl RangeBounds<K>) -> SnapshotRange<T> { todo!() }
    /// The same, borrowing the snapshot.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SnapshotRange<&Memtable> { todo!() }
}
/// `Send` and `'static` if `T` is.
pub struct SnapshotRange<T: Deref<Target = Memtable>> { table: T }
impl<T: Deref<Target = Memtable>> Iterator for SnapshotRange<T> { type Item = Entry; fn next(&mut self) -> Option<Entry> { todo!() } }
impl<T: Deref<Target = Memtable>> DoubleEndedIterator for SnapshotRange<T> { fn next_back(&mut self) -> Option<Entry> { todo!() } }
