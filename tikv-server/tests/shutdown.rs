//! A store that is dropped leaves no thread and no transaction behind. In a process of its own, where all threads are known.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::{BeginOptions, Db};

const IN_TIME: Duration = Duration::from_secs(20);
const OF_THE_CLUSTER: usize = 2;

/// The threads whose names, as the system cuts them, begin so.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One that ends meanwhile has no name any more.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|task| task.starts_with(name)).count()
}

#[track_caller]
fn come_to(count: usize) {
    let until = Instant::now() + IN_TIME;
    while threads("untorn") != count {
        assert!(
            Instant::now() < until,
            "{} threads, not {count}",
            threads("untorn")
        );
        std::thread::yield_now();
    }
}

#[test]
fn all_threads_end_with_the_store_and_with_the_cluster() {
    let cluster = Cluster::start(2).unwrap();
    come_to(OF_THE_CLUSTER);
    for _ in 0..3 {
        let store = TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default());
        let db = Db::new(Arc::new(store.unwrap()));
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        txn.blocking().get_for_update("k").unwrap();
        txn.put("k", "v").unwrap();
        txn.blocking().commit().unwrap();
        let open = db.blocking().begin(BeginOptions::default()).unwrap();
        open.blocking().get_for_update("left open").unwrap();
        assert!(threads("untorn") > OF_THE_CLUSTER);
        assert_eq!(db.blocking().close(Instant::now() + IN_TIME).left.len(), 0);
        drop((txn, open, db));
        come_to(OF_THE_CLUSTER);
        assert_eq!(cluster.locks(), []);
    }
    drop(cluster);
    come_to(0);
}
