//! What the embedded store keeps and what it lets go (rules 45, 49, 52).
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
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

/// No more than this is left to the next commits.
const STEP: usize = 1024;

fn row(n: usize) -> String {
    format!("row/{n:06}")
}

/// Writes the value into each row, or deletes them, so many in a commit.
fn write_rows(db: &Db, rows: Range<usize>, in_a_commit: usize, value: Option<&str>) {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let txn = begin(db);
        for n in rows.by_ref().take(in_a_commit) {
            match value {
                Some(value) => txn.put(row(n), value).unwrap(),
                None => txn.delete(row(n)).unwrap(),
            }
        }
        txn.blocking().commit().unwrap();
    }
}

#[test]
fn what_a_snapshot_has_held_back_goes_with_it_though_nobody_commits_any_more() {
    const ROWS: usize = 30_000;
    let (store, db) = in_memory();
    write_rows(&db, 0..ROWS, ROWS / 4, Some("x"));
    let held = db.blocking().snapshot().unwrap();
    write_rows(&db, 0..ROWS, ROWS / 4, None);
    let stats = store.stats();
    assert_eq!((stats.keys, stats.old_versions), (ROWS, ROWS));
    drop(held);
    // What the next range passes over.
    while store.stats().keys > STEP {
        thread::yield_now();
    }
    let reader = db.blocking().snapshot().unwrap();
    assert_eq!(reader.blocking().range::<&str>(..).count(), 0);
}

#[test]
fn updates_alone_keep_the_history_within_what_is_held_back_and_little_more() {
    const ROWS: usize = 2_000;
    let (store, db) = in_memory();
    write_rows(&db, 0..ROWS, 10, Some("x"));
    let mut held = db.blocking().snapshot().unwrap();
    for round in 0..8 {
        write_rows(&db, 0..ROWS, 10, Some("y"));
        // What the thread that collects has just in hand is not there for the commits.
        let stats = store.stats();
        assert!(stats.old_versions <= ROWS + 20 + STEP, "{round}: {stats:?}");
        let until = Instant::now() + Duration::from_secs(60);
        while store.stats().old_versions > ROWS + 20 {
            assert!(Instant::now() < until, "{round}: {:?}", store.stats());
            thread::yield_now();
        }
        held = db.blocking().snapshot().unwrap();
        assert_eq!(store.stats().keys, ROWS);
    }
    for _ in 0..8 {
        write_rows(&db, 0..ROWS, ROWS, Some("z"));
    }
    assert!(store.stats().old_versions >= 8 * ROWS);
    drop(held);
    let most = store.stats().bytes;
    while store.stats().old_versions > STEP {
        thread::yield_now();
    }
    let stats = store.stats();
    assert_eq!(stats.keys, ROWS);
    assert!(stats.bytes < most / 4, "{stats:?} after {most}");
}

/// Whoever is the last to let go finds the collector at rest, at work or about to end.
#[test]
fn of_several_snapshots_that_go_at_once_the_last_has_the_backlog_collected() {
    const ROWS: usize = STEP + 100;
    let (store, db) = in_memory();
    for _ in 0..30 {
        let held: Vec<_> = (0..3).map(|_| db.blocking().snapshot().unwrap()).collect();
        write_rows(&db, 0..ROWS, ROWS, Some("x"));
        write_rows(&db, 0..ROWS, ROWS, Some("y"));
        thread::scope(|scope| {
            for snapshot in held {
                scope.spawn(|| drop(snapshot));
            }
        });
        while store.stats().old_versions > STEP {
            thread::yield_now();
        }
    }
}

/// What was committed before a snapshot is collected beside it, by commits and by the collector's thread.
#[test]
fn a_snapshot_reads_its_values_while_what_is_older_is_collected_beside_it() {
    const ROWS: usize = 2_000;
    let (store, db) = in_memory();
    write_rows(&db, 0..ROWS, 100, Some("0"));
    let mut held = db.blocking().snapshot().unwrap();
    for round in 0..4 {
        let (now, next) = (round.to_string(), (round + 1).to_string());
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let early = begin_at(&db, held.timestamp()).unwrap();
                let mut n = 0;
                while !is_done.load(Ordering::Acquire) {
                    let again = db.blocking().snapshot_at(held.timestamp()).unwrap();
                    n = (n + 7) % ROWS;
                    for found in [again.blocking().get(row(n)), early.blocking().get(row(n))] {
                        assert_eq!(found.unwrap().unwrap(), now);
                    }
                }
            });
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let rows = held.blocking().range::<&str>(..);
                    let values = rows.map(|row| row.unwrap().1);
                    assert_eq!(values.filter(|value| *value == now).count(), ROWS);
                }
            });
            let writers = [0..ROWS / 2, ROWS / 2..ROWS].map(|rows| {
                let (db, next) = (&db, next.as_str());
                scope.spawn(move || {
                    write_rows(db, rows.clone(), 100, None);
                    write_rows(db, rows, 1, Some(next));
                })
            });
            let ended = writers.map(|writer| writer.join());
            is_done.store(true, Ordering::Release);
            ended.into_iter().for_each(Result::unwrap);
        });
        // Of this round's garbage, which the next round meets while it goes.
        held = db.blocking().snapshot().unwrap();
    }
    drop(held);
    while store.stats().old_versions > 0 {
        store.collect();
    }
    assert_eq!(store.stats().keys, ROWS);
}

#[test]
fn deleted_keys_that_are_locked_stay_and_do_not_keep_others() {
    const ROWS: usize = 3_000;
    let (store, db) = in_memory();
    write_rows(&db, 0..ROWS, ROWS, Some("x"));
    let held = db.blocking().snapshot().unwrap();
    write_rows(&db, 0..ROWS, ROWS, None);
    let locker = begin(&db);
    locker
        .blocking()
        .lock_keys((0..ROWS).map(row), LockOptions::default())
        .unwrap();
    drop(held);
    while store.stats().old_versions > 0 {
        thread::yield_now();
    }
    assert_eq!(store.stats().keys, ROWS);
    locker.blocking().rollback().unwrap();
    while store.stats().keys > STEP {
        put(&db, "another", "x");
    }
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
    let beside = db.blocking().timestamp().unwrap();
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
    assert!(matches!(failed, Err(Error::InvalidTimestamp { .. })));
    let failed = begin_at(&db, beside).map(drop);
    assert!(
        matches!(failed, Err(Error::SnapshotTooOld { start_ts, safe_point })
        if start_ts == beside && safe_point > beside)
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
