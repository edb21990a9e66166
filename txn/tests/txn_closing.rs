//! How transactions end, and what happens to those who are still at work then (S18; rules 20 to 24, 36).
#![allow(clippy::unwrap_used)]

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};
use untorn_txn::{BeginOptions, Db, Error, LockOptions, MemStore, OnDrop, Transaction, TxnState};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn lock(txn: &Transaction, keys: &[&str]) -> Result<(), Error> {
    txn.blocking()
        .lock_keys(keys, LockOptions::default())
        .map(drop)
}

fn get(db: &Db, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let value = begin(db).blocking().get(key).unwrap();
    value.map(|value| value.to_vec())
}

fn closed_as(result: Result<impl std::fmt::Debug, Error>) -> TxnState {
    match result {
        Err(Error::TransactionClosed { state }) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_a_commit_and_a_rollback_that_race_exactly_one_wins() {
    let (store, db) = in_memory();
    for round in 0..200_u32 {
        let txn = begin(&db);
        let key = round.to_be_bytes();
        txn.blocking().get_for_update(key).unwrap();
        txn.put(key, "x").unwrap();
        let barrier = Barrier::new(2);
        let (committed, rolled_back) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                barrier.wait();
                txn.blocking().rollback()
            });
            barrier.wait();
            (txn.blocking().commit(), other.join().unwrap())
        });
        assert_ne!(committed.is_ok(), rolled_back.is_ok());
        let (expected, value) = if committed.is_ok() {
            (TxnState::Committed, Some(b"x".to_vec()))
        } else {
            (TxnState::RolledBack, None)
        };
        assert_eq!(txn.state(), expected);
        assert_eq!(get(&db, key), value);
        assert!(store.locks().is_empty());
    }
}

/// Rules 21 and 22.
#[test]
fn a_closed_transaction_refuses_everything_but_looking_at_its_buffer() {
    let (store, db) = in_memory();
    for commit in [true, false] {
        let txn = begin(&db);
        txn.put("k", "value").unwrap();
        lock(&txn, &["l"]).unwrap();
        let view = txn.statement_view().unwrap();
        let mut range = txn.blocking().range::<&str>(..);
        range.next().unwrap().unwrap();
        let state = if commit {
            txn.blocking().commit().unwrap();
            TxnState::Committed
        } else {
            txn.blocking().rollback().unwrap();
            TxnState::RolledBack
        };
        assert_eq!(closed_as(txn.put("k", "late")), state);
        assert_eq!(closed_as(txn.insert("k", "late")), state);
        assert_eq!(closed_as(txn.delete("k")), state);
        assert_eq!(closed_as(txn.buffer().set("k", "late")), state);
        assert_eq!(closed_as(txn.stage()), state);
        assert_eq!(closed_as(txn.blocking().get("k")), state);
        assert_eq!(closed_as(txn.blocking().batch_get(["k"])), state);
        assert_eq!(closed_as(view.blocking().get("k")), state);
        assert_eq!(closed_as(view.blocking().batch_get(["k"])), state);
        assert_eq!(closed_as(range.next().unwrap()), state);
        assert_eq!(closed_as(txn.savepoint()), state);
        assert_eq!(closed_as(txn.blocking().get_for_update("k")), state);
        assert_eq!(closed_as(lock(&txn, &["m"])), state);
        assert_eq!(closed_as(txn.blocking().commit()), state);
        assert_eq!(closed_as(txn.blocking().rollback()), state);
        assert_eq!((txn.len(), txn.size(), txn.is_dirty()), (2, 7, true));
        assert_eq!(txn.stats().len, 2);
        assert!(txn.buffer().get("k").is_some());
        assert!(store.locks().is_empty());
    }
}

/// Rule 20.
#[test]
fn a_commit_with_a_stage_open_sends_nothing_and_leaves_the_transaction_open() {
    let (_, db) = in_memory();
    let txn = begin(&db);
    txn.put("before", "x").unwrap();
    let stage = txn.stage().unwrap();
    txn.put("within", "x").unwrap();
    assert!(matches!(txn.blocking().commit(), Err(Error::StageOpen)));
    assert_eq!(txn.state(), TxnState::Open);
    stage.cleanup().unwrap();
    lock(&txn, &["locked"]).unwrap();
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
    assert_eq!(get(&db, "before").as_deref(), Some(&b"x"[..]));
    assert_eq!(get(&db, "within"), None);
    let txn = begin(&db);
    let _stage = txn.stage().unwrap();
    txn.blocking().rollback().unwrap();
}

