//! The embedded store holds no more memory the longer it runs: overwrites, deletions, new keys, committed locks,
//! rollbacks and snapshots all pass (rule 52).
//!
//! `UNTORN_TRANSACTIONS` sets how many transactions there are between two measurements:
//!
//! ```sh
//! UNTORN_TRANSACTIONS=3000000 cargo test --release -p untorn-txn --test heap_store -- --nocapture
//! ```
#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use untorn_txn::{BeginOptions, Db, LockOptions, MemStore};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: u64 = 500;
/// How the last 65,536 transactions ended is remembered, in 16 bytes each, and that may not be full in the beginning.
const MEMORY_OF_ENDS: usize = 1 << 20;

/// A queue of 100 jobs, hot keys, locks without writes, every tenth one rolled back.
fn transaction(db: &Db, number: u64) {
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put(format!("hot/{}", number % KEYS), number.to_string())
        .unwrap();
    txn.put(format!("job/{number:012}"), "to be done").unwrap();
    txn.delete(format!("job/{:012}", number.saturating_sub(100)))
        .unwrap();
    txn.blocking()
        .lock_keys([format!("lock/{number}")], LockOptions::default())
        .unwrap();
    if number.is_multiple_of(10) {
        txn.blocking().rollback().unwrap();
    } else {
        txn.blocking().commit().unwrap();
    }
}

#[test]
fn a_store_that_runs_on_holds_no_more_memory() {
    let count: u64 = match std::env::var("UNTORN_TRANSACTIONS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 10_000,
    };
    let region = Region::new(ALLOCATOR);
    let held = || {
        let change = region.change();
        change.bytes_allocated - change.bytes_deallocated
    };
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    let mut number = 0;
    let mut run = |transactions: u64| {
        let mut view = db.blocking().snapshot().unwrap();
        for _ in 0..transactions {
            transaction(&db, number);
            number += 1;
            if number.is_multiple_of(1_000) {
                view = db.blocking().snapshot().unwrap();
            }
        }
        drop(view);
        store.collect();
        untorn_memtable::reclaim_garbage();
        held()
    };
    let full = run(5_000);
    for round in 1..=3 {
        let now = run(count);
        println!(
            "{round}: {now} bytes, {full} to begin with, {:?}",
            store.stats()
        );
        assert!(
            now < full + full / 4 + MEMORY_OF_ENDS,
            "{now} bytes, {full} before"
        );
    }
    let stats = store.stats();
    assert_eq!(
        (stats.old_versions, stats.touched, stats.uncollected),
        (0, 0, 0)
    );
    assert_eq!(stats.open, 0);
}
