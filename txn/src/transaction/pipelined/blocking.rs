//! The same methods for threads that park.

use super::PipelinedTransaction;
use crate::error::Error;
use crate::store::TxnStatus;
use crate::transaction::{CommitInfo, CommitOptions, block_on};
use bytes::Bytes;

/// The methods of a [`PipelinedTransaction`] that may wait, parking the thread; made by
/// [`PipelinedTransaction::blocking`].
#[derive(Debug, Clone, Copy)]
pub struct BlockingPipelinedTransaction<'a> {
    txn: &'a PipelinedTransaction,
}

impl<'a> BlockingPipelinedTransaction<'a> {
    pub(super) fn new(txn: &'a PipelinedTransaction) -> Self {
        Self { txn }
    }

    /// As [`PipelinedTransaction::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.txn.get(key))
    }

    /// As [`PipelinedTransaction::batch_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        block_on(self.txn.batch_get(keys))
    }

    /// As [`PipelinedTransaction::put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.txn.put(key, value))
    }

    /// As [`PipelinedTransaction::insert`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.txn.insert(key, value))
    }

    /// As [`PipelinedTransaction::delete`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        block_on(self.txn.delete(key))
    }

    /// As [`PipelinedTransaction::flush`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn flush(&self) -> Result<bool, Error> {
        block_on(self.txn.flush())
    }

    /// As [`PipelinedTransaction::flush_wait`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn flush_wait(&self) -> Result<(), Error> {
        block_on(self.txn.flush_wait())
    }

    /// As [`PipelinedTransaction::commit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn commit(&self) -> Result<CommitInfo, Error> {
        block_on(self.txn.commit())
    }

    /// As [`PipelinedTransaction::commit_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn commit_with(&self, options: CommitOptions) -> Result<CommitInfo, Error> {
        block_on(self.txn.commit_with(options))
    }

    /// As [`PipelinedTransaction::rollback`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn rollback(&self) -> Result<(), Error> {
        block_on(self.txn.rollback())
    }

    /// As [`PipelinedTransaction::outcome`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn outcome(&self) -> Result<TxnStatus, Error> {
        block_on(self.txn.outcome())
    }
}
