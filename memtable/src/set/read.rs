//! Reads of single keys, each at an instant of its own (T3).

use super::MemtableSet;
use super::member::Member;
use crate::item::{Entry, Item};
use crate::mutant::planted;
use crate::reclaim;
use bytes::Bytes;

impl MemtableSet {
    /// A copy of the value that the key holds; `None` if no table has it or it is deleted. Linearizable.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        self.read(key.as_ref(), |item| {
            item.into_value().map(Bytes::copy_from_slice)
        })?
    }

    /// A copy of what the newest table that has the key holds, a tombstone too; `None` if none has it, so that the files
    /// decide. Linearizable.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        self.read(key.as_ref(), |item| item.to_entry())
    }

    /// Copies of the values that the keys hold, in the order of the keys, each read at an instant of its own; as [`MemtableSet::get`] for
    /// each, but with the cache misses of several keys at once: see [`Pinned::get_many`](crate::Pinned::get_many). A table is asked for
    /// those keys alone that no newer one has.
    ///
    /// ```
    /// use untorn_memtable::{Limits, MemtableSet};
    /// let set = MemtableSet::new(Limits::default());
    /// set.insert("a", "1")?;
    /// set.insert("b", "1")?;
    /// set.rotate();
    /// set.delete("a")?;
    /// let values = set.get_many(&["a", "b", "c"]);
    /// assert_eq!(values, [None, Some("1".into()), None]);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Bytes>> {
        let guard = reclaim::pin();
        let tables = self.shared.tables.load();
        let mut values = vec![None; keys.len()];
        let mut missing: Vec<usize> = (0..keys.len()).collect();
        for member in tables.iter() {
            if missing.is_empty() {
                break;
            }
            let asked: Vec<&[u8]> = missing.iter().map(|&at| keys[at].as_ref()).collect();
            let mut items = member.table().read_many(&asked, &guard);
            missing.retain(|&at| match items.next().flatten() {
                Some(item) => {
                    values[at] = item.into_value().map(Bytes::copy_from_slice);
                    false
                }
                None => true,
            });
        }
        values
    }

    /// Shows what the newest table that has the key holds (T3).
    fn read<R>(&self, key: &[u8], show: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let guard = reclaim::pin();
        let tables = self.shared.tables.load();
        let read = |member: &Member| member.table().read(key, &guard);
        let found = match planted("set-of-two-lists") {
            true => read(&self.shared.tables.load().active)
                .or_else(|| tables.frozen.iter().find_map(read)),
            false => tables.iter().find_map(read),
        };
        found.map(show)
    }
}
