//! Threads of a database (rule 59). A file of its own, because it counts those of the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};
use untorn_txn::{BeginOptions, Db, LockOptions};

fn threads_of_databases() -> usize {
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| name(task.unwrap()).ok());
    names.filter(|name| name.trim() == "untorn-db").count()
}

#[test]
fn a_database_starts_one_thread_at_its_first_need_and_ends_it_when_it_is_closed() {
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    txn.blocking().get("k").unwrap();
    drop(db.blocking().snapshot().unwrap());
    assert_eq!(threads_of_databases(), 0, "nothing has needed it");
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
    assert_eq!(threads_of_databases(), 1);
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(20));
    assert_eq!((closed.rolled_back, closed.is_idle), (51, true));
    assert_eq!(threads_of_databases(), 0);
}
