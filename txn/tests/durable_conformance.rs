//! A store that writes a log keeps every promise of a store, and opens again after each.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use untorn_txn::MemStore;
use untorn_txn::store::conformance::CASES;
use untorn_txn::store::mem::{LogOptions, SyncMode};

/// Several at once: most wait for something most of the time.
const THREADS: usize = 8;

fn keeps_every_promise(sync: SyncMode) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    println!("{}", case.name);
                    let directory = tempfile::tempdir().unwrap();
                    let options = LogOptions::default().sync(sync).checkpoint_after(4 << 10);
                    let store = MemStore::open(directory.path(), options.clone()).unwrap();
                    case.run(Arc::new(store));
                    MemStore::open(directory.path(), options).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_store_that_syncs_keeps_every_promise() {
    keeps_every_promise(SyncMode::Always);
}

#[test]
fn a_store_that_does_not_sync_keeps_every_promise_but_one() {
    keeps_every_promise(SyncMode::Never);
}
