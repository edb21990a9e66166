//! Until when the primary of a call that failed is held (rules 30 and C8).
#![allow(clippy::unwrap_used)]

mod txn_calls;
mod txn_held_store;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use txn_calls::{begin, lock, waiting};
use txn_held_store::{HeldStore, held_by, locked_flags};
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, LockOutcome, MemStore, Transaction};

type Call<'a> = Pin<Box<dyn Future<Output = Result<Vec<LockOutcome>, Error>> + 'a>>;

/// A call that has locked what it could and waits for the rest.
fn stuck<'a>(txn: &'a Transaction, keys: &'a [&str]) -> Call<'a> {
    let mut call: Call<'a> = Box::pin(txn.lock_keys(keys, waiting(Wait::Forever)));
    assert!(poll(&mut call).is_pending());
    call
}

fn poll(call: &mut Call<'_>) -> Poll<Result<Vec<LockOutcome>, Error>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Somebody else has locked "x" and "y".
fn with_rival() -> (Arc<MemStore>, Db, Transaction) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    let rival = begin(&db);
    lock(&rival, &["x", "y"]).unwrap();
    (store, db, rival)
}

#[test]
fn two_calls_that_fail_leave_nothing_locked_whichever_fails_first() {
    for chooser_first in [true, false] {
        let (store, db, _rival) = with_rival();
        let txn = begin(&db);
        let chooser = stuck(&txn, &["a", "x"]);
        let sibling = stuck(&txn, &["b", "y"]);
        if chooser_first {
            drop(chooser);
            assert_eq!(held_by(&store, &txn), ["a", "b"], "b names a");
            drop(sibling);
        } else {
            drop(sibling);
            assert_eq!(held_by(&store, &txn), ["a"]);
            drop(chooser);
        }
        assert_eq!(held_by(&store, &txn), [""; 0]);
        assert_eq!((txn.held_locks(), txn.len()), (0, 0));
        assert!(store.locks().waiting().is_empty());
    }
}

#[test]
fn who_waits_for_the_primary_gets_it_once_nothing_names_it() {
    let (store, db, _rival) = with_rival();
    let (txn, other) = (begin(&db), begin(&db));
    let chooser = stuck(&txn, &["a", "x"]);
    let sibling = stuck(&txn, &["b", "y"]);
    let mut waiter = stuck(&other, &["a"]);
    drop(chooser);
    assert!(poll(&mut waiter).is_pending());
    drop(sibling);
    assert!(matches!(poll(&mut waiter), Poll::Ready(Ok(_))));
    assert_eq!(held_by(&store, &other), ["a"]);
    // The next call chooses.
    lock(&txn, &["c"]).unwrap();
    assert_eq!(held_by(&store, &txn), ["c"]);
}

#[test]
fn a_primary_that_is_named_stays_without_a_flag_and_is_committed_as_a_lock() {
    let (store, db, _rival) = with_rival();
    let txn = begin(&db);
    let chooser = stuck(&txn, &["a", "x"]);
    lock(&txn, &["b"]).unwrap();
    drop(chooser);
    assert_eq!(held_by(&store, &txn), ["a", "b"]);
    assert_eq!(locked_flags(&txn), ["b"]);
    assert_eq!((txn.held_locks(), txn.len()), (2, 1));
    // A call that names it and fails leaves it to the lock that stays.
    drop(stuck(&txn, &["c", "y"]));
    assert_eq!(held_by(&store, &txn), ["a", "b"]);
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
    assert_eq!(held_by(&store, &txn), [""; 0]);
}

#[test]
fn a_primary_that_is_claimed_again_is_a_lock_like_any_other() {
    let (store, db, _rival) = with_rival();
    let txn = begin(&db);
    let chooser = stuck(&txn, &["a", "x"]);
    let sibling = stuck(&txn, &["b", "y"]);
    drop(chooser);
    assert_eq!(lock(&txn, &["a"]).unwrap(), [true]);
    drop(sibling);
    assert_eq!(held_by(&store, &txn), ["a"]);
    assert_eq!(locked_flags(&txn), ["a"]);
}

