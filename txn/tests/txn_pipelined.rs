//! Transactions that flush as they go on: what they read, how they end, and what is left of them (C6, rules 18 to 23).
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use txn_held_store::HeldStore;
use untorn_txn::lock::Wait;
use untorn_txn::store::TxnStatus;
use untorn_txn::store::mem::LogOptions;
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Error, LockOptions, MemBuffer, MemStore, OnDrop,
    PipelinedOptions, PipelinedTransaction, TxnState,
};

fn opened() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    (store, db)
}

/// A flush is due at so many keys.
fn flushes_at(keys: usize) -> PipelinedOptions {
    PipelinedOptions {
        min_keys: keys,
        min_bytes: 1,
        on_drop: OnDrop::Silent,
        ..PipelinedOptions::default()
    }
}

fn begin(db: &Db, keys: usize) -> PipelinedTransaction {
    db.blocking().begin_pipelined(flushes_at(keys)).unwrap()
}

/// Puts down what was written so far.
fn flush(txn: &PipelinedTransaction) {
    txn.blocking().flush().unwrap();
    txn.blocking().flush_wait().unwrap();
}

fn apply(db: &Db, pairs: &[(&str, &str)]) {
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for (key, value) in pairs {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

fn newest(db: &Db) -> Vec<(String, String)> {
    let all = db.blocking().snapshot().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = all.scan_blocking::<&str>(.., usize::MAX, false).unwrap();
    pairs
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// No lock, no open transaction, nothing to collect: as if it had never been.
#[track_caller]
fn nothing_is_left(store: &MemStore) {
    store.collect();
    assert!(store.locks().is_empty());
    let stats = store.stats();
    assert_eq!((stats.open, stats.old_versions), (0, 0));
}

#[track_caller]
fn closed_as<T: std::fmt::Debug>(result: Result<T, Error>, state: TxnState) {
    let is_closed =
        matches!(&result, Err(Error::TransactionClosed { state: seen }) if *seen == state);
    assert!(is_closed, "{state}: {result:?}");
}

#[test]
fn two_hundred_thousand_writes_go_through_in_the_memory_of_a_few_thousand() {
    const WRITES: u32 = 200_000;
    const FLUSH: usize = 1_000;
    let key = |n: u32| format!("key/{:08}", n * 7_919 % WRITES);
    let one_part = MemBuffer::new();
    for n in 0..FLUSH as u32 {
        one_part.set(key(n), format!("value {n}")).unwrap();
    }
    let part = one_part.memory().total();

    let (store, db) = opened();
    let txn = begin(&db, FLUSH);
    let mut most = 0;
    for n in 0..WRITES {
        txn.blocking().put(key(n), format!("value {n}")).unwrap();
        if n % 500 == 0 {
            most = most.max(txn.memory());
        }
    }
    assert!(
        most < 4 * part,
        "{most} bytes at most, {part} for one flush"
    );
    assert_eq!(txn.len(), WRITES as usize);
    let info = txn.blocking().commit().unwrap();
    assert_eq!(info.keys, WRITES as usize);
    assert_eq!(info.bytes, txn.size());
    assert!(
        info.generations >= u64::from(WRITES) / FLUSH as u64,
        "{info:?}"
    );
    assert!(!info.one_phase);
    let mut expected: Vec<_> = (0..WRITES)
        .map(|n| (key(n), format!("value {n}")))
        .collect();
    expected.sort_unstable();
    assert!(newest(&db) == expected, "not what was written");
    nothing_is_left(&store);
}

#[test]
fn own_writes_are_read_through_every_part_and_by_nobody_else() {
    let (_, db) = opened();
    let before = [("deleted", "old"), ("kept", "old"), ("never", "old")];
    apply(&db, &before);
    let txn = begin(&db, 1_000);
    let calls = txn.blocking();
    calls.put("flushed", "1").unwrap();
    calls.put("overwritten", "1").unwrap();
    calls.delete("deleted").unwrap();
    flush(&txn);
    calls.put("overwritten", "2").unwrap();
    calls.put("restored", "2").unwrap();
    flush(&txn);
    calls.delete("restored").unwrap();
    calls.put("active", "3").unwrap();
    let keys = [
        "active",
        "deleted",
        "flushed",
        "kept",
        "never",
        "none",
        "overwritten",
        "restored",
        "kept",
    ];
    let seen = calls.batch_get(keys).unwrap();
    let seen: Vec<_> = seen
        .iter()
        .map(|value| value.as_deref().unwrap_or(b"-"))
        .collect();
    let expected = ["3", "-", "1", "old", "old", "-", "2", "-", "old"];
    assert_eq!(seen, expected.map(str::as_bytes));
    for (key, expected) in keys.iter().zip(expected) {
        let value = calls.get(key).unwrap();
        assert_eq!(value.as_deref().unwrap_or(b"-"), expected.as_bytes());
    }
    assert_eq!(newest(&db), pairs(&before));
    calls.commit().unwrap();
    let after = [
        ("active", "3"),
        ("flushed", "1"),
        ("kept", "old"),
        ("never", "old"),
        ("overwritten", "2"),
    ];
    assert_eq!(newest(&db), pairs(&after));
}

#[test]
fn reads_stay_at_the_start_timestamp_beside_what_is_flushed() {
    let (_, db) = opened();
    apply(&db, &[("k", "old")]);
    let txn = begin(&db, 1);
    txn.blocking().put("mine", "1").unwrap();
    flush(&txn);
    apply(&db, &[("k", "new")]);
    assert_eq!(
        txn.blocking().get("k").unwrap().as_deref(),
        Some(&b"old"[..])
    );
    txn.blocking().rollback().unwrap();
}

#[test]
fn an_insert_knows_what_was_flushed() {
    let (_, db) = opened();
    apply(&db, &[("there", "old")]);
    let txn = begin(&db, 1_000);
    let calls = txn.blocking();
    calls.insert("a", "1").unwrap();
    calls.put("b", "1").unwrap();
    calls.delete("there").unwrap();
    flush(&txn);
    for key in ["a", "b"] {
        let refused = calls.insert(key, "2");
        assert!(
            matches!(&refused, Err(Error::KeyExists { key: at }) if *at == key),
            "{refused:?}"
        );
    }
    // Deleted here, so it is free.
    calls.insert("there", "mine").unwrap();
    calls.delete("a").unwrap();
    calls.insert("a", "again").unwrap();
    assert!(matches!(
        calls.insert("a", "twice"),
        Err(Error::KeyExists { .. })
    ));
    calls.commit().unwrap();
    assert_eq!(
        newest(&db),
        pairs(&[("a", "again"), ("b", "1"), ("there", "mine")])
    );
}

#[test]
fn an_insert_of_a_key_that_exists_fails_the_flush_and_the_commit() {
    let (store, db) = opened();
    apply(&db, &[("there", "old")]);
    for deletes in [false, true] {
        let txn = begin(&db, 1_000);
        txn.blocking().put("other", "1").unwrap();
        txn.blocking().insert("there", "mine").unwrap();
        if deletes {
            // Nothing is left of it but that it was to be absent.
            txn.blocking().delete("there").unwrap();
        }
        let failed = txn.blocking().commit();
        assert!(
            matches!(&failed, Err(Error::KeyExists { key }) if *key == "there"),
            "{failed:?}"
        );
        assert_eq!(txn.state(), TxnState::RolledBack);
        assert_eq!(newest(&db), pairs(&[("there", "old")]));
        drop(txn);
        nothing_is_left(&store);
    }
}

#[test]
fn inserts_of_one_key_by_many_threads_succeed_once_each() {
    const KEYS: usize = 400;
    let (_, db) = opened();
    let txn = begin(&db, 7);
    let inserted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (txn, inserted) = (&txn, &inserted);
            scope.spawn(move || {
                for n in 0..KEYS {
                    match txn.blocking().insert(n.to_string(), thread.to_string()) {
                        Ok(()) => drop(inserted.fetch_add(1, Ordering::Relaxed)),
                        Err(Error::KeyExists { key }) => assert_eq!(key, n.to_string()),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    assert_eq!(inserted.into_inner(), KEYS);
    assert_eq!(txn.len(), KEYS);
    assert!(txn.generations() > 10);
    txn.blocking().commit().unwrap();
    assert_eq!(newest(&db).len(), KEYS);
}

#[test]
fn writes_of_many_threads_are_all_committed() {
    let (store, db) = opened();
    let txn = begin(&db, 50);
    thread::scope(|scope| {
        for thread in 0..4 {
            let txn = txn.clone();
            scope.spawn(move || {
                for n in 0..1_000 {
                    let key = format!("{thread}/{:03}", n % 250);
                    txn.blocking().put(&key, n.to_string()).unwrap();
                    let seen = txn.blocking().get(&key).unwrap();
                    assert_eq!(seen.as_deref(), Some(n.to_string().as_bytes()));
                }
            });
        }
    });
    let info = txn.blocking().commit().unwrap();
    assert!((1_000..=4_000).contains(&info.keys), "{info:?}");
    let all = newest(&db);
    assert_eq!(all.len(), 1_000);
    for (key, value) in all {
        let n: usize = key.split('/').nth(1).unwrap().parse().unwrap();
        assert_eq!(value, (750 + n).to_string());
    }
    nothing_is_left(&store);
}

#[test]
fn readers_see_all_generations_or_none() {
    const KEYS: usize = 200;
    let (_, db) = opened();
    let names: Vec<String> = (0..KEYS).map(|n| format!("{n:03}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), "0")).collect();
    apply(&db, &all);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = String::new();
                while !is_done.load(Ordering::Acquire) {
                    let mut values: Vec<_> = newest(&db).into_iter().map(|pair| pair.1).collect();
                    assert_eq!(values.len(), KEYS);
                    values.dedup();
                    assert_eq!(values.len(), 1, "a part of a transaction");
                    assert!(values[0] >= last, "{last} was seen before");
                    last = values.remove(0);
                }
            });
        }
        for round in 1..10 {
            let txn = begin(&db, 13);
            for name in &names {
                txn.blocking().put(name, "x").unwrap();
                txn.blocking().put(name, round.to_string()).unwrap();
            }
            if round % 3 == 0 {
                txn.blocking().rollback().unwrap();
            } else {
                txn.blocking().commit().unwrap();
            }
        }
        is_done.store(true, Ordering::Release);
    });
}

#[test]
fn a_failed_flush_is_told_to_the_next_write_that_is_due_and_to_commit() {
    let (store, db) = opened();
    let txn = begin(&db, 2);
    apply(&db, &[("k", "theirs")]);
    txn.blocking().put("k", "mine").unwrap();
    txn.blocking().put("other", "1").unwrap();
    let failed = txn.blocking().flush_wait();
    assert!(
        matches!(failed, Err(Error::WriteConflict { .. })),
        "{failed:?}"
    );
    // None is due yet.
    txn.blocking().put("a", "1").unwrap();
    txn.blocking().put("b", "1").unwrap();
    let due = txn.blocking().put("c", "1");
    assert!(matches!(due, Err(Error::WriteConflict { .. })), "{due:?}");
    assert!(due.unwrap_err().is_retryable());
    assert_eq!(txn.state(), TxnState::Open);
    let failed = txn.blocking().commit();
    assert!(
        matches!(failed, Err(Error::WriteConflict { .. })),
        "{failed:?}"
    );
    assert_eq!(txn.state(), TxnState::RolledBack);
    assert_eq!(txn.blocking().outcome().unwrap(), TxnStatus::RolledBack);
    drop(txn);
    assert_eq!(newest(&db), pairs(&[("k", "theirs")]));
    nothing_is_left(&store);
}

#[test]
fn every_way_out_takes_back_what_was_flushed() {
    let (store, db) = opened();
    let before = [("changed", "old"), ("deleted", "old")];
    for way in ["rollback", "drop", "cancelled commit", "close"] {
        let other = Db::new(store.clone());
        apply(&db, &before);
        let txn = begin(&other, 2);
        for (key, value) in [
            ("changed", "1"),
            ("new", "1"),
            ("changed", "2"),
            ("more", "2"),
        ] {
            txn.blocking().put(key, value).unwrap();
        }
        txn.blocking().delete("deleted").unwrap();
        flush(&txn);
        assert!(txn.generations() >= 2);
        match way {
            "rollback" => txn.blocking().rollback().unwrap(),
            "drop" => drop(txn),
            "close" => {
                let closed = other
                    .blocking()
                    .close(Instant::now() + Duration::from_secs(20));
                assert_eq!((closed.rolled_back, closed.is_idle), (1, true));
                closed_as(txn.blocking().put("k", "v"), TxnState::RolledBack);
            }
            _ => {
                let late = CommitOptions::default().deadline(Instant::now());
                let failed = txn.blocking().commit_with(late);
                assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
            }
        }
        assert_eq!(newest(&db), pairs(&before), "{way}");
        nothing_is_left(&store);
    }
}

/// The flush waits for a lock that nobody gives back: the end of the transaction ends that.
#[test]
fn a_rollback_and_a_drop_end_a_flush_that_waits() {
    let (store, db) = opened();
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    for drops in [false, true] {
        let options = PipelinedOptions {
            lock_wait: Wait::Forever,
            ..flushes_at(1)
        };
        let txn = db.blocking().begin_pipelined(options).unwrap();
        txn.blocking().put("k", "mine").unwrap();
        while store.locks().waiting().is_empty() {
            thread::yield_now();
        }
        if drops {
            drop(txn);
        } else {
            txn.blocking().rollback().unwrap();
            closed_as(txn.blocking().put("k", "v"), TxnState::RolledBack);
        }
        while !store.locks().waiting().is_empty() {
            thread::yield_now();
        }
    }
    holder.blocking().rollback().unwrap();
    nothing_is_left(&store);
}

#[test]
fn a_deadline_ends_a_commit_whose_flush_waits() {
    let (store, db) = opened();
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    let options = PipelinedOptions {
        lock_wait: Wait::Forever,
        ..flushes_at(1)
    };
    let txn = db.blocking().begin_pipelined(options).unwrap();
    txn.blocking().put("k", "mine").unwrap();
    let soon = Instant::now() + Duration::from_millis(50);
    let options = CommitOptions::default().deadline(soon);
    let failed = txn.blocking().commit_with(options);
    assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
    assert_eq!(txn.state(), TxnState::RolledBack);
    assert!(store.locks().waiting().is_empty());
    holder.blocking().rollback().unwrap();
    nothing_is_left(&store);
}

#[test]
fn a_commit_waits_for_the_lock_that_its_flush_waits_for() {
    let (store, db) = opened();
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    let txn = begin(&db, 1);
    txn.blocking().put("k", "mine").unwrap();
    thread::scope(|scope| {
        let commit = scope.spawn(|| txn.blocking().commit());
        while txn.state() == TxnState::Open || store.locks().waiting().is_empty() {
            thread::yield_now();
        }
        closed_as(txn.blocking().put("late", "1"), TxnState::Committing);
        closed_as(txn.blocking().rollback(), TxnState::Committing);
        holder.blocking().rollback().unwrap();
        commit.join().unwrap().unwrap();
    });
    assert_eq!(newest(&db), pairs(&[("k", "mine")]));
}

#[test]
fn a_commit_with_a_stage_open_changes_nothing_and_no_flush_begins_in_a_stage() {
    let (_, db) = opened();
    let txn = begin(&db, 2);
    let stage = txn.stage().unwrap();
    for n in 0..10 {
        txn.blocking().put(n.to_string(), "staged").unwrap();
    }
    assert_eq!(txn.generations(), 0);
    assert!(matches!(txn.blocking().commit(), Err(Error::StageOrder)));
    assert_eq!(txn.state(), TxnState::Open);
    stage.cleanup().unwrap();
    txn.blocking().put("a", "1").unwrap();
    let stage = txn.stage().unwrap();
    txn.blocking().put("b", "2").unwrap();
    stage.release().unwrap();
    let info = txn.blocking().commit().unwrap();
    assert_eq!((info.keys, info.generations), (2, 1));
    assert_eq!(newest(&db), pairs(&[("a", "1"), ("b", "2")]));
}

#[test]
fn a_transaction_that_wrote_nothing_commits_without_a_timestamp() {
    let (store, db) = opened();
    let txn = begin(&db, 2);
    assert_eq!(txn.blocking().get("k").unwrap(), None);
    let info = txn.blocking().commit().unwrap();
    assert_eq!((info.commit_ts, info.keys, info.generations), (None, 0, 0));
    closed_as(txn.blocking().get("k"), TxnState::Committed);
    // Also where the store was only asked to check (C12).
    let txn = begin(&db, 2);
    txn.blocking().insert("k", "v").unwrap();
    txn.blocking().delete("k").unwrap();
    assert_eq!(txn.blocking().commit().unwrap().commit_ts, None);
    nothing_is_left(&store);
}

#[test]
fn a_commit_and_a_rollback_at_once_have_one_winner() {
    for round in 0..40 {
        let (store, db) = opened();
        let txn = begin(&db, 3);
        for n in 0..10 {
            txn.blocking().put(n.to_string(), "v").unwrap();
        }
        let (committed, rolled_back) = thread::scope(|scope| {
            let commit = scope.spawn(|| txn.blocking().commit());
            let writer = scope.spawn(|| {
                let mut written = 0;
                while txn.blocking().put(format!("late/{written}"), "v").is_ok() {
                    written += 1;
                }
                written
            });
            if round % 2 == 0 {
                thread::yield_now();
            }
            let rolled_back = txn.blocking().rollback();
            let written: usize = writer.join().unwrap();
            let committed = commit.join().unwrap();
            let expected = if committed.is_ok() { 10 + written } else { 0 };
            assert_eq!(newest(&db).len(), expected);
            (committed, rolled_back)
        });
        assert_ne!(
            committed.is_ok(),
            rolled_back.is_ok(),
            "{committed:?} {rolled_back:?}"
        );
        drop(txn);
        nothing_is_left(&store);
    }
}

#[test]
fn past_its_lifetime_flushes_are_refused_and_the_commit_fails() {
    let (store, db) = opened();
    let options = PipelinedOptions {
        max_lifetime: Some(Duration::from_millis(1)),
        ..flushes_at(1)
    };
    let txn = db.blocking().begin_pipelined(options).unwrap();
    let mut n = 0;
    let refused = loop {
        n += 1;
        if let Err(error) = txn.blocking().put(n.to_string(), "v") {
            break error;
        }
    };
    assert!(matches!(refused, Error::LockLost { .. }), "{refused}");
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::LockLost { .. })), "{failed:?}");
    assert_eq!(txn.state(), TxnState::RolledBack);
    drop(txn);
    assert_eq!(newest(&db), []);
    nothing_is_left(&store);
}

#[test]
fn a_store_that_takes_no_flushes_says_so_at_the_beginning() {
    let db = Db::new(Arc::new(HeldStore::default()));
    let refused = db.blocking().begin_pipelined(PipelinedOptions::default());
    assert!(
        matches!(refused, Err(Error::Unsupported { .. })),
        "{refused:?}"
    );
}

#[test]
fn futures_may_be_sent_between_threads_and_dropped() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let (store, db) = opened();
    let txn = begin(&db, 1);
    drop(sendable(txn.put("k", "v")));
    drop(sendable(txn.insert("k", "v")));
    drop(sendable(txn.delete("k")));
    drop(sendable(txn.get("k")));
    drop(sendable(txn.flush()));
    drop(sendable(txn.commit()));
    assert!(txn.is_empty());
    assert_eq!(txn.state(), TxnState::Open);
    drop(txn);
    nothing_is_left(&store);
}

#[test]
fn what_a_pipelined_transaction_committed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Db::open(directory.path(), LogOptions::default()).unwrap();
    let db = open();
    apply(&db, &[("deleted", "old"), ("kept", "old")]);
    let txn = begin(&db, 3);
    for n in 0..20 {
        txn.blocking()
            .put(format!("{:02}", n % 10), n.to_string())
            .unwrap();
    }
    txn.blocking().delete("deleted").unwrap();
    txn.blocking().commit().unwrap();
    let cut_off = begin(&db, 3);
    for n in 0..20 {
        cut_off.blocking().put(format!("{n:02}"), "never").unwrap();
    }
    drop((txn, cut_off));
    let before = newest(&db);
    assert_eq!(before.len(), 11);
    assert_eq!(before[3], ("03".to_owned(), "13".to_owned()));
    db.blocking()
        .close(Instant::now() + Duration::from_secs(20));
    drop(db);
    assert_eq!(newest(&open()), before);
}
