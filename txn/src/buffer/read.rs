//! Reads: lock-free, and they write nothing that others read.

use super::tag::Tag;
use super::{Entry, Inner, MemBuffer, Stats};
use crate::flags::KeyFlags;
use crate::sync::Ordering;
use bytes::Bytes;
use std::collections::BTreeMap;

impl MemBuffer {
    /// What the key holds; `None` if it is absent or has flags only. Linearizable.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        let table = self.made()?.table.load();
        let pinned = table.pin();
        let item = pinned.entry(key)?;
        Entry::of(item.kind, Bytes::copy_from_slice(item.value))
    }

    /// The flags of a live key, possibly empty; `None` if it is absent. Linearizable: persistent
    /// and other flags are read as one.
    pub fn get_flags(&self, key: impl AsRef<[u8]>) -> Option<KeyFlags> {
        let table = self.made()?.table.load();
        let pinned = table.pin();
        pinned.entry(key).map(|item| Tag(item.tag).flags())
    }

    /// Whether the key is presumed absent and that was not checked yet. Linearizable; one load as long as nothing was
    /// ever presumed.
    pub(crate) fn is_to_check(&self, key: impl AsRef<[u8]>) -> bool {
        let presumes = |inner: &Inner| inner.presumes.load(Ordering::SeqCst);
        self.made().is_some_and(presumes)
            && self.get_flags(key).is_some_and(|flags| {
                flags.presumes_not_exists() && flags.contains(KeyFlags::NEED_CHECK_EXISTS)
            })
    }

    /// The found ones among `keys`, tombstones included. Each key is read as by
    /// [`get`](Self::get), one after another, not all at one instant.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BTreeMap<Bytes, Entry> {
        keys.into_iter()
            .filter_map(|key| {
                let entry = self.made()?.table.load().entry(key)?;
                Some((entry.key, Entry::of(entry.kind, entry.value)?))
            })
            .collect()
    }

    /// Number of live keys: values, tombstones and flags-only. Linearizable; costs as much as
    /// [`stats`](Self::stats).
    pub fn len(&self) -> usize {
        self.stats().len
    }

    /// Whether no key is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sum of key length and current value length over the live keys, in bytes. Linearizable; costs
    /// as much as [`stats`](Self::stats).
    pub fn size(&self) -> usize {
        self.stats().size
    }

    /// Number and size at one instant. Linearizable, and never waits for a writer. At rest a few
    /// loads for each stripe of the table's counters.
    pub fn stats(&self) -> Stats {
        let made = self.made();
        made.map_or_else(Stats::default, |inner| inner.table.load().stats())
    }
}