#[test]
fn a_commit_with_nothing_to_write_has_no_timestamp() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    assert_eq!(txn.blocking().get("k").unwrap(), None);
    assert!(txn.is_read_only());
    let info = txn.blocking().commit().unwrap();
    assert_eq!((info.commit_ts, info.keys, info.bytes), (None, 0, 0));
    assert_eq!(txn.state(), TxnState::Committed);
    assert_eq!(store.stats().open, 0);
}

#[test]
fn what_a_stage_holds_makes_no_reader_until_it_is_taken_back() {
    let (_, db) = in_memory();
    let txn = begin(&db);
    for is_released in [false, true] {
        let stage = txn.stage().unwrap();
        txn.put("k", "x").unwrap();
        assert!(!txn.is_read_only());
        if is_released {
            stage.release().unwrap();
        } else {
            stage.cleanup().unwrap();
        }
        assert_eq!(txn.is_read_only(), !is_released);
    }
    let txn = begin(&db);
    let stage = txn.stage().unwrap();
    lock(&txn, &["locked"]).unwrap();
    assert!(!txn.is_read_only());
    // Locks outlive the stage.
    stage.cleanup().unwrap();
    assert!(!txn.is_read_only());
}

#[test]
fn a_transaction_that_has_ended_holds_no_locks() {
    let (_, db) = in_memory();
    for is_committed in [false, true] {
        let txn = begin(&db);
        lock(&txn, &["a", "b"]).unwrap();
        assert_eq!(txn.held_locks(), 2);
        if is_committed {
            txn.blocking().commit().unwrap();
        } else {
            txn.blocking().rollback().unwrap();
        }
        assert_eq!(txn.held_locks(), 0);
    }
}

#[test]
fn a_failed_commit_closes_as_rolled_back_and_gives_its_locks_back() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, &["a"]).unwrap();
    txn.put("a", "x").unwrap();
    txn.put("k", "x").unwrap();
    let other = begin(&db);
    other.put("k", "first").unwrap();
    other.blocking().commit().unwrap();
    assert!(matches!(
        txn.blocking().commit(),
        Err(Error::WriteConflict { .. })
    ));
    assert_eq!(closed_as(txn.blocking().rollback()), TxnState::RolledBack);
    assert!(store.locks().is_empty());
    assert_eq!(store.stats().open, 0);
    assert_eq!(get(&db, "a"), None);
}

#[test]
fn the_last_clone_that_is_dropped_rolls_back() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    let clone = txn.clone();
    lock(&txn, &["a"]).unwrap();
    txn.put("a", "x").unwrap();
    drop(txn);
    assert_eq!(store.locks().len(), 1);
    let range = clone.range::<&str>(..);
    drop(clone);
    assert_eq!(store.locks().len(), 1, "the range holds the transaction");
    drop(range);
    assert!(store.locks().is_empty());
    assert_eq!(store.stats().open, 0);
    assert_eq!(get(&db, "a"), None);
}

/// Rule 36.
#[test]
fn calls_in_their_queues_leave_them_when_the_transaction_ends() {
    for commit in [true, false] {
        let (store, db) = in_memory();
        let rival = begin(&db);
        lock(&rival, &["k"]).unwrap();
        let txn = begin(&db);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&txn, &["a", "k"]));
            while store.locks().waiting().is_empty() {
                thread::yield_now();
            }
            let end = if commit {
                txn.blocking().commit().map(drop)
            } else {
                txn.blocking().rollback()
            };
            end.unwrap();
            let held = store.locks().held();
            assert_eq!(held.len(), 1);
            assert_eq!(held[0].holders[0].owner, rival.start_ts());
            closed_as(waiting.join().unwrap());
        });
        assert_eq!(txn.len(), 0);
        rival.blocking().rollback().unwrap();
        assert!(store.locks().is_empty());
    }
}

