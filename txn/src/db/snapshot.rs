//! Reads at one timestamp, without a transaction.

use crate::error::Error;
use crate::store::{Pairs, ReadCache, ReadCacheStats, ScanRequest, Store, Timestamp};
use crate::transaction::block_on;
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
/// assert_eq!(before.get_blocking("k")?, None);
/// assert_eq!(db.blocking().snapshot()?.get_blocking("k")?.as_deref(), Some(&b"v"[..]));
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

    /// What is kept of what [`get`](Self::get) has read, as by [`Transaction::read_cache`](crate::Transaction::read_cache).
    pub fn read_cache(&self) -> ReadCacheStats {
        self.view.reads.stats()
    }

    /// The value of a key. What was read from a store that [wants that](Store::read_cache) is kept.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let view = &*self.view;
        view.reads.get(&*view.store, key.as_ref()).await
    }

    /// The first `limit` keys within `bounds` with their values, in order or from the back.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn scan<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, Error> {
        let owned = |key: &K| Bytes::copy_from_slice(key.as_ref());
        let request = ScanRequest {
            lower: bounds.start_bound().map(owned),
            upper: bounds.end_bound().map(owned),
            at: self.timestamp(),
            limit,
            reverse,
        };
        self.view.store.scan(&request).await
    }

    /// As [`get`](Self::get), parking the thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_blocking(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.get(key))
    }

    /// As [`scan`](Self::scan), parking the thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn scan_blocking<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, Error> {
        block_on(self.scan(bounds, limit, reverse))
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
