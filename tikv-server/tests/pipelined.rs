//! Transactions that flush as they go on, on a cluster whose regions split and whose answers get lost.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use two_regions::{comes, no_locks_are_left};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{Begin, Flush, Mutation, MutationOp, Prewrite, Store};
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Entry, Error, LockOptions, OnDrop, PipelinedOptions,
    PipelinedTransaction, TxnState,
};

/// More than anything here should take.
const IN_TIME: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(50);

fn opened(stores: usize) -> (Cluster, Arc<TikvStore>, Db) {
    let cluster = Cluster::start(stores as _).unwrap();
    let store = connect(&cluster);
    let db = Db::new(store.clone());
    (cluster, store, db)
}

fn connect(cluster: &Cluster) -> Arc<TikvStore> {
    let options = TikvOptions::default();
    Arc::new(TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap())
}

fn begin(db: &Db, keys: usize) -> PipelinedTransaction {
    let options = PipelinedOptions {
        min_keys: keys,
        min_bytes: 1,
        on_drop: OnDrop::Silent,
        ..PipelinedOptions::default()
    };
    db.blocking().begin_pipelined(options).unwrap()
}

fn flush(txn: &PipelinedTransaction) {
    txn.blocking().flush().unwrap();
    txn.blocking().flush_wait().unwrap();
}

fn key(n: usize) -> String {
    format!("key/{n:04}")
}

/// The newest values of the first keys, as another client of the cluster sees them.
fn newest(cluster: &Cluster, keys: usize) -> Vec<Option<String>> {
    let view = Db::new(connect(cluster)).blocking().snapshot().unwrap();
    let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
    let read = |n| view.blocking().get(key(n)).unwrap().map(text);
    (0..keys).map(read).collect()
}

#[track_caller]
fn no_lock_is_left(cluster: &Cluster, store: &TikvStore) {
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
    assert_eq!(cluster.locks(), []);
}

#[test]
fn generations_reach_regions_that_split_and_change_their_leaders() {
    const KEYS: usize = 600;
    let (cluster, store, db) = opened(3);
    let txn = begin(&db, 50);
    let calls = txn.blocking();
    for n in 0..KEYS {
        if n % 90 == 0 {
            assert!(cluster.split(key((n * 7) % KEYS + 1)));
            cluster.transfer_leader(key(n));
        }
        calls.put(key((n * 7) % KEYS), "first").unwrap();
    }
    assert!(newest(&cluster, KEYS).iter().all(Option::is_none));
    for n in (0..KEYS).step_by(3) {
        assert_eq!(calls.get(key(n)).unwrap().as_deref(), Some(&b"first"[..]));
        calls.delete(key(n)).unwrap();
    }
    for n in (1..KEYS).step_by(3) {
        calls.put(key(n), "second").unwrap();
    }
    flush(&txn);
    assert!(cluster.split(key(11)));
    assert_eq!(calls.get(key(0)).unwrap(), None);
    assert_eq!(calls.get(key(1)).unwrap().as_deref(), Some(&b"second"[..]));
    let info = calls.commit().unwrap();
    assert!(info.generations > 12, "{info:?}");
    assert!(!info.one_phase);
    let expected = [None, Some("second"), Some("first")];
    for (n, value) in newest(&cluster, KEYS).into_iter().enumerate() {
        assert_eq!(value.as_deref(), expected[n % 3], "{n}");
    }
    no_lock_is_left(&cluster, &store);
}

#[test]
fn every_way_out_leaves_no_lock_and_no_value() {
    let (cluster, store, db) = opened(2);
    assert!(cluster.split(key(5)));
    let old = db.blocking().begin(BeginOptions::default()).unwrap();
    old.put(key(3), "old").unwrap();
    old.blocking().commit().unwrap();
    for drops in [false, true] {
        let txn = begin(&db, 4);
        for n in 0..10 {
            txn.blocking().put(key(n), "never").unwrap();
        }
        flush(&txn);
        assert_eq!(cluster.locks().len(), 10);
        if drops {
            drop(txn);
        } else {
            txn.blocking().rollback().unwrap();
        }
        let mut expected = vec![None; 10];
        expected[3] = Some("old".to_owned());
        no_locks_are_left(&cluster);
        assert_eq!(newest(&cluster, 10), expected);
        no_lock_is_left(&cluster, &store);
    }
}

#[test]
fn requests_and_answers_that_get_lost_or_come_twice_change_nothing() {
    let (cluster, store, db) = opened(2);
    assert!(cluster.split(key(5)));
    for fault in [Fault::LostRequest, Fault::LostAnswer, Fault::Duplicate] {
        for method in ["KvFlush", "KvBufferBatchGet", "KvResolveLock", "KvCommit"] {
            (0..2).for_each(|_| cluster.inject(method, fault));
        }
        let txn = begin(&db, 4);
        let calls = txn.blocking();
        for round in ["first", "second"] {
            for n in 0..10 {
                calls.put(key(n), round).unwrap();
            }
            flush(&txn);
            for n in 0..10 {
                assert_eq!(
                    calls.get(key(n)).unwrap().as_deref(),
                    Some(round.as_bytes())
                );
            }
        }
        calls.commit().unwrap();
        assert_eq!(newest(&cluster, 10), vec![Some("second".to_owned()); 10]);
        no_lock_is_left(&cluster, &store);
    }
}

