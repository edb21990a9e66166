//! The lock calls that tests of siblings make.
#![allow(dead_code)] // each test file uses a part

use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, Transaction};

pub fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).unwrap()
}

pub fn waiting(wait: Wait) -> LockOptions {
    LockOptions {
        wait: Some(wait),
        ..LockOptions::default()
    }
}

/// Which of the keys the transaction had locked before; all are locked now.
pub fn lock(txn: &Transaction, keys: &[&str]) -> Result<Vec<bool>, Error> {
    let outcomes = txn.blocking().lock_keys(keys, LockOptions::default())?;
    assert!(outcomes.iter().all(|outcome| outcome.locked));
    Ok(outcomes.iter().map(|o| o.already_locked).collect())
}
