//! Untorn's transactions on the embedded store.

use std::sync::Arc;

use untorn_txn::{BeginOptions, Db, Error, LockOptions, MemStore, Transaction};

use crate::txn::engine::{Engine, EngineTxn, Refusal};

/// A database in memory.
#[derive(Debug)]
pub struct UntornEngine {
    db: Db,
    store: Arc<MemStore>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Deadlock { .. } => Refusal::Deadlock,
            other => Refusal::Other(other.to_string()),
        }
    }
}

impl Engine for UntornEngine {
    const NAME: &'static str = "untorn";
    type Txn<'e> = Transaction;

    fn open() -> Self {
        let store = Arc::new(MemStore::new());
        Self {
            db: Db::new(store.clone()),
            store,
        }
    }

    fn begin(&self) -> Transaction {
        self.db
            .blocking()
            .begin(BeginOptions::default())
            .expect("the embedded store gives timestamps without end")
    }

    fn waiting(&self) -> Option<usize> {
        Some(self.store.locks().waiting().len())
    }
}

impl EngineTxn for Transaction {
    fn lock(&self, key: &[u8]) -> Result<(), Refusal> {
        self.blocking().lock_keys([key], LockOptions::default())?;
        Ok(())
    }

    fn lock_batch(&self, keys: &[&[u8]]) -> Result<(), Refusal> {
        self.blocking().lock_keys(keys, LockOptions::default())?;
        Ok(())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        Ok(Transaction::put(self, key, value)?)
    }

    fn commit(self) -> Result<(), Refusal> {
        self.blocking().commit()?;
        Ok(())
    }

    fn rollback(self) -> Result<(), Refusal> {
        Ok(self.blocking().rollback()?)
    }
}
