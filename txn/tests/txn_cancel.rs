//! Calls that are ended by a token.
#![allow(clippy::unwrap_used)]

mod faulty;
mod txn_calls;

use faulty::faulty;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use txn_calls::{begin, lock, waiting};
use untorn_txn::lock::{LockMode, Wait};
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::{
    BeginOptions, CancelToken, Db, Error, LockOptions, MemStore, Mode, RangeLockOptions,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

#[test]
fn a_cancelled_call_ends_at_once_and_gives_back_what_it_took() {
    let (store, db) = in_memory();
    let (holder, txn) = (begin(&db), begin(&db));
    lock(&holder, &["k"]).unwrap();
    let token = CancelToken::new();
    let options = LockOptions {
        cancel: Some(token.clone()),
        ..waiting(Wait::Forever)
    };
    std::thread::scope(|scope| {
        let call = scope.spawn(|| txn.blocking().lock_keys(["a", "k"], options.clone()));
        while store.locks().waiting().is_empty() {
            std::thread::yield_now();
        }
        token.cancel();
        assert!(matches!(call.join().unwrap(), Err(Error::Cancelled)));
    });
    assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    assert_eq!(store.locks().mode_of(txn.start_ts(), b"a"), None);
    assert_eq!(
        store.locks().mode_of(holder.start_ts(), b"k"),
        Some(LockMode::Exclusive)
    );
    // A token that is cancelled stays so.
    let failed = txn.blocking().lock_keys(["b"], options);
    assert!(matches!(failed, Err(Error::Cancelled)));
}

#[test]
fn a_call_that_is_given_a_cancelled_token_answers_that_and_does_nothing() {
    let (store, db) = in_memory();
    let token = CancelToken::new();
    token.cancel();
    let cancelled = LockOptions {
        cancel: Some(token),
        ..LockOptions::default()
    };
    let is_cancelled = |locked| matches!(locked, Err(Error::Cancelled));
    let none: [&str; 0] = [];
    for mode in [Mode::Pessimistic, Mode::Optimistic] {
        let options = BeginOptions {
            mode,
            ..BeginOptions::default()
        };
        let txn = db.blocking().begin(options).unwrap();
        let lock = |options| txn.blocking().lock_keys(["a", "b"], options);
        assert!(is_cancelled(lock(cancelled.clone())), "{mode:?}");
        let refused = LockOptions {
            only_if_exists: true,
            ..cancelled.clone()
        };
        assert!(is_cancelled(lock(refused)), "{mode:?}");
        let empty = txn.blocking().lock_keys(none, cancelled.clone());
        assert!(is_cancelled(empty), "{mode:?}");
        assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    }
    // A call of several keys would have ended the mode.
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    let locked = txn.blocking().lock_keys(["a", "b"], cancelled);
    assert!(is_cancelled(locked));
    txn.fair_cancel().unwrap();
    assert!(store.locks().is_empty());
}

#[test]
fn a_call_of_an_optimistic_transaction_that_waits_for_values_is_cancelled() {
    let (store, _, db) = faulty(FaultPlan::new(1));
    let options = BeginOptions {
        mode: Mode::Optimistic,
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).unwrap();
    store.inject(Request::Get, Fault::Delay);
    let token = CancelToken::new();
    let options = LockOptions {
        return_values: true,
        cancel: Some(token.clone()),
        ..LockOptions::default()
    };
    let mut call = pin!(txn.lock_keys(["a"], options));
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    token.cancel();
    let ended = call.as_mut().poll(&mut context);
    assert!(matches!(ended, Poll::Ready(Err(Error::Cancelled))));
    assert_eq!(txn.len(), 0);
}

#[test]
fn a_range_that_locks_ends_with_its_token_and_keeps_what_it_has_locked() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    for key in ["a", "b", "c"] {
        txn.put(key, "1").unwrap();
    }
    txn.blocking().commit().unwrap();
    let txn = begin(&db);
    let token = CancelToken::new();
    let options = RangeLockOptions {
        page: 2,
        lock: LockOptions {
            cancel: Some(token.clone()),
            ..LockOptions::default()
        },
        ..RangeLockOptions::default()
    };
    let mut range = txn.blocking().range_for_update::<&str>(.., options);
    assert_eq!(range.next().unwrap().unwrap().0, "a");
    token.cancel();
    assert!(matches!(range.next(), Some(Err(Error::Cancelled))));
    assert!(range.next().is_none(), "it has ended");
    let locked = |key: &[u8]| store.locks().mode_of(txn.start_ts(), key).is_some();
    assert_eq!(
        [b"a", b"b", b"c"].map(|key| locked(key)),
        [true, true, false]
    );
}