#[test]
fn a_rollback_and_a_deadline_end_a_flush_that_waits_for_a_lock() {
    let (cluster, store, db) = opened(1);
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    let held = holder
        .blocking()
        .lock_keys([key(1)], LockOptions::default());
    held.unwrap();
    for has_deadline in [false, true] {
        let options = PipelinedOptions {
            min_keys: 2,
            min_bytes: 1,
            lock_wait: Wait::Forever,
            ..PipelinedOptions::default()
        };
        let txn = db.blocking().begin_pipelined(options).unwrap();
        txn.blocking().put(key(0), "v").unwrap();
        txn.blocking().put(key(1), "v").unwrap();
        // What is not in anybody's way is put down, and is taken back with the rest.
        comes(|| cluster.locks().len() >= 2, "both are put down");
        if has_deadline {
            let soon = CommitOptions::default().deadline(Instant::now() + BRIEFLY);
            let failed = txn.blocking().commit_with(soon);
            assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
        } else {
            txn.blocking().rollback().unwrap();
        }
        assert_eq!(txn.state(), TxnState::RolledBack);
        assert_eq!(cluster.locks().len(), 1, "the holder's");
    }
    holder.blocking().rollback().unwrap();
    no_lock_is_left(&cluster, &store);
    assert_eq!(newest(&cluster, 2), [None, None]);
}

#[test]
fn a_conflict_is_told_to_the_commit_which_rolls_back() {
    let (cluster, store, db) = opened(1);
    let txn = begin(&db, 2);
    let other = db.blocking().begin(BeginOptions::default()).unwrap();
    other.put(key(1), "theirs").unwrap();
    other.blocking().commit().unwrap();
    txn.blocking().put(key(0), "mine").unwrap();
    txn.blocking().put(key(1), "mine").unwrap();
    let failed = txn.blocking().commit();
    assert!(
        matches!(failed, Err(Error::WriteConflict { .. })),
        "{failed:?}"
    );
    assert_eq!(txn.state(), TxnState::RolledBack);
    no_lock_is_left(&cluster, &store);
    assert_eq!(newest(&cluster, 2), [None, Some("theirs".to_owned())]);
}

/// Whoever meets a lock whose time is over resolves it. What was flushed is then gone, and not as if it had never been.
#[test]
fn what_was_flushed_and_taken_for_dead_is_not_read_as_never_flushed() {
    let (cluster, store, db) = opened(1);
    assert!(cluster.split(key(1)));
    let runtime = Builder::new_current_thread().build().unwrap();
    let start = runtime.block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let put = |n| Mutation::new(key(n).into(), MutationOp::Put("v".into()));
        let brief = Prewrite {
            ttl: Duration::from_millis(1),
            ..Prewrite::new(vec![put(0), put(1)])
        };
        store.flush(start, &Flush::new(1, brief)).await.unwrap();
        start
    });
    let flushed = |n| runtime.block_on(store.flushed(start, &[key(n).into()]));
    assert_eq!(flushed(1).unwrap(), [Some(Entry::Value("v".into()))]);
    assert_eq!(flushed(2).unwrap(), [None]);
    let other = db.blocking().begin(BeginOptions::default()).unwrap();
    let held = other.blocking().lock_keys([key(1)], LockOptions::default());
    held.unwrap();
    let gone = flushed(1);
    assert!(
        matches!(gone, Err(Error::TransactionClosed { .. })),
        "{gone:?}"
    );
}

/// Region after region is told that what was flushed is gone: what a region has lost already was written all the same.
#[test]
fn what_was_flushed_is_not_read_as_never_flushed_beside_a_rollback() {
    let (cluster, store, db) = opened(1);
    assert!(cluster.split(key(5)));
    let old = db.blocking().begin(BeginOptions::default()).unwrap();
    (0..10).for_each(|n| old.put(key(n), "old").unwrap());
    old.blocking().commit().unwrap();
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
    let txn = begin(&db, 100);
    for n in 0..10 {
        txn.blocking().put(key(n), "own").unwrap();
    }
    flush(&txn);
    cluster.inject("KvBufferBatchGet", Fault::Delay(20 * BRIEFLY));
    cluster.inject("KvResolveLock", Fault::Spared);
    cluster.inject_always("KvResolveLock", Fault::Busy);
    thread::scope(|scope| {
        let read = scope.spawn(|| txn.blocking().get(key(1)));
        comes(|| cluster.faults() > 0, "the read is under way");
        let end = scope.spawn(|| txn.blocking().rollback());
        let is_half_gone = || cluster.locks().len() == 5;
        comes(is_half_gone, "one region of two is told");
        let runtime = Builder::new_current_thread().build().unwrap();
        let flushed = runtime.block_on(store.flushed(txn.start_ts(), &[key(1).into()]));
        for answer in [read.join().unwrap().map(drop), flushed.map(drop)] {
            let closed = Error::TransactionClosed {
                state: TxnState::RolledBack,
            };
            assert_eq!(format!("{answer:?}"), format!("{:?}", Err::<(), _>(closed)));
        }
        cluster.heal();
        end.join().unwrap().unwrap();
    });
    no_lock_is_left(&cluster, &store);
}

/// It would be read back as a deletion.
#[test]
fn a_value_without_bytes_is_refused_by_the_flush() {
    let (cluster, store, db) = opened(1);
    let options = PipelinedOptions {
        empty_values: true,
        ..PipelinedOptions::default()
    };
    let txn = db.blocking().begin_pipelined(options).unwrap();
    txn.blocking().put(key(0), "").unwrap();
    let refused = txn.blocking().commit();
    assert!(
        matches!(refused, Err(Error::OptionConflict { .. })),
        "{refused:?}"
    );
    no_lock_is_left(&cluster, &store);
}
