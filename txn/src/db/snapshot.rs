//! Reads at one timestamp, without a transaction.

use crate::error::Error;
use crate::store::{ReadCache, ReadCacheStats, Scan, Store, Timestamp, owned_bounds};
use crate::transaction::{BlockingRange, Rows, all_owned, block_on};
use bytes::Bytes;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

/// The database as it was at one timestamp; made by [`Db::snapshot`](crate::Db::snapshot). A clone is the same
/// snapshot. What it shows is kept for as long as it lives.
///
/// ```
/// use untorn_txn::{BeginOptions, Db};
///
/// let db = Db::in_memory();
/// let before = db.blocking().snapshot()?;
/// let txn = db.blocking().begin(BeginOptions::default())?;
/// txn.put("k", "v")?;
/// txn.blocking().commit()?;
/// assert_eq!(before.blocking().get("k")?, None);
/// assert_eq!(db.blocking().snapshot()?.blocking().get("k")?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), untorn_txn::Error>(())
/// ```
#[derive(Clone)]
pub struct DbSnapshot {
    view: Arc<View>,
}

struct View {
    store: Arc<dyn Store>,
    reads: ReadCache,
}

impl DbSnapshot {
    pub(super) async fn take(store: &Arc<dyn Store>, at: Option<Timestamp>) -> Result<Self, Error> {
        let at = store.hold(at).await?;
        Ok(Self {
            view: Arc::new(View {
                store: Arc::clone(store),
                reads: ReadCache::new(&**store, at),
            }),
        })
    }

    /// Its timestamp.
    pub fn timestamp(&self) -> Timestamp {
        self.view.reads.at()
    }

    /// What is kept of what [`get`](Self::get) and [`batch_get`](Self::batch_get) have read, as by
    /// [`Transaction::read_cache`](crate::Transaction::read_cache).
    pub fn read_cache(&self) -> ReadCacheStats {
        self.view.reads.stats()
    }

    /// The value of a key. What was read from a store that [wants that](Store::read_cache) is kept.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`], [`Error::Store`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let view = &*self.view;
        view.reads.get(&*view.store, key.as_ref()).await
    }

    /// The values of keys, in the order given. The store is asked once, for all that are not kept.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("a", "1")?;
    /// txn.put("b", "2")?;
    /// txn.blocking().commit()?;
    /// let snapshot = db.blocking().snapshot()?;
    /// let values = snapshot.blocking().batch_get(["b", "absent", "a"])?;
    /// assert_eq!(values, [Some("2".into()), None, Some("1".into())]);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let keys = all_owned(keys);
        let view = &*self.view;
        view.reads.batch_get(&*view.store, &keys).await
    }

    /// The keys within `bounds` with their values, in order, which come from the store in batches. Nothing is read before the
    /// first `next`. An empty or inverted range yields nothing.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// for key in ["a", "b", "c"] {
    ///     txn.put(key, "v")?;
    /// }
    /// txn.blocking().commit()?;
    /// let snapshot = db.blocking().snapshot()?;
    /// let mut last = snapshot.blocking().range("a".."c").rev();
    /// assert_eq!(last.next().transpose()?, Some(("b".into(), "v".into())));
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> SnapshotRange {
        SnapshotRange {
            view: Arc::clone(&self.view),
            stored: Scan::new(
                owned_bounds(bounds),
                self.timestamp(),
                self.view.store.first_batch(),
            ),
            has_failed: false,
        }
    }

    /// The same methods, parking the thread instead of giving futures.
    pub fn blocking(&self) -> BlockingSnapshot<'_> {
        BlockingSnapshot { snapshot: self }
    }
}

/// Keys and values in order; made by [`DbSnapshot::range`]. Holds the snapshot.
pub struct SnapshotRange {
    view: Arc<View>,
    stored: Scan,
    has_failed: bool,
}

impl SnapshotRange {
    /// From the back. To be chosen before the first step; later it has no effect.
    #[must_use]
    pub fn rev(self) -> Self {
        Self {
            stored: self.stored.rev(),
            ..self
        }
    }

    /// The next key and its value.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`], [`Error::Store`]; the range has ended then.
    #[allow(clippy::should_implement_trait)] // the asynchronous form of it
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        if self.has_failed {
            return Ok(None);
        }
        let filled = self.stored.fill(&*self.view.store).await;
        self.has_failed = filled.is_err();
        filled.map(|()| self.stored.take())
    }
}

impl Rows for SnapshotRange {
    fn rev(self) -> Self {
        SnapshotRange::rev(self)
    }

    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        SnapshotRange::next(self).await
    }
}

/// The methods of a [`DbSnapshot`] that may wait, parking the thread; made by [`DbSnapshot::blocking`].
#[derive(Debug, Clone, Copy)]
pub struct BlockingSnapshot<'a> {
    snapshot: &'a DbSnapshot,
}

impl BlockingSnapshot<'_> {
    /// As [`DbSnapshot::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.snapshot.get(key))
    }

    /// As [`DbSnapshot::batch_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        block_on(self.snapshot.batch_get(keys))
    }

    /// As [`DbSnapshot::range`], as an iterator.
    pub fn range<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
    ) -> BlockingRange<SnapshotRange> {
        BlockingRange::new(self.snapshot.range(bounds))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.store.let_go(self.reads.at());
    }
}

impl fmt::Debug for DbSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbSnapshot")
            .field("timestamp", &self.timestamp())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SnapshotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotRange")
            .field("timestamp", &self.view.reads.at())
            .field("reverse", &self.stored.is_reverse())
            .finish_non_exhaustive()
    }
}
