//! What a statement sees that must not see its own writes.

use super::range::{Own, owned_bounds};
use super::{Core, Range, Transaction};
use crate::buffer::BufferSnapshot;
use crate::error::Error;
use bytes::Bytes;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

/// The transaction's data as it was when the outermost open stage began, or when the view was made if none was open;
/// made by [`Transaction::statement_view`]. It stays the same whatever is written, rolled back or released meanwhile.
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
    /// for row in view.range_blocking::<&str>(..) {
    ///     let (key, value) = row?;
    ///     txn.put([&b"copy of "[..], &key].concat(), value)?;
    /// }
    /// assert_eq!(view.range_blocking::<&str>(..).count(), 1);
    /// assert_eq!(txn.blocking().range::<&str>(..).count(), 2);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn statement_view(&self) -> Result<StatementView, Error> {
        self.core.life.check_open()?;
        Ok(StatementView {
            txn: self.clone(),
            own: self.core.buffer.snapshot(),
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

    /// As [`get`](Self::get), parking the thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_blocking(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        super::block_on(self.get(key))
    }

    /// The keys within `bounds` with their values.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range::at_start(
            &self.txn,
            Own::Fixed(self.own.clone()),
            owned_bounds(bounds),
        )
    }

    /// As [`range`](Self::range), as an iterator that parks the thread.
    pub fn range_blocking<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
    ) -> super::BlockingRange {
        super::BlockingRange::new(self.range(bounds))
    }
}

impl fmt::Debug for StatementView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementView")
            .field("start_ts", &self.txn.core.start_ts)
            .finish_non_exhaustive()
    }
}