#[test]
fn a_lock_future_that_nobody_polls_holds_nothing_up() {
    let (store, db) = in_memory();
    let rival = begin(&db);
    lock(&rival, &["k"]).unwrap();
    let txn = begin(&db);
    txn.put("w", "x").unwrap();
    let mut call = pin!(txn.lock_keys(["a", "k"], LockOptions::default()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    assert_eq!(txn.blocking().commit().unwrap().keys, 1);
    rival.blocking().rollback().unwrap();
    assert!(store.locks().is_empty());
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut context) else {
        panic!("the call has ended with its transaction");
    };
    assert_eq!(closed_as(result), TxnState::Committed);
}

/// Rule 60.
#[test]
fn a_commit_whose_future_is_dropped_while_it_waits_runs_to_its_end() {
    let (store, db) = in_memory();
    let rival = begin(&db);
    lock(&rival, &["k"]).unwrap();
    let txn = begin(&db);
    txn.put("a", "x").unwrap();
    txn.put("k", "x").unwrap();
    {
        let mut commit = pin!(txn.commit());
        let mut context = Context::from_waker(Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
        assert_eq!(txn.state(), TxnState::Committing);
    }
    assert_eq!(txn.state(), TxnState::Committing);
    rival.blocking().rollback().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let closed = db.blocking().close(deadline);
    assert!(closed.is_idle && closed.left.is_empty(), "{closed:?}");
    assert_eq!(txn.state(), TxnState::Committed);
    assert!(store.locks().is_empty());
    let view = db.blocking().snapshot().unwrap();
    let written = view.blocking().get("a").unwrap();
    assert_eq!(written.as_deref(), Some(&b"x"[..]));
}

/// Rule 21 and S18: what was acknowledged before the end is committed, what was refused is not, and no lock
/// outlives it.
#[test]
fn writers_and_lockers_that_race_with_the_end_are_in_it_or_refused() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    for round in 0..60 {
        let (store, db) = in_memory();
        let txn = begin(&db);
        let ends_in_commit = round % 3 != 0;
        let acknowledged = thread::scope(|scope| {
            let workers: Vec<_> = (0..4_u8)
                .map(|n| {
                    let txn = txn.clone();
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        for i in 0_u16.. {
                            let key = [n, (i >> 8) as u8, i as u8, 0];
                            let done = if n % 2 == 0 {
                                txn.put(key, "x")
                            } else {
                                let keys = (0..24).map(|m| [key[0], key[1], key[2], m]);
                                txn.blocking()
                                    .lock_keys(keys, LockOptions::default())
                                    .map(drop)
                            };
                            match done {
                                Ok(()) => acknowledged.push(key),
                                Err(error) => {
                                    closed_as(Err::<(), _>(error));
                                    return acknowledged;
                                }
                            }
                        }
                        acknowledged
                    })
                })
                .collect();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ round);
            let enough = rng.random_range(0..200);
            while txn.len() < enough {
                thread::yield_now();
            }
            let keys = if ends_in_commit {
                Some(txn.blocking().commit().unwrap().keys)
            } else {
                txn.blocking().rollback().unwrap();
                None
            };
            assert!(store.locks().is_empty(), "seed {seed}");
            let acknowledged: Vec<_> = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect();
            if let Some(keys) = keys {
                // And the primary, where a call that was cut off had chosen it and others named it (rule 30).
                assert!((txn.len()..=txn.len() + 1).contains(&keys), "seed {seed}");
            }
            acknowledged
        });
        assert!(store.locks().is_empty(), "seed {seed}");
        for key in &acknowledged {
            assert!(txn.buffer().get_flags(key).is_some());
        }
        // A lock call is published whole or not at all.
        for (key, ..) in txn.buffer().range_with_flags::<&[u8]>(..) {
            let call = [key[0], key[1], key[2], 0];
            assert!(acknowledged.contains(&call), "{key:?}, seed {seed}");
        }
        let reader = begin(&db);
        let found = reader.blocking().range::<&[u8]>(..).count();
        let written = acknowledged.iter().filter(|key| key[0] % 2 == 0).count();
        let expected = if ends_in_commit { written } else { 0 };
        assert_eq!(found, expected, "seed {seed}");
    }
}
