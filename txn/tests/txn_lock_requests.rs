//! What a lock call sends to its store, and what it gives back when a part of a request fails (rules 26, 30 to 32, 37, 39).
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use txn_held_store::{HeldStore, locked_flags};
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
use untorn_txn::{BeginOptions, Db, Error, KeyFlags, LockOptions, OnDrop, Transaction};

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn no_wait() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

fn is_locked(txn: &Transaction, key: &str) -> bool {
    let flags = txn.buffer().get_flags(key);
    flags.is_some_and(|flags| flags.contains(KeyFlags::LOCKED))
}

#[test]
fn new_keys_go_in_one_request_behind_the_primary() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(store.clone());
    let txn = begin(&db);
    txn.blocking()
        .lock_keys(["d", "b", "a", "c"], no_wait())
        .unwrap();
    assert_eq!(store.requests(), [vec!["a"], vec!["b", "c", "d"]]);
}

#[test]
fn what_is_held_is_not_asked_for_and_does_not_divide_the_request() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(store.clone());
    let txn = begin(&db);
    txn.blocking().lock_keys(["b", "d"], no_wait()).unwrap();
    store.requests();
    let outcomes = txn
        .blocking()
        .lock_keys(["a", "b", "c", "d", "e"], no_wait())
        .unwrap();
    let already: Vec<bool> = outcomes
        .iter()
        .map(|outcome| outcome.already_locked)
        .collect();
    assert_eq!(already, [false, true, false, true, false]);
    assert_eq!(store.requests(), [["a", "c", "e"]]);
}

/// The store stops at the key that another holds: that one is asked for alone, and the rest after it.
#[test]
fn a_key_that_is_waited_for_is_asked_for_alone_and_the_rest_behind_it() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(store.clone());
    let (txn, other) = (begin(&db), begin(&db));
    other.blocking().lock_keys(["c"], no_wait()).unwrap();
    store.requests();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            txn.blocking()
                .lock_keys(["a", "b", "c", "d"], LockOptions::default())
        });
        store.wait_sent("c", 3);
        other.blocking().rollback().unwrap();
        assert_eq!(call.join().unwrap().unwrap().len(), 4);
    });
    let sent = store.requests();
    assert_eq!(sent.last().unwrap(), &["d"]);
    assert_eq!(sent.iter().filter(|request| **request == ["c"]).count(), 1);
}

/// Nobody knows what became of the half that was lost; the other half was granted. Both are given back, and nothing else.
#[test]
fn a_request_of_which_a_part_is_lost_gives_back_all_of_it() {
    let held = Arc::new(HeldStore::default());
    let store = Arc::new(FaultyStore::new(held.clone(), FaultPlan::new(0)));
    let db = Db::new(store.clone());
    let txn = begin(&db);
    txn.blocking().lock_keys(["0"], no_wait()).unwrap();
    store.inject(Request::Lock, Fault::Part);
    let failed = txn.blocking().lock_keys(["a", "b", "c", "d"], no_wait());
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    for key in ["a", "b", "c", "d"] {
        assert_eq!(held.given_back(key), 1, "{key}");
        assert!(!is_locked(&txn, key), "{key}");
    }
    assert_eq!(held.given_back("0"), 0);
    assert!(is_locked(&txn, "0"));
    let other = begin(&db);
    assert!(
        other
            .blocking()
            .lock_keys(["a", "b", "c", "d"], no_wait())
            .is_ok()
    );
    assert!(other.blocking().lock_keys(["0"], no_wait()).is_err());
    other.blocking().rollback().unwrap();
    // The keys may be asked for again, under other numbers.
    assert!(
        txn.blocking()
            .lock_keys(["a", "b", "c", "d"], no_wait())
            .is_ok()
    );
}

/// Rule 39: without waiting it is all keys or none.
#[test]
fn a_request_that_does_not_wait_and_fails_in_the_middle_keeps_no_key() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(store.clone());
    let (txn, other) = (begin(&db), begin(&db));
    other.blocking().lock_keys(["c"], no_wait()).unwrap();
    let failed = txn.blocking().lock_keys(["a", "b", "c", "d"], no_wait());
    let Err(Error::LockNotAvailable { key, .. }) = failed else {
        panic!("it is held: {failed:?}");
    };
    assert_eq!(key, "c");
    assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    assert!(
        other
            .blocking()
            .lock_keys(["a", "b", "d"], no_wait())
            .is_ok()
    );
}

