//! Locks that are given back before their transaction ends.
#![allow(clippy::unwrap_used)]

mod faulty;
mod txn_calls;
mod txn_held_store;

use faulty::faulty;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use txn_calls::{begin, lock, waiting};
use txn_held_store::{HeldStore, held_by, locked_flags};
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::{
    BeginOptions, Db, Error, FlagOp, LockOptions, MemStore, Transaction, TxnState, UnlockedWrites,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

fn unlock(txn: &Transaction, keys: &[&str]) -> Result<usize, Error> {
    txn.blocking().unlock_keys(keys)
}

fn lock_at_once(txn: &Transaction, keys: &[&str]) -> Result<(), Error> {
    txn.blocking()
        .lock_keys(keys, waiting(Wait::NoWait))
        .map(drop)
}

#[test]
fn an_unlocked_key_is_free_for_others_and_not_committed() {
    let (store, db) = in_memory();
    let (txn, other) = (begin(&db), begin(&db));
    lock(&txn, &["a", "b", "c"]).unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| lock(&other, &["b"]));
        while store.locks().waiting().is_empty() {
            thread::yield_now();
        }
        // Given twice, or never locked: counted once, or not.
        assert_eq!(unlock(&txn, &["c", "b", "b", "never"]).unwrap(), 2);
        waits.join().unwrap().unwrap();
    });
    assert_eq!(held_by(&store, &txn), ["a"]);
    assert_eq!(
        (locked_flags(&txn), txn.held_locks()),
        (vec!["a".to_owned()], 1)
    );
    other.put("b", "theirs").unwrap();
    other.blocking().commit().unwrap();
    assert_eq!(txn.len(), 3);
    assert_eq!(unlock(&txn, &["b", "c"]).unwrap(), 0);
    assert_eq!(unlock(&txn, &[]).unwrap(), 0);
    assert_eq!(txn.blocking().commit().unwrap().keys, 1);
}

#[test]
fn it_can_be_locked_again() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, &["a", "b"]).unwrap();
    unlock(&txn, &["b"]).unwrap();
    assert_eq!(lock(&txn, &["b"]).unwrap(), [false]);
    assert_eq!(held_by(&store, &txn), ["a", "b"]);
    assert_eq!(locked_flags(&txn), ["a", "b"]);
}

#[test]
fn what_was_written_or_presumed_absent_stays_locked() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    let keys = ["deleted", "inserted", "presumed", "staged", "written"];
    lock(&txn, &keys).unwrap();
    txn.put("written", "v").unwrap();
    txn.delete("deleted").unwrap();
    txn.insert("inserted", "v").unwrap();
    let presume = [FlagOp::SetPresumeNotExists];
    txn.buffer().update_flags("presumed", presume).unwrap();
    let stage = txn.stage().unwrap();
    txn.put("staged", "v").unwrap();
    assert_eq!(unlock(&txn, &keys).unwrap(), 0);
    assert_eq!(held_by(&store, &txn), keys);
    assert_eq!(locked_flags(&txn), keys);
    // Rolled back, it was not written.
    stage.cleanup().unwrap();
    assert_eq!(unlock(&txn, &keys).unwrap(), 1);
    assert_eq!(
        held_by(&store, &txn),
        ["deleted", "inserted", "presumed", "written"]
    );
    txn.blocking().commit().unwrap();
}

#[test]
fn what_is_written_afterwards_is_checked_at_commit() {
    let (_store, db) = in_memory();
    for conflicts in [false, true] {
        let (txn, other) = (begin(&db), begin(&db));
        lock(&txn, &["a", "k"]).unwrap();
        unlock(&txn, &["k"]).unwrap();
        if conflicts {
            other.put("k", "theirs").unwrap();
            other.blocking().commit().unwrap();
        }
        txn.put("k", "ours").unwrap();
        let committed = txn.blocking().commit();
        match conflicts {
            false => assert_eq!(committed.unwrap().keys, 2),
            true => assert!(matches!(committed, Err(Error::WriteConflict { .. }))),
        }
    }
}

#[test]
fn the_primary_goes_with_the_last_lock_that_names_it() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, &["a"]).unwrap();
    lock(&txn, &["b", "c"]).unwrap();
    assert_eq!(unlock(&txn, &["a", "b"]).unwrap(), 2);
    assert_eq!(held_by(&store, &txn), ["a", "c"], "c names a");
    assert_eq!(locked_flags(&txn), ["c"]);
    assert_eq!(unlock(&txn, &["c"]).unwrap(), 1);
    assert_eq!(held_by(&store, &txn), [""; 0]);
    assert_eq!(txn.held_locks(), 0);
    // The next one is chosen, and nothing of the others is committed.
    lock(&txn, &["d"]).unwrap();
    assert_eq!(txn.blocking().commit().unwrap().keys, 1);
}

