//! The ways out of a transaction that flushes as it goes on, and what is left of it then (rules 18 to 23).
#![allow(clippy::unwrap_used)]

mod txn_pipelined_db;

use std::thread;
use std::time::{Duration, Instant};
use txn_pipelined_db::*;
use untorn_txn::lock::Wait;
use untorn_txn::store::mem::LogOptions;
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Error, LockOptions, PipelinedOptions, PipelinedTransaction,
    Transaction, TxnState,
};

/// Whoever writes "k" has to wait for it.
fn holder_of_k(db: &Db) -> Transaction {
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    holder
}

/// Flushes each write, and waits for locks without end.
fn begin_patient(db: &Db) -> PipelinedTransaction {
    let options = PipelinedOptions {
        lock_wait: Wait::Forever,
        ..flushes_at(1)
    };
    db.blocking().begin_pipelined(options).unwrap()
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
    let holder = holder_of_k(&db);
    for drops in [false, true] {
        let txn = begin_patient(&db);
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
    let holder = holder_of_k(&db);
    let txn = begin_patient(&db);
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
    let holder = holder_of_k(&db);
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
    assert!(matches!(txn.blocking().commit(), Err(Error::StageOpen)));
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
