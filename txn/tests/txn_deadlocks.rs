//! Deadlocks of transactions: who is the victim, which of its calls fail, and what it may do then (rules 41 and 42, S29).
#![allow(clippy::unwrap_used)]

mod faulty;

use faulty::faulty;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::{BeginOptions, Db, Error, LockOptions, MemStore, OnDrop, Transaction, TxnState};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    (store, db)
}

/// A transaction that holds `key`.
fn holding(db: &Db, key: &str) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).unwrap();
    lock(&txn, key).unwrap();
    txn
}

fn forever() -> LockOptions {
    LockOptions {
        wait: Some(Wait::Forever),
        ..LockOptions::default()
    }
}

fn lock(txn: &Transaction, key: &str) -> Result<(), Error> {
    txn.blocking().lock_keys([key], forever()).map(drop)
}

fn come_to_wait(store: &MemStore, count: usize) {
    while store.locks().waiting().len() < count {
        thread::yield_now();
    }
}

#[test]
fn the_youngest_is_the_victim_whoever_closes_the_circle() {
    for last in 0..3 {
        let (store, db) = in_memory();
        let keys = ["a", "b", "c"];
        let ring = keys.map(|key| holding(&db, key));
        thread::scope(|scope| {
            let ask = |place: usize| {
                let (txn, next) = (&ring[place], keys[(place + 1) % 3]);
                scope.spawn(move || {
                    let locked = lock(txn, next);
                    // A victim gets out of the way; the others end one after another.
                    txn.blocking().rollback().unwrap();
                    locked
                })
            };
            let others = [(last + 1) % 3, (last + 2) % 3].map(|place| (place, ask(place)));
            come_to_wait(&store, 2);
            let closing = (last, ask(last));
            for (place, call) in others.into_iter().chain([closing]) {
                match call.join().unwrap() {
                    Ok(()) => assert_ne!(place, 2, "closed by {last}"),
                    Err(Error::Deadlock { cycle, .. }) => {
                        assert_eq!((place, cycle.len()), (2, 3));
                        let waiters: Vec<_> = cycle.iter().map(|edge| edge.waiter).collect();
                        let expected = [2, 0, 1].map(|place| ring[place].start_ts());
                        assert_eq!(waiters, expected);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert!(store.locks().is_empty());
    }
}

#[test]
fn of_the_victims_calls_only_the_one_on_the_circle_fails() {
    let (store, db) = in_memory();
    let [elder, beside, victim] = ["a", "b", "c"].map(|key| holding(&db, key));
    thread::scope(|scope| {
        let waits_on = scope.spawn(|| lock(&victim, "b"));
        come_to_wait(&store, 1);
        let on_circle = scope.spawn(|| lock(&victim, "a"));
        come_to_wait(&store, 2);
        let goes_on = scope.spawn(|| lock(&elder, "c"));
        let failed = on_circle.join().unwrap();
        assert!(
            matches!(&failed, Err(Error::Deadlock { cycle, .. }) if cycle.len() == 2),
            "{failed:?}"
        );
        // The sibling is still there, behind a transaction that waits for nobody.
        beside.blocking().rollback().unwrap();
        waits_on.join().unwrap().unwrap();
        victim.blocking().rollback().unwrap();
        goes_on.join().unwrap().unwrap();
    });
    assert_eq!(elder.held_locks(), 2);
}

/// A transaction has no edge to itself.
#[test]
fn siblings_that_hold_and_wait_for_each_others_keys_are_no_deadlock() {
    let (store, db) = in_memory();
    let rival = holding(&db, "m");
    let txn = holding(&db, "0");
    thread::scope(|scope| {
        let calls = [["a", "m"], ["m", "z"], ["a", "z"]].map(|keys| {
            let txn = &txn;
            scope.spawn(move || txn.blocking().lock_keys(keys, forever()))
        });
        come_to_wait(&store, 1);
        // A deadlock beside it is found meanwhile: the search has met the siblings' edges too.
        let (left, right) = (holding(&db, "left"), holding(&db, "right"));
        let waits = scope.spawn(move || {
            let locked = lock(&right, "left");
            right.blocking().rollback().unwrap();
            locked
        });
        lock(&left, "right").unwrap();
        assert!(matches!(waits.join().unwrap(), Err(Error::Deadlock { .. })));
        rival.blocking().rollback().unwrap();
        for call in calls {
            assert!(call.join().unwrap().is_ok());
        }
    });
    assert_eq!(txn.held_locks(), 4);
    assert_eq!(store.locks().stats().deadlocks, 1);
}

/// Rule 41: the store takes its time with what the victim gives back.
#[test]
fn a_victim_is_told_once_what_it_gives_back_is_given_back() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    let (elder, younger) = (holding(&db, "a"), holding(&db, "b"));
    thread::scope(|scope| {
        let waits = scope.spawn(|| lock(&elder, "b"));
        come_to_wait(&inner, 1);
        store.inject(Request::Unlock, Fault::Delay);
        let failed = younger.blocking().lock_keys(["0", "1", "a"], forever());
        assert!(matches!(failed, Err(Error::Deadlock { .. })), "{failed:?}");
        assert_eq!(store.happened(Fault::Delay), 1);
        // "0" and "1" are not held any more; "b" is, which another call had locked.
        assert_eq!((inner.locks().len(), younger.held_locks()), (2, 1));
        younger.blocking().rollback().unwrap();
        waits.join().unwrap().unwrap();
    });
}

/// Nobody would ask the store again, and siblings would wait for its answer.
#[test]
fn what_a_victim_gives_back_goes_back_also_where_its_call_is_dropped_meanwhile() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    for fault in [Fault::Delay, Fault::Error] {
        let (elder, younger) = (holding(&db, "a"), holding(&db, "b"));
        thread::scope(|scope| {
            let waits = scope.spawn(|| lock(&elder, "b"));
            come_to_wait(&inner, 1);
            store.inject(Request::Unlock, fault);
            let mut call = Box::pin(younger.lock_keys(["0", "a"], forever()));
            let mut context = Context::from_waker(Waker::noop());
            while store.happened(fault) == 0 {
                assert!(call.as_mut().poll(&mut context).is_pending());
                thread::yield_now();
            }
            drop(call);
            lock(&younger, "0").unwrap();
            assert_eq!(younger.held_locks(), 2);
            younger.blocking().rollback().unwrap();
            waits.join().unwrap().unwrap();
        });
    }
}

/// Rule 41: nothing can run again in the transaction.
#[test]
fn a_commit_that_is_the_victim_has_rolled_back() {
    let (store, db) = in_memory();
    let (elder, younger) = (holding(&db, "a"), holding(&db, "b"));
    younger.put("a", "v").unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| lock(&elder, "b"));
        come_to_wait(&store, 1);
        let failed = younger.blocking().commit();
        assert!(matches!(failed, Err(Error::Deadlock { .. })), "{failed:?}");
        assert_eq!(younger.state(), TxnState::RolledBack);
        waits.join().unwrap().unwrap();
    });
}