/// A call in flight has found the key locked: it goes on to be its lock.
#[test]
fn a_lock_that_a_call_in_flight_shares_is_that_calls() {
    for sibling_fails in [false, true] {
        let store = Arc::new(HeldStore::default());
        let db = Db::new(Arc::clone(&store) as _);
        let txn = begin(&db);
        lock(&txn, &["0", "shared"]).unwrap();
        store.hold("x");
        let mut sibling = Box::pin(txn.lock_keys(["shared", "x"], LockOptions::default()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sibling.as_mut().poll(&mut context).is_pending());
        assert_eq!(unlock(&txn, &["shared"]).unwrap(), 1);
        assert_eq!(held_by(&store.inner, &txn), ["0", "shared"]);
        assert_eq!(locked_flags(&txn), ["0"]);
        if sibling_fails {
            drop(sibling);
            store.answer("x", Ok(()));
            assert_eq!(locked_flags(&txn), ["0"]);
            assert!(!held_by(&store.inner, &txn).contains(&"shared".to_owned()));
        } else {
            store.answer("x", Ok(()));
            assert!(sibling.as_mut().poll(&mut context).is_ready());
            assert_eq!(held_by(&store.inner, &txn), ["0", "shared", "x"]);
            assert_eq!(locked_flags(&txn), ["0", "shared", "x"]);
        }
    }
}

#[test]
fn pending_locks_of_fair_mode_stay() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, &["a"]).unwrap();
    txn.fair_begin().unwrap();
    lock(&txn, &["b"]).unwrap();
    assert_eq!(unlock(&txn, &["b"]).unwrap(), 0);
    txn.fair_done().unwrap();
    assert_eq!(held_by(&store, &txn), ["a", "b"]);
    assert_eq!(unlock(&txn, &["b"]).unwrap(), 1);
    assert_eq!(held_by(&store, &txn), ["a"]);
}

#[test]
fn shared_locks_are_given_back_too() {
    let (store, db) = in_memory();
    let (txn, other) = (begin(&db), begin(&db));
    let shared = LockOptions {
        shared: true,
        ..LockOptions::default()
    };
    lock(&txn, &["a"]).unwrap();
    txn.blocking().lock_keys(["k"], shared).unwrap();
    assert!(lock_at_once(&other, &["k"]).is_err());
    assert_eq!(unlock(&txn, &["k"]).unwrap(), 1);
    lock_at_once(&other, &["k"]).unwrap();
    assert_eq!(held_by(&store, &txn), ["a"]);
    // It is not taken for a shared lock any more.
    txn.put("k", "v").unwrap();
}

#[test]
fn marks_of_an_optimistic_transaction_are_taken_away() {
    for unlocks in [false, true] {
        let (_store, db) = in_memory();
        let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
        lock(&txn, &["k", "l"]).unwrap();
        let other = begin(&db);
        other.put("k", "theirs").unwrap();
        other.blocking().commit().unwrap();
        if unlocks {
            assert_eq!(unlock(&txn, &["k"]).unwrap(), 1);
            assert_eq!(txn.blocking().commit().unwrap().keys, 1);
        } else {
            let failed = txn.blocking().commit();
            assert!(matches!(failed, Err(Error::WriteConflict { .. })));
        }
    }
}

#[test]
fn refused_it_changes_nothing() {
    let (store, db) = in_memory();
    let options = BeginOptions {
        unlocked_writes: UnlockedWrites::Trusted,
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).unwrap();
    lock(&txn, &["k"]).unwrap();
    let refused = unlock(&txn, &["k"]);
    assert!(matches!(refused, Err(Error::OptionConflict { .. })));
    assert_eq!(held_by(&store, &txn), ["k"]);
    assert_eq!(locked_flags(&txn), ["k"]);

    let txn = begin(&db);
    txn.blocking().rollback().unwrap();
    let state = TxnState::RolledBack;
    assert!(
        matches!(unlock(&txn, &["k"]), Err(Error::TransactionClosed { state: is }) if is == state)
    );
}

/// Nobody would ask the store again, and who asks for the key would wait for its answer.
#[test]
fn it_goes_on_if_the_store_does_not_answer_and_the_future_is_dropped() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    for fault in [Fault::Delay, Fault::Error, Fault::LostRequest] {
        let txn = begin(&db);
        lock(&txn, &["a", "b"]).unwrap();
        store.inject(Request::Unlock, fault);
        let mut call = Box::pin(txn.unlock_keys(["b"]));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(locked_flags(&txn), ["a"]);
        drop(call);
        lock(&begin(&db), &["b"]).unwrap();
        lock(&txn, &["b"]).unwrap();
        assert_eq!(held_by(&inner, &txn), ["a", "b"]);
        txn.blocking().rollback().unwrap();
    }
}

/// What is given back goes with the rest.
#[test]
fn a_transaction_that_is_dropped_rolls_back_though_a_give_back_is_not_answered() {
    let (_, _, db) = faulty(
        FaultPlan::new(1)
            .chance(Fault::Error, 1.0)
            .only([Request::Unlock]),
    );
    let txn = begin(&db);
    lock(&txn, &["a", "b"]).unwrap();
    let mut call = Box::pin(txn.unlock_keys(["b"]));
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    drop(call);
    drop(txn);
    lock(&begin(&db), &["a", "b"]).unwrap();
}

/// Whatever they do to each other, flag, register and store agree in the end, and others get what is unlocked.
#[test]
fn siblings_lock_and_unlock_the_same_keys() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let (store, db) = in_memory();
    for _ in 0..200 {
        let txn = begin(&db);
        thread::scope(|scope| {
            for thread in 0..3 {
                let txn = &txn;
                scope.spawn(move || {
                    for step in 0..6 {
                        let two = [KEYS[(thread + step) % 4], KEYS[(thread * 2 + step) % 4]];
                        match step % 2 {
                            0 => drop(lock(txn, &two).unwrap()),
                            _ => drop(unlock(txn, &two).unwrap()),
                        }
                    }
                });
            }
        });
        let flagged = locked_flags(&txn);
        let held = held_by(&store, &txn);
        assert!(
            flagged.iter().all(|key| held.contains(key)),
            "{flagged:?} {held:?}"
        );
        // Beside those there may be a primary that they name.
        assert!(held.len() <= flagged.len() + usize::from(!flagged.is_empty()));
        assert_eq!(txn.held_locks(), held.len());
        assert_eq!(unlock(&txn, &KEYS).unwrap(), flagged.len());
        assert_eq!(held_by(&store, &txn), [""; 0]);
        lock_at_once(&begin(&db), &KEYS).unwrap();
    }
}
