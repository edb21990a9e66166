//! Calls of one transaction beside each other: the real calls, register, life word and buffer, over a store that
//! answers at once. Two threads and about two operations each.

mod calls;
mod ends;
mod fair;
mod heartbeats;
mod store;
mod unlocks;

use std::sync::Arc;
use store::ModelStore;
use untorn_txn::buffer::Limits;
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, KeyFlags, LockOptions, OnDrop, Transaction};

/// A transaction that has locked these keys, before any thread starts.
fn begin(locked: &[&str]) -> (Arc<ModelStore>, Db, Transaction) {
    begin_within(Limits::default(), locked)
}

fn begin_within(limits: Limits, locked: &[&str]) -> (Arc<ModelStore>, Db, Transaction) {
    let store = Arc::new(ModelStore::default());
    let db = Db::new(store.clone());
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        limits,
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).unwrap();
    // The inside of the buffer is made now: that must not happen under way.
    drop(txn.buffer().clone());
    if !locked.is_empty() {
        lock(&txn, locked).unwrap();
    }
    (store, db, txn)
}

/// Locks keys, and waits for siblings alone.
fn lock(txn: &Transaction, keys: &[&str]) -> Result<(), Error> {
    lock_within(txn, keys, Wait::Forever)
}

fn lock_within(txn: &Transaction, keys: &[&str], wait: Wait) -> Result<(), Error> {
    let options = LockOptions {
        wait: Some(wait),
        ..LockOptions::default()
    };
    txn.blocking().lock_keys(keys, options).map(drop)
}

fn unlock(txn: &Transaction, keys: &[&str]) -> Result<usize, Error> {
    txn.blocking().unlock_keys(keys)
}

/// The keys that are flagged as locked.
fn flagged(txn: &Transaction) -> Vec<String> {
    let keys = txn.buffer().range_with_flags::<&str>(..);
    keys.filter(|(_, _, flags)| flags.contains(KeyFlags::LOCKED))
        .map(|(key, _, _)| String::from_utf8_lossy(&key).into_owned())
        .collect()
}