#[test]
fn a_shared_lock_keeps_the_primary_that_it_names() {
    let (store, db, rival) = with_rival();
    let txn = begin(&db);
    let chooser = stuck(&txn, &["a", "x"]);
    let shared = LockOptions {
        shared: true,
        ..waiting(Wait::NoWait)
    };
    txn.blocking().lock_keys(["s"], shared.clone()).unwrap();
    drop(chooser);
    assert_eq!(held_by(&store, &txn), ["a", "s"]);
    drop(txn);
    rival.blocking().rollback().unwrap();
    assert!(store.locks().is_empty());
}

#[test]
fn a_primary_that_is_named_is_kept_alive() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    let rival = begin(&db);
    lock(&rival, &["x"]).unwrap();
    let options = BeginOptions {
        lock_ttl: Duration::from_millis(50),
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).unwrap();
    let chooser = stuck(&txn, &["a", "x"]);
    lock(&txn, &["b"]).unwrap();
    drop(chooser);
    store.wait_beat("a");
    assert_eq!(held_by(&store.inner, &txn), ["a", "b"]);
    txn.blocking().commit().unwrap();
}

/// No call has locked it: a write of it is checked like any that was not locked.
#[test]
fn a_write_of_a_primary_that_nobody_locked_is_checked_for_conflicts() {
    let (_, db, _rival) = with_rival();
    let (txn, writer) = (begin(&db), begin(&db));
    writer.put("a", "newer").unwrap();
    writer.blocking().commit().unwrap();
    let chooser = stuck(&txn, &["a", "x"]);
    lock(&txn, &["b"]).unwrap();
    drop(chooser);
    txn.put("a", "older").unwrap();
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::WriteConflict { key, .. }) if key == "a"));
}

/// Rule 44: of two calls that ask for it anew beside each other one fails, the other has it under the primary that there is.
#[test]
fn a_fair_lock_of_the_attempt_before_is_replaced_by_whichever_call_is_granted_it_anew() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    lock(&txn, &["a"]).unwrap();
    let attempts = || {
        let holders = store.inner.locks().holders(b"a");
        holders[0].attempts.clone()
    };
    let before = attempts();
    txn.fair_retry().unwrap();
    lock(&txn, &["c"]).unwrap();
    store.hold("a");
    let first = stuck(&txn, &["a"]);
    let beside = txn.lock_keys(["a"], waiting(Wait::NoWait));
    let mut beside: Call<'_> = Box::pin(beside);
    assert!(poll(&mut beside).is_pending());
    drop(first);
    store.answer("a", Ok(()));
    assert!(matches!(poll(&mut beside), Poll::Ready(Ok(_))));
    drop(beside);
    txn.fair_done().unwrap();
    let after = attempts();
    assert_eq!(after.len(), 1);
    assert_ne!(after, before, "that one names a primary that was given up");
    assert_eq!(held_by(&store.inner, &txn), ["a", "c"]);
}

/// Rule 44: asked for anew, under its own name because the primary of the attempt before was given up, and denied.
#[test]
fn a_fair_lock_that_is_denied_as_the_new_primary_leaves_the_choice_to_the_next_call() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    lock(&txn, &["a"]).unwrap();
    lock(&txn, &["b"]).unwrap();
    txn.fair_retry().unwrap();
    store.hold("b");
    let mut again = stuck(&txn, &["b"]);
    let denied = Error::LockNotAvailable {
        key: "b".into(),
        holders: vec![],
    };
    store.answer("b", Err(denied));
    assert!(matches!(poll(&mut again), Poll::Ready(Err(_))));
    let locked = txn.blocking().lock_keys(["c"], waiting(Wait::NoWait));
    assert!(locked.unwrap()[0].locked);
    txn.fair_done().unwrap();
    assert_eq!(held_by(&store.inner, &txn), ["c"]);
}
