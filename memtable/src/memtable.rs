//! The public table.

use crate::account::Stats;
use crate::batch::WriteBatch;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::frozen::{FreezeError, Frozen};
use crate::item::{Entry, Item, Update, Written};
use crate::pinned::Pinned;
use crate::reclaim;
use crate::savepoint::Savepoint;
use crate::snapshot::Snapshot;
use crate::stage::{self, Released, StageId};
use crate::sync::{self, const_fn};
use crate::table::{Table, new_table};
use crate::teardown::Teardown;
use crate::write::Change;
use bytes::Bytes;
use std::borrow::Cow;

/// An ordered map from byte strings to versioned byte strings, for any number of threads: every method takes `&self`.
///
/// See the [crate's guide](crate) for usage, consistency and cost.
pub struct Memtable {
    table: Table,
}

impl Memtable {
    const_fn! {
        /// An empty table. It owns no heap until the first write.
        pub const fn new() -> Memtable {
            Memtable::with_persistent_tag(0)
        }
    }

    const_fn! {
        /// An empty table in whose tags the bits of `mask` belong to the key and not to a write: they survive every rollback,
        /// and a key that has one is live even if all its writes were taken back. Keys of such a table are not removed.
        pub const fn with_persistent_tag(mask: u32) -> Memtable {
            Memtable {
                table: new_table(mask),
            }
        }
    }

    /// The same with leaves of so many entries (at least 2), for tests that want splits early.
    #[doc(hidden)]
    pub fn with_leaf_capacity(mut self, capacity: usize) -> Memtable {
        self.table.set_capacity(capacity);
        self
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Drops the table in steps or in the background, for where a pause would hurt; see [`Teardown`].
    pub fn teardown(self) -> Teardown {
        Teardown::new(self)
    }

    /// For models: whether some key's newest version is not stamped yet.
    #[cfg(untorn_loom)]
    #[doc(hidden)]
    pub fn __any_pending(&self) -> bool {
        use crate::{entry::Head, walk::Walk};
        let guard = reclaim::pin();
        let all = std::ops::Bound::Unbounded;
        let mut walk = Walk::new(&self.table, all.clone(), all, &guard);
        std::iter::from_fn(|| walk.next()).any(|entry| match entry.head() {
            Head::Live(head) => !head.stamp().is_decided(),
            Head::Dead => false,
        })
    }

    /// Sets the key's value; its tag stays.
    ///
    /// Linearizable, lock-free. O(log n); of a new key one copy of its leaf's run, of one that is there one allocation.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; nothing is changed then.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Written, Error> {
        let value = value.as_ref();
        self.update(key, |item| Update::Put {
            value: Cow::Borrowed(value),
            tag: item.map_or(0, |item| item.tag),
        })
    }

