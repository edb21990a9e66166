//! What the embedded store keeps and what it lets go (rules 45, 49, 52).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use untorn_txn::store::{Begin, Mutation, MutationOp, Prewrite};
use untorn_txn::{
    BeginOptions, Db, Error, LockOptions, MemStore, OnDrop, Store, Transaction, TxnState,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

fn begin(db: &Db) -> Transaction {
    db.blocking()
        .begin(BeginOptions {
            on_drop: OnDrop::Silent,
            ..BeginOptions::default()
        })
        .unwrap()
}

fn begin_at(db: &Db, start_ts: u64) -> Result<Transaction, Error> {
    db.blocking().begin(BeginOptions {
        start_ts: Some(start_ts),
        ..BeginOptions::default()
    })
}

fn put(db: &Db, key: &str, value: &str) {
    let txn = begin(db);
    txn.put(key, value).unwrap();
    txn.blocking().commit().unwrap();
}

#[test]
fn a_hot_key_keeps_few_versions_while_nobody_looks_back() {
    let (store, db) = in_memory();
    for n in 0..500 {
        put(&db, "hot", &n.to_string());
        assert!(store.stats().old_versions <= 3, "{:?}", store.stats());
    }
    store.collect();
    assert_eq!((store.stats().keys, store.stats().old_versions), (1, 0));
    assert_eq!(store.stats().uncollected, 0);
}

#[test]
fn an_open_transaction_holds_back_what_it_can_see_and_no_longer() {
    let (store, db) = in_memory();
    put(&db, "k", "old");
    put(&db, "gone", "old");
    let old = begin(&db);
    let deleter = begin(&db);
    deleter.delete("gone").unwrap();
    deleter.blocking().commit().unwrap();
    for n in 0..50 {
        put(&db, "k", &n.to_string());
    }
    store.collect();
    assert_eq!(
        old.blocking().get("k").unwrap().as_deref(),
        Some(&b"old"[..])
    );
    assert_eq!(old.blocking().range::<&str>(..).count(), 2);
    assert!(store.stats().safe_point <= old.start_ts());
    drop(old);
    store.collect();
    let stats = store.stats();
    assert_eq!(
        (stats.keys, stats.old_versions, stats.uncollected),
        (1, 0, 0)
    );
}

#[test]
fn deleted_keys_and_committed_locks_leave_nothing_behind() {
    let (store, db) = in_memory();
    for n in 0..100_u32 {
        put(&db, &n.to_string(), "x");
    }
    let txn = begin(&db);
    for n in 0..100_u32 {
        txn.delete(n.to_string()).unwrap();
    }
    let others: Vec<String> = (200..300).map(|n| n.to_string()).collect();
    txn.blocking()
        .lock_keys(&others, LockOptions::default())
        .unwrap();
    txn.blocking().commit().unwrap();
    store.collect();
    let stats = store.stats();
    assert_eq!((stats.keys, stats.old_versions, stats.touched), (0, 0, 0));
    assert_eq!((stats.uncollected, stats.open), (0, 0));
    assert!(store.locks().is_empty());
}

/// A touch replaces no version: while a later writer is at work the newest one lies in the history.
#[test]
fn collecting_a_touch_does_not_take_the_version_under_a_writer_along() {
    let (store, db) = in_memory();
    put(&db, "k", "value");
    let old = begin(&db);
    let toucher = begin(&db);
    toucher
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    toucher.blocking().commit().unwrap();
    let writer = Prewrite::new(vec![Mutation::new(
        "k".into(),
        MutationOp::Put("next".into()),
    )]);
    // By hand, to stop between the phases.
    let start = ready(store.begin(Begin::default())).unwrap();
    ready(store.prewrite(start, &writer)).unwrap();
    // Only now the touch can be collected.
    assert_eq!(store.stats().uncollected, 1);
    drop(old);
    store.collect();
    let now = ready(store.timestamp()).unwrap();
    let read = ready(store.get(b"k", now)).unwrap();
    assert_eq!(read.as_deref(), Some(&b"value"[..]));
    ready(store.rollback(start)).unwrap();
    let read = ready(store.get(b"k", now)).unwrap();
    assert_eq!(read.as_deref(), Some(&b"value"[..]));
}

fn ready<T>(answer: untorn_txn::store::Answer<'_, T>) -> Result<T, Error> {
    let mut answer = answer;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut answer).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("nobody is in the way"),
    }
}

#[test]
fn a_given_start_timestamp_must_be_kept_free_and_past() {
    let (store, db) = in_memory();
    put(&db, "k", "1");
    let holder = begin(&db);
    let between = db.blocking().timestamp().unwrap();
    put(&db, "k", "2");
    let back = begin_at(&db, between).unwrap();
    assert_eq!(
        back.blocking().get("k").unwrap().as_deref(),
        Some(&b"1"[..])
    );
    let newest = db.blocking().timestamp().unwrap();
    for invalid in [0, between, newest + (1 << 30), u64::MAX] {
        let failed = begin_at(&db, invalid).map(drop);
        assert!(
            matches!(failed, Err(Error::InvalidTimestamp { given, .. }) if given == invalid),
            "{failed:?}"
        );
    }
    drop((holder, back));
    put(&db, "k", "3");
    store.collect();
    let failed = begin_at(&db, between).map(drop);
    assert!(
        matches!(failed, Err(Error::SnapshotTooOld { start_ts, safe_point })
        if start_ts == between && safe_point > between)
    );
    let failed = ready(store.get(b"k", between));
    assert!(matches!(failed, Err(Error::SnapshotTooOld { .. })));
}

/// Rule 49.
#[test]
fn requests_that_come_twice_or_late_do_no_harm() {
    let (store, _) = in_memory();
    let start = ready(store.begin(Begin::default())).unwrap();
    let write = Prewrite::new(vec![Mutation::new("k".into(), MutationOp::Put("1".into()))]);
    for _ in 0..2 {
        ready(store.prewrite(start, &write)).unwrap();
    }
    let time = ready(store.commit(start)).unwrap();
    let is_committed = |result: Result<(), Error>| {
        matches!(
            result,
            Err(Error::TransactionClosed {
                state: TxnState::Committed
            })
        )
    };
    assert!(is_committed(ready(store.prewrite(start, &write)).map(drop)));
    assert_eq!(ready(store.commit(start)).unwrap(), time);
    assert!(is_committed(ready(store.rollback(start))));
    ready(store.unlock(start, vec![("k".into(), 1)])).unwrap();
    store.stop_locking(start);
    let now = ready(store.timestamp()).unwrap();
    assert!(now > time);
    assert_eq!(
        ready(store.get(b"k", now)).unwrap().as_deref(),
        Some(&b"1"[..])
    );
    let failed = ready(store.get(b"k", now + (1 << 30)));
    assert!(matches!(failed, Err(Error::InvalidTimestamp { .. })));
    assert!(store.locks().is_empty());
}
