//! Commits and rollbacks of a store that does not answer, and deadlines (rules 23, 55, 60).
#![allow(clippy::unwrap_used)]

mod faulty;

use faulty::faulty;
use std::time::{Duration, Instant};
use untorn_txn::lock::Wait;
use untorn_txn::store::TxnStatus;
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Error, LockOptions, OnDrop, Transaction, TxnState,
};

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn written(db: &Db) -> Transaction {
    let txn = begin(db);
    txn.put("k", "v").unwrap();
    txn
}

fn impatient() -> CommitOptions {
    CommitOptions::default().patience(Duration::from_millis(20))
}

#[test]
fn a_lost_answer_to_the_decision_is_asked_for_until_it_is_known() {
    let (store, _, db) = faulty(FaultPlan::new(1));
    for fault in [Fault::LostAnswer, Fault::LostRequest, Fault::Error] {
        let txn = written(&db);
        store.inject(Request::Commit, fault);
        store.inject(Request::Status, Fault::Error);
        let info = txn.blocking().commit().unwrap();
        assert!(info.commit_ts > Some(txn.start_ts()));
        assert_eq!(txn.state(), TxnState::Committed);
    }
}

#[test]
fn a_store_that_stays_silent_leaves_the_commit_undetermined_and_may_be_asked_later() {
    for (fault, is_committed) in [(Fault::LostAnswer, true), (Fault::LostRequest, false)] {
        let plan = FaultPlan::new(1).chance(fault, 1.0);
        let (store, _, db) = faulty(plan.only([Request::Commit]));
        // The status is known to nobody either.
        for _ in 0..1_000 {
            store.inject(Request::Status, Fault::Error);
        }
        let txn = written(&db);
        let failed = txn.blocking().commit_with(impatient()).unwrap_err();
        assert!(
            matches!(failed, Error::Undetermined { start_ts, .. } if start_ts == txn.start_ts())
        );
        assert!(!failed.is_retryable());
        assert_eq!(txn.state(), TxnState::Undetermined);
        let late = txn.blocking().rollback();
        assert!(matches!(
            late,
            Err(Error::TransactionClosed {
                state: TxnState::Undetermined
            })
        ));
        let outcome = loop {
            if let Ok(outcome) = txn.blocking().outcome() {
                break outcome;
            }
        };
        assert_eq!(matches!(outcome, TxnStatus::Committed(_)), is_committed);
        assert_eq!(
            outcome == TxnStatus::Open,
            !is_committed,
            "nothing is rolled back"
        );
        // It is asked for until the store has heard of it.
        store.heal();
        let until = Instant::now() + Duration::from_secs(20);
        while !matches!(txn.blocking().outcome(), Ok(TxnStatus::Committed(_))) {
            assert!(Instant::now() < until, "{:?}", txn.blocking().outcome());
            std::thread::yield_now();
        }
    }
}

/// Rule 23.
#[test]
fn a_rollback_that_is_not_answered_is_closed_and_told_in_the_background() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    for ends_by_drop in [false, true] {
        let txn = written(&db);
        txn.blocking()
            .lock_keys(["k"], LockOptions::default())
            .unwrap();
        store.inject(Request::Rollback, Fault::LostRequest);
        if ends_by_drop {
            drop(txn);
        } else {
            let failed = txn.blocking().rollback();
            assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
            assert_eq!(txn.state(), TxnState::RolledBack);
        }
        // The lock goes once the store has heard of it.
        let next = begin(&db);
        next.blocking()
            .lock_keys(["k"], LockOptions::default())
            .unwrap();
        next.blocking().rollback().unwrap();
    }
    assert!(inner.locks().is_empty());
}

#[test]
fn a_failed_prewrite_rolls_back_also_where_the_rollback_is_not_answered() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    let txn = written(&db);
    store.inject(Request::Prewrite, Fault::LostAnswer);
    store.inject(Request::Rollback, Fault::LostRequest);
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!(txn.state(), TxnState::RolledBack);
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(20));
    assert!(closed.is_idle && closed.left.is_empty(), "{closed:?}");
    assert!(inner.locks().is_empty());
}

/// Rule 60.
#[test]
fn a_deadline_before_the_decision_rolls_back() {
    let (_, inner, db) = faulty(FaultPlan::new(1));
    let holder = begin(&db);
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(5)] {
        let txn = written(&db);
        let options = CommitOptions::default().deadline(Instant::now() + wait);
        let failed = txn.blocking().commit_with(options);
        assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
        assert_eq!(txn.state(), TxnState::RolledBack);
    }
    holder.blocking().rollback().unwrap();
    assert!(inner.locks().is_empty());
}

/// Rules 32 and 37: nobody knows whether the lock was granted, so it is given back.
#[test]
fn a_lock_whose_answer_was_lost_is_given_back() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    let txn = begin(&db);
    store.inject(Request::Lock, Fault::LostAnswer);
    store.inject(Request::Unlock, Fault::LostRequest);
    let failed = txn.blocking().lock_keys(["k"], LockOptions::default());
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    let other = begin(&db);
    other
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    txn.blocking()
        .lock_keys(["j"], LockOptions::default())
        .unwrap();
    assert_eq!(inner.locks().len(), 2);
}

/// A call for "k" and "z" that fails, because `holder` has "z": the lock on "k" goes back.
fn give_k_back(txn: &Transaction, holder: &Transaction) {
    holder
        .blocking()
        .lock_keys(["z"], LockOptions::default())
        .unwrap();
    let refused = txn.blocking().lock_keys(["k", "z"], no_wait());
    assert!(
        matches!(&refused, Err(Error::LockNotAvailable { key, holders })
            if key == "z" && *holders == [holder.start_ts()]),
        "{refused:?}"
    );
}

fn no_wait() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

/// Rule 37: the key is not asked for, and who does not wait is told so, and that it is nobody else's.
#[test]
fn a_call_that_does_not_wait_is_refused_while_a_give_back_stays_unanswered() {
    for fault in [Fault::Error, Fault::LostRequest, Fault::LostAnswer] {
        let plan = FaultPlan::new(1).chance(fault, 1.0);
        let (store, inner, db) = faulty(plan.only([Request::Unlock]));
        let (holder, txn) = (begin(&db), begin(&db));
        give_k_back(&txn, &holder);
        for _ in 0..2 {
            let refused = txn.blocking().lock_keys(["k"], no_wait());
            assert!(
                matches!(&refused, Err(Error::LockNotAvailable { key, holders })
                    if key == "k" && *holders == [txn.start_ts()]),
                "{refused:?}"
            );
        }
        txn.blocking().lock_keys(["l"], no_wait()).unwrap();
        store.heal();
        txn.blocking()
            .lock_keys(["k"], LockOptions::default())
            .unwrap();
        txn.blocking().lock_keys(["k"], no_wait()).unwrap();
        txn.blocking().rollback().unwrap();
        holder.blocking().rollback().unwrap();
        assert!(inner.locks().is_empty());
    }
}

/// It waits for answers, its own give-back's too; for nobody else.
#[test]
fn a_call_that_does_not_wait_takes_a_key_whose_give_back_is_answered() {
    let (store, _, db) = faulty(FaultPlan::new(1));
    for _ in 0..10 {
        let (holder, txn) = (begin(&db), begin(&db));
        // Answered by the database's thread, after a while.
        store.inject(Request::Unlock, Fault::Delay);
        store.inject(Request::Unlock, Fault::Delay);
        give_k_back(&txn, &holder);
        txn.blocking().lock_keys(["k"], no_wait()).unwrap();
        txn.blocking().rollback().unwrap();
        holder.blocking().rollback().unwrap();
    }
}
