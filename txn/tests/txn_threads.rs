//! Threads of a database (rule 59). A file of its own, because it counts those of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};
use std::{fs, thread};
use untorn_txn::{BeginOptions, Db, LockOptions};

/// Told apart by number: a thread has its name only once it runs.
fn threads() -> BTreeSet<OsString> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.map(|task| task.unwrap().file_name()).collect()
}

#[test]
fn a_database_starts_one_thread_at_its_first_need_and_ends_it_when_it_is_closed() {
    let before = threads();
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    txn.blocking().get("k").unwrap();
    drop(db.blocking().snapshot().unwrap());
    assert_eq!(threads(), before, "nothing has needed one");
    let mut open = vec![txn];
    for n in 0..50 {
        // A lock needs signs of life.
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        let key = format!("lock/{n}");
        txn.blocking()
            .lock_keys([key], LockOptions::default())
            .unwrap();
        open.push(txn);
    }
    assert_eq!(threads().difference(&before).count(), 1);
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(20));
    assert_eq!((closed.rolled_back, closed.is_idle), (51, true));
    // The kernel lists a joined thread for a moment more.
    let patience = Instant::now() + Duration::from_secs(20);
    while threads() != before && Instant::now() < patience {
        thread::yield_now();
    }
    assert_eq!(threads(), before);
}
