//! RocksDB's `TransactionDB`: pessimistic transactions with deadlock detection, the log switched off, and all of it
//! in the memtable.
//!
//! It has no call that locks many keys, so they are locked one by one.

use rocksdb::{
    Options, Transaction, TransactionDB, TransactionDBOptions, TransactionOptions, WriteOptions,
};
use tempfile::TempDir;

use crate::peers::WRITE_BUFFER;
use crate::txn::engine::{Engine, EngineTxn, Refusal};

/// Longest wait for a lock, in milliseconds.
const WAIT_MS: i64 = 50_000;

/// A database in a directory that goes with it.
pub struct RocksEngine {
    db: TransactionDB,
    // Behind `db`, which is closed first.
    _home: TempDir,
}

impl From<rocksdb::Error> for Refusal {
    fn from(error: rocksdb::Error) -> Self {
        let said = error.into_string();
        if said.contains("Deadlock") {
            Refusal::Deadlock
        } else {
            Refusal::Other(said)
        }
    }
}

impl Engine for RocksEngine {
    const NAME: &'static str = "rocksdb";
    type Txn<'e> = Transaction<'e, TransactionDB>;

    fn open() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(WRITE_BUFFER);
        let db = TransactionDB::open(&options, &TransactionDBOptions::default(), home.path())
            .expect("a database can be made in an empty directory");
        Self { db, _home: home }
    }

    fn begin(&self) -> Self::Txn<'_> {
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        let mut options = TransactionOptions::default();
        options.set_deadlock_detect(true);
        options.set_lock_timeout(WAIT_MS);
        self.db.transaction_opt(&writing, &options)
    }

    fn waiting(&self) -> Option<usize> {
        None
    }
}

impl EngineTxn for Transaction<'_, TransactionDB> {
    fn lock(&self, key: &[u8]) -> Result<(), Refusal> {
        self.get_pinned_for_update(key, true)?;
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        Ok(Transaction::put(self, key, value)?)
    }

    fn commit(self) -> Result<(), Refusal> {
        Ok(Transaction::commit(self)?)
    }

    fn rollback(self) -> Result<(), Refusal> {
        Ok(Transaction::rollback(&self)?)
    }
}
