//! What a statement sees that must not see its own writes.

use super::range::Own;
use super::{BlockingRange, Core, Range, Transaction, all_owned, block_on};
use crate::buffer::{BufferSnapshot, MemBuffer};
use crate::error::Error;
use crate::store::owned_bounds;
use bytes::Bytes;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

/// The transaction's data as it was when the outermost open stage began, or when the view was made if none was open;
/// made by [`Transaction::statement_view`]; or as it was when it was made, by [`Transaction::statement_view_now`]. It stays the same whatever is written, rolled back or released meanwhile.
/// A clone is the same view.
#[derive(Clone)]
pub struct StatementView {
    pub(super) txn: Transaction,
    pub(super) own: BufferSnapshot,
}

impl Transaction {
    /// A view of own writes over the store at the start timestamp that does not change: for statements such as
    /// `INSERT .. SELECT`, which must not see what they write. O(1).
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("a", "1")?;
    /// let view = txn.statement_view()?;
    /// for row in view.blocking().range::<&str>(..) {
    ///     let (key, value) = row?;
    ///     txn.put([&b"copy of "[..], &key].concat(), value)?;
    /// }
    /// assert_eq!(view.blocking().range::<&str>(..).count(), 1);
    /// assert_eq!(txn.blocking().range::<&str>(..).count(), 2);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// Of what open stages hold it shows nothing: where a stage of one's own is around the statement's, as for an SQL `SAVEPOINT`, use
    /// [`statement_view_now`](Self::statement_view_now) before the statement writes.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn statement_view(&self) -> Result<StatementView, Error> {
        self.view_over(MemBuffer::snapshot)
    }

    /// As [`statement_view`](Self::statement_view), but as of now: what open stages hold is in it.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// let savepoint = txn.stage()?;
    /// txn.put("a", "1")?;
    /// let statement = txn.stage()?;
    /// let view = txn.statement_view_now()?;
    /// txn.put("a", "2")?;
    /// assert_eq!(view.blocking().get("a")?.as_deref(), Some(&b"1"[..]));
    /// assert_eq!(txn.statement_view()?.blocking().get("a")?, None);
    /// statement.release()?;
    /// savepoint.release()?;
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn statement_view_now(&self) -> Result<StatementView, Error> {
        self.view_over(MemBuffer::snapshot_now)
    }

    fn view_over(
        &self,
        snapshot: impl Fn(&MemBuffer) -> BufferSnapshot,
    ) -> Result<StatementView, Error> {
        self.core.life.check_open()?;
        Ok(StatementView {
            txn: self.clone(),
            own: snapshot(&self.core.buffer),
        })
    }
}

impl StatementView {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let core: &Arc<Core> = &self.txn.core;
        core.life.check_open()?;
        match self.own.get(&key) {
            Some(own) => Ok(own.into_value()),
            None => {
                let read = core.reads.get(core.store(), key.as_ref()).await;
                read.map_err(|error| core.as_of_now(error))
            }
        }
    }

    /// The values of keys, in the order given, all as of the view. The store is asked once, for those that were not written
    /// here and are not [kept](Transaction::read_cache).
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("a", "1")?;
    /// let view = txn.statement_view()?;
    /// txn.put("a", "2")?;
    /// txn.put("b", "2")?;
    /// let values = view.blocking().batch_get(["b", "a"])?;
    /// assert_eq!(values, [None, Some("1".into())]);
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
        let core: &Arc<Core> = &self.txn.core;
        core.life.check_open()?;
        core.batch_get(all_owned(keys), |key| self.own.get(key))
            .await
    }

    /// The keys within `bounds` with their values.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range::at_start(
            &self.txn,
            Own::Fixed(self.own.clone()),
            owned_bounds(bounds),
        )
    }

    /// The same methods, parking the thread instead of giving futures.
    pub fn blocking(&self) -> BlockingStatementView<'_> {
        BlockingStatementView { view: self }
    }
}

/// The methods of a [`StatementView`] that may wait, parking the thread; made by [`StatementView::blocking`].
#[derive(Debug, Clone, Copy)]
pub struct BlockingStatementView<'a> {
    view: &'a StatementView,
}

impl BlockingStatementView<'_> {
    /// As [`StatementView::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.view.get(key))
    }

    /// As [`StatementView::batch_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        block_on(self.view.batch_get(keys))
    }

    /// As [`StatementView::range`], as an iterator.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> BlockingRange {
        BlockingRange::new(self.view.range(bounds))
    }
}

impl fmt::Debug for StatementView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementView")
            .field("start_ts", &self.txn.core.start_ts)
            .finish_non_exhaustive()
    }
}
