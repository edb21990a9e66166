//! Signs of life, what ends them, and what is left then (rules 50 and 51, S23).
#![allow(clippy::unwrap_used)]

mod faulty;

use faulty::faulty;
use std::sync::Arc;
use std::time::{Duration, Instant};
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::store::{LockKey, LockTerms};
use untorn_txn::{
    BeginOptions, Db, Error, LockOptions, Loss, MemStore, OnDrop, Store, Transaction,
};

/// Far above what a thread may have to wait for a processor.
const SHORT: Duration = Duration::from_millis(300);

fn begin(db: &Db, options: BeginOptions) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..options
    };
    db.blocking().begin(options).unwrap()
}

fn short_lived() -> BeginOptions {
    BeginOptions {
        lock_ttl: SHORT,
        ..BeginOptions::default()
    }
}

fn lock(txn: &Transaction, key: &str) -> Result<(), Error> {
    let locked = txn.blocking().lock_keys([key], LockOptions::default());
    locked.map(drop)
}

fn loss(result: Result<(), Error>) -> Option<Loss> {
    match result {
        Ok(()) => None,
        Err(Error::LockLost { loss, .. }) => Some(loss),
        Err(error) => panic!("{error}"),
    }
}

/// Locks anew until the locks are lost.
fn until_lost(txn: &Transaction) -> Loss {
    loop {
        if let Some(loss) = loss(lock(txn, "k")) {
            return loss;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_store_that_does_not_answer_for_a_whole_time_to_live_means_the_locks_are_lost() {
    let plan = FaultPlan::new(1).chance(Fault::Error, 1.0);
    let (store, _, db) = faulty(plan.only([Request::Heartbeat]));
    // A beat that comes late is the only one.
    let until = Instant::now() + Duration::from_secs(60);
    let txn = loop {
        let asked = store.happened(Fault::Error);
        let txn = begin(&db, short_lived());
        lock(&txn, "k").unwrap();
        assert_eq!(until_lost(&txn), Loss::Unanswered);
        if store.happened(Fault::Error) > asked + 1 {
            break txn;
        }
        assert!(Instant::now() < until, "it is not asked again");
    };
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::LockLost { .. })), "{failed:?}");
    assert!(failed.unwrap_err().is_retryable());
}

#[test]
fn answers_that_come_again_keep_the_locks() {
    let (store, _, db) = faulty(FaultPlan::new(1));
    let txn = begin(
        &db,
        BeginOptions {
            lock_ttl: Duration::from_secs(5),
            ..BeginOptions::default()
        },
    );
    // Two beats that fail, and the next ones are answered.
    store.inject(Request::Heartbeat, Fault::Error);
    store.inject(Request::Heartbeat, Fault::LostAnswer);
    lock(&txn, "k").unwrap();
    while store.happened(Fault::LostAnswer) == 0 {
        std::thread::yield_now();
    }
    lock(&txn, "l").unwrap();
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
}

#[test]
fn past_its_lifetime_a_transaction_has_lost_its_locks_and_others_get_them() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    let options = BeginOptions {
        max_lifetime: Some(SHORT),
        lock_ttl: 4 * SHORT,
        ..BeginOptions::default()
    };
    let txn = begin(&db, options);
    lock(&txn, "k").unwrap();
    let other = begin(&db, BeginOptions::default());
    let waits = LockOptions {
        wait: Some(Wait::For(Duration::from_secs(30))),
        ..LockOptions::default()
    };
    other.blocking().lock_keys(["k"], waits).unwrap();
    assert_eq!(loss(lock(&txn, "l")), Some(Loss::Lifetime));
    txn.blocking().rollback().unwrap();
    other.blocking().commit().unwrap();
}

#[test]
fn a_lifetime_ends_also_where_a_time_to_live_never_does() {
    let db = Db::in_memory();
    let options = BeginOptions {
        max_lifetime: Some(SHORT),
        lock_ttl: Duration::MAX,
        ..BeginOptions::default()
    };
    let txn = begin(&db, options);
    lock(&txn, "k").unwrap();
    assert_eq!(until_lost(&txn), Loss::Lifetime);
}

#[test]
fn what_the_store_has_ended_of_its_own_accord_is_lost() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    let txn = begin(&db, BeginOptions::default());
    lock(&txn, "k").unwrap();
    let answer = store.rollback(txn.start_ts());
    drop(answer);
    assert_eq!(loss(lock(&txn, "l")), Some(Loss::Refused));
    assert_eq!(loss(lock(&txn, "m")), Some(Loss::Refused));
    assert!(matches!(
        txn.blocking().commit(),
        Err(Error::LockLost { .. })
    ));
}

/// Rule 50, R28 and S23: a sibling's failure never stops it.
#[test]
fn a_failed_call_does_not_stop_the_signs_of_life() {
    let plan = FaultPlan::new(1).chance(Fault::Error, 1.0);
    let (store, _, db) = faulty(plan.only([Request::Heartbeat]));
    let holder = begin(&db, BeginOptions::default());
    lock(&holder, "held").unwrap();
    let txn = begin(&db, short_lived());
    lock(&txn, "k").unwrap();
    let no_wait = LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    };
    assert!(txn.blocking().lock_keys(["held"], no_wait).is_err());
    // Beats go on: they are seen by their failing.
    while store.happened(Fault::Error) == 0 {
        std::thread::yield_now();
    }
}

/// Rule 51, as far as it can be seen without stopping the process: no sign of life at all, and the owner lives.
#[test]
fn a_lock_of_a_living_owner_does_not_expire_however_late_its_signs_are() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    let txn = begin(
        &db,
        BeginOptions {
            lock_ttl: Duration::ZERO,
            ..BeginOptions::default()
        },
    );
    let terms = LockTerms {
        ttl: Duration::ZERO,
        ..LockTerms::new("k".into())
    };
    drop(store.lock(txn.start_ts(), &[LockKey::new("k".into(), 1)], &terms));
    let other = begin(&db, BeginOptions::default());
    let no_wait = LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    };
    let failed = other.blocking().lock_keys(["k"], no_wait);
    assert!(matches!(failed, Err(Error::LockNotAvailable { .. })));
}
