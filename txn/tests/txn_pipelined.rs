//! Transactions that flush as they go on: what they write and read, and what a flush finds (C6, rules 18 to 23). How they end:
//! `txn_pipelined_ends`.
#![allow(clippy::unwrap_used)]

mod txn_held_store;
mod txn_pipelined_db;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use txn_held_store::HeldStore;
use txn_pipelined_db::*;
use untorn_txn::store::TxnStatus;
use untorn_txn::{Db, Error, MemBuffer, PipelinedOptions, TxnState};

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
