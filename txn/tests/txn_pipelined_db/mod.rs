//! A database for tests of pipelined transactions, and what is to be left of them.
#![allow(dead_code)] // each test file uses a part

use std::sync::Arc;
use untorn_txn::{
    BeginOptions, Db, Error, MemStore, OnDrop, PipelinedOptions, PipelinedTransaction, TxnState,
};

pub fn opened() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    (store, db)
}

/// A flush is due at so many keys.
pub fn flushes_at(keys: usize) -> PipelinedOptions {
    PipelinedOptions {
        min_keys: keys,
        min_bytes: 1,
        on_drop: OnDrop::Silent,
        ..PipelinedOptions::default()
    }
}

pub fn begin(db: &Db, keys: usize) -> PipelinedTransaction {
    db.blocking().begin_pipelined(flushes_at(keys)).unwrap()
}

/// Puts down what was written so far.
pub fn flush(txn: &PipelinedTransaction) {
    txn.blocking().flush().unwrap();
    txn.blocking().flush_wait().unwrap();
}

pub fn apply(db: &Db, pairs: &[(&str, &str)]) {
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for (key, value) in pairs {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

pub fn newest(db: &Db) -> Vec<(String, String)> {
    let all = db.blocking().snapshot().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = all.blocking().range::<&str>(..).map(Result::unwrap);
    pairs
        .map(|(key, value)| (text(&key), text(&value)))
        .collect()
}

pub fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// No lock, no open transaction, nothing to collect: as if it had never been.
#[track_caller]
pub fn nothing_is_left(store: &MemStore) {
    store.collect();
    assert!(store.locks().is_empty());
    let stats = store.stats();
    assert_eq!((stats.open, stats.old_versions), (0, 0));
}

#[track_caller]
pub fn closed_as<T: std::fmt::Debug>(result: Result<T, Error>, state: TxnState) {
    let is_closed =
        matches!(&result, Err(Error::TransactionClosed { state: seen }) if *seen == state);
    assert!(is_closed, "{state}: {result:?}");
}
