//! The second transaction: holds rows that the union wants, later wants one that the union holds.

use super::table::Row;
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, Transaction};

/// Every how many rows the competitor holds one.
const EVERY: usize = 97;

/// The positions of its rows: a few, at least one.
pub fn rows_of(rows: usize) -> impl Iterator<Item = usize> {
    (rows.min(EVERY) / 2..rows).step_by(EVERY).take(32)
}

/// Locks its rows and changes them, all before the union begins to lock.
pub fn begin(db: &Db, table: &[Row], mark: &str) -> Result<Transaction, Error> {
    let txn = db.blocking().begin(BeginOptions::default())?;
    for at in rows_of(table.len()) {
        let (key, value) = &table[at];
        txn.blocking().get_for_update(key)?;
        txn.put(key, changed(value, mark))?;
    }
    Ok(txn)
}

/// The value of a row that the competitor has changed.
pub fn changed(value: &str, mark: &str) -> String {
    format!("{value}|{mark}")
}

/// Asks for a row that the union holds, without waiting: must be refused.
pub fn is_refused(db: &Db, row: &Row) -> Result<bool, Error> {
    let txn = db.blocking().begin(BeginOptions::default())?;
    let options = LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    };
    let answer = txn.blocking().lock_keys([&row.0], options);
    txn.blocking().rollback()?;
    match answer {
        Err(Error::LockNotAvailable { .. }) => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}