/// Rule 26: the prewrite, which a store may not check locked keys in, is never sent.
#[test]
fn a_key_locked_without_a_question_and_then_inserted_is_looked_at_before_the_prewrite() {
    let held = Arc::new(HeldStore::default());
    let store = Arc::new(FaultyStore::new(held.clone(), FaultPlan::new(0)));
    let db = Db::new(store.clone());
    let inserted = || {
        let txn = begin(&db);
        txn.blocking().lock_keys(["k"], no_wait()).unwrap();
        txn.insert("k", "1").unwrap();
        txn
    };
    assert_eq!(inserted().blocking().commit().unwrap().keys, 1);
    let again = inserted();
    store.inject(Request::Prewrite, Fault::LostRequest);
    let failed = again.blocking().commit();
    assert!(
        matches!(&failed, Err(Error::KeyExists { key }) if key == "k"),
        "{failed:?}"
    );
    assert_eq!(store.happened(Fault::LostRequest), 0);
    assert!(held.inner.locks().is_empty());
}

/// Rule 37: nobody knows whether the store has the lock. Neither the wait's end nor the deadline changes that. (A call that
/// does not wait: `txn_unanswered`.)
#[test]
fn a_key_whose_give_back_is_not_answered_is_asked_for_again_only_afterwards_and_as_of_then() {
    let held = Arc::new(HeldStore::default());
    let silent = FaultPlan::new(1).chance(Fault::LostRequest, 1.0);
    let silent = silent.only([Request::Unlock]);
    let store = Arc::new(FaultyStore::new(held.clone(), silent));
    let db = Db::new(store.clone());
    let txn = begin(&db);
    txn.blocking().lock_keys(["0"], no_wait()).unwrap();
    store.inject(Request::Lock, Fault::LostAnswer);
    let failed = txn.blocking().lock_keys(["k"], no_wait());
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");

    let short = Duration::from_millis(5);
    let timed = LockOptions {
        wait: Some(Wait::For(short)),
        ..LockOptions::default()
    };
    let failed = txn.blocking().lock_keys(["k"], timed);
    assert!(
        matches!(&failed, Err(Error::LockWaitTimeout { key, .. }) if key == "k"),
        "{failed:?}"
    );
    let until = LockOptions {
        wait: Some(Wait::Forever),
        deadline: Some(Instant::now() + short),
        ..LockOptions::default()
    };
    let failed = txn.blocking().lock_keys(["k"], until);
    assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
    assert_eq!((held.sent("k"), held.given_back("k")), (1, 0));

    let healed_at = db.blocking().timestamp().unwrap();
    store.heal();
    let outcomes = txn.blocking().lock_keys(["k"], LockOptions::default());
    let outcome = &outcomes.unwrap()[0];
    assert!(outcome.locked && !outcome.already_locked && outcome.for_update_ts > healed_at);
    assert_eq!((held.sent("k"), held.given_back("k")), (2, 1));
}

/// Rules 33 and 35: the call had found its key in the buffer and reserved nothing for it.
#[test]
fn a_key_that_a_rollback_took_out_of_a_full_buffer_is_flagged_when_it_is_locked() {
    for is_fair in [false, true] {
        let store = Arc::new(HeldStore::default());
        let db = Db::new(Arc::clone(&store) as _);
        let mut options = BeginOptions::default();
        options.limits.buffer = 4;
        let txn = db.blocking().begin(options).unwrap();
        txn.blocking()
            .lock_keys(["a"], LockOptions::default())
            .unwrap();
        let stage = txn.stage().unwrap();
        txn.put("d", "v").unwrap();
        if is_fair {
            txn.fair_begin().unwrap();
        }
        store.hold("d");
        let mut call = Box::pin(txn.lock_keys(["d"], LockOptions::default()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        stage.cleanup().unwrap();
        txn.put("c", "vv").unwrap();
        store.answer("d", Ok(()));
        let locked = call.as_mut().poll(&mut context);
        assert!(matches!(locked, Poll::Ready(Ok(_))), "{locked:?}");
        if is_fair {
            txn.fair_done().unwrap();
        }
        assert_eq!(locked_flags(&txn), ["a", "d"]);
        assert_eq!((txn.held_locks(), txn.size()), (2, 5));
        assert!(matches!(txn.put("e", "v"), Err(Error::TxnTooLarge { .. })));
        assert_eq!(txn.blocking().unlock_keys(["d"]).unwrap(), 1);
    }
}