    /// Writes a tombstone, on an absent key too: the key stays live and hides what lies in the tables below. Its tag stays.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; nothing is changed then.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Written, Error> {
        self.update(key, |item| Update::Tombstone {
            tag: item.map_or(0, |item| item.tag),
        })
    }

    /// Takes the key out physically and answers what it held; of several removers exactly one gets it.
    ///
    /// Snapshots that show the key go on doing so. The space comes back when no snapshot and no open stage needs it.
    ///
    /// # Errors
    /// [`Error::PersistentTag`] in a table with persistent bits, [`Error::KeyTooLarge`], [`Error::Frozen`]; nothing is changed then.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        self.table.remove(key.as_ref(), |_| true)
    }

    /// As [`remove`](Memtable::remove), if the key still holds what `goes` says may go: for who decided by an earlier look at it.
    ///
    /// Linearizable. `goes` may be called again after a lost race, so it should do nothing but look.
    ///
    /// ```
    /// # use untorn_memtable::{Memtable, Update};
    /// let table = Memtable::new();
    /// let expire_at = |tag| table.update("session", |_| Update::Put { value: b"v".into(), tag });
    /// expire_at(10)?;
    /// expire_at(20)?; // somebody refreshed it
    /// assert_eq!(table.remove_if("session", |item| item.tag <= 15)?, None);
    /// assert!(table.contains("session"));
    /// assert!(table.remove_if("session", |item| item.tag <= 25)?.is_some());
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`remove`](Memtable::remove).
    pub fn remove_if(
        &self,
        key: impl AsRef<[u8]>,
        goes: impl FnMut(Item<'_>) -> bool,
    ) -> Result<Option<Entry>, Error> {
        self.table.remove(key.as_ref(), goes)
    }

    /// Atomic read-modify-write of one key: `change` sees what it holds (`None`: absent) and says what becomes of it.
    ///
    /// Linearizable. `change` may be called again after a lost race, so it should do nothing but compute. Costs as much as an insert of
    /// the value, also where it is kept and the tag alone changes: it is copied then.
    ///
    /// ```
    /// use untorn_memtable::{Memtable, Update};
    /// let table = Memtable::new();
    /// table.update("hits", |item| Update::Tag(item.map_or(0, |item| item.tag) + 1))?;
    /// assert_eq!(table.entry("hits").map(|entry| entry.tag), Some(1));
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::OutOfMemory`], [`Error::Frozen`]; nothing is changed then.
    pub fn update<'v>(
        &self,
        key: impl AsRef<[u8]>,
        mut change: impl FnMut(Option<Item<'_>>) -> Update<'v>,
    ) -> Result<Written, Error> {
        self.table
            .write(key.as_ref(), |item| Change::Update(change(item)))
    }

    /// Applies all writes of a batch at one instant: every reader, snapshot and count sees all of them or none.
    ///
    /// Linearizable, lock-free: who would write to a key of a batch that is on its way completes that first, so a write may take as long
    /// as the batches that it meets. Readers never wait and never help; they see what was before. Beside an insert for each
    /// key it costs a sort of the keys, unless they are sorted already, and two allocations for all, three if they were not sorted; keys that follow each other save the
    /// descent, and what a write does for itself alone (to pin, to be counted) is done once. A batch of one write is that write. In an open
    /// stage the batch belongs to that stage as a whole.
    ///
    /// A batch of a million writes can delay a single one by all of it; where that matters make it a table of its own, as
    /// [`MemtableSet::apply`](crate::MemtableSet::apply) does.
    ///
    /// # Errors
    /// [`Error::KeyTooLarge`], [`Error::ValueTooLarge`], [`Error::Frozen`], and [`Error::OutOfMemory`] for a batch of one write; nothing is
    /// changed then. A batch of several is not given up half way: if the allocator fails under it, the process is aborted.
    pub fn apply(&self, batch: &WriteBatch) -> Result<Written, Error> {
        self.table.apply(batch, None)
    }

    /// A copy of the value that the key holds; `None` if it is absent, deleted or has a tag alone. Linearizable.
    ///
    /// [`Pinned::get`] lends it without a copy.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Bytes> {
        let guard = reclaim::pin();
        self.table
            .value(key.as_ref(), &guard)
            .map(Bytes::copy_from_slice)
    }

    /// Copies of the values that the keys hold, in the order of the keys; see [`Pinned::get_many`].
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Bytes>> {
        let guard = reclaim::pin();
        let values = self.table.values(keys, &guard);
        values
            .map(|value| value.map(Bytes::copy_from_slice))
            .collect()
    }

    /// A copy of the live key with its kind and tag; `None` if it is absent. Linearizable.
    pub fn entry(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        let guard = reclaim::pin();
        self.table
            .read(key.as_ref(), &guard)
            .map(|item| item.to_entry())
    }

    /// Whether the key holds a value. Linearizable.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.table.value(key.as_ref(), &reclaim::pin()).is_some()
    }

    /// Number of live keys: those with a value, a tombstone or a tag alone. Linearizable; see [`Memtable::stats`].
    pub fn len(&self) -> usize {
        self.stats().len
    }

    /// Whether no key is live. Linearizable.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sum over the live keys of key length and current value length, in bytes. Linearizable; see [`Memtable::stats`].
    pub fn size(&self) -> usize {
        self.stats().size
    }

    /// [`len`](Memtable::len) and [`size`](Memtable::size) at one instant between call and return: the table held exactly that.
    ///
    /// Never waits for a writer. At rest a few loads for each stripe of the counters; under writes it ends a segment of the
    /// clock, one compare-and-swap. While a snapshot shows a stage that was taken back since, a step more for each stage and savepoint
    /// that is open or live and was written in.
    pub fn stats(&self) -> Stats {
        self.table.stats(&reclaim::pin())
    }

    /// A handle for reads without copying, bound to this thread.
    #[inline]
    pub fn pin(&self) -> Pinned<'_> {
        Pinned::new(self)
    }

    /// A cursor over the table as it is at each step; see [`Cursor`].
    pub fn cursor(&self) -> Cursor<&Memtable> {
        Cursor::new(self)
    }

    /// The table as it is now, constant from then on. O(1); see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot<&Memtable> {
        Snapshot::new(self)
    }

    /// An instant to which the table can return; see [`Savepoint`].
    pub fn savepoint(&self) -> Savepoint<&Memtable> {
        Savepoint::new(self)
    }

    /// Ends the table's writes; see [`Frozen`].
    ///
    /// # Errors
    /// [`FreezeError::StageOpen`]; nothing is changed then.
    pub fn freeze(&self) -> Result<Frozen<&Memtable>, FreezeError> {
        Frozen::new(self)
    }

    /// Whether the table takes no write any more.
    pub fn is_frozen(&self) -> bool {
        let frozen = self.table.clock.now(&reclaim::pin()).frozen;
        // For what is read afterwards (F2).
        sync::atomic::fence(sync::atomic::Ordering::SeqCst);
        frozen
    }

    /// Opens a stage inside the innermost open one: what anybody writes from now on belongs to it, until it is closed.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.insert("k", "before")?;
    /// let stage = table.open_stage();
    /// table.insert("k", "staged")?;
    /// table.insert("new", "staged")?;
    /// table.cleanup_stage(stage).expect("it is the innermost one");
    /// assert_eq!(table.get("k").as_deref(), Some(&b"before"[..]));
    /// assert_eq!(table.len(), 1);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    ///
    /// One compare-and-swap. Nesting has no limit.
    pub fn open_stage(&self) -> StageId {
        let guard = reclaim::pin();
        self.table.pay_for_holes(&guard);
        stage::open(&self.table.clock, &guard)
    }

    /// Closes the innermost stage; its writes now belong to the one outside. At one instant, in O(1) in what was written: a
    /// compare-and-swap, and a step for each savepoint that was made inside.
    ///
    /// # Errors
    /// The handle, if it is not the innermost open stage; nothing is changed then.
    pub fn release_stage(&self, stage: StageId) -> Result<Released, StageId> {
        let guard = reclaim::pin();
        self.table.pay_debts(&guard);
        stage::release(stage, &self.table.clock, &self.table.debts, &guard)
    }

    /// Closes the innermost stage; its writes vanish for every reader at one instant, in O(1) in what was written: a
    /// compare-and-swap, and a step for each savepoint that was made inside. The space comes back with
    /// later writes and releases, each of which clears away two of them, or with [`compact`](Memtable::compact). Until then a reader
    /// of a key passes what was taken back of it: one version for each stage and savepoint inside in which it was written.
    ///
    /// # Errors
    /// The handle, if it is not the innermost open stage; nothing is changed then.
    pub fn cleanup_stage(&self, stage: StageId) -> Result<(), StageId> {
        let guard = reclaim::pin();
        self.table.pay_for_holes(&guard);
        stage::clean_up(stage, &self.table.clock, &self.table.debts, &guard)
    }
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable::new()
    }
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
