//! `Db::run`: what is tried again, what is not, and what becomes of the transaction (rules 62, 63).
#![allow(clippy::unwrap_used)]

mod faulty;

use faulty::faulty;
use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::{
    BeginOptions, ConflictReason, Db, Error, MemStore, OnDrop, RetryPolicy, Transaction, TxnState,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

fn number(db: &Db, key: &str) -> u64 {
    let view = db.blocking().snapshot().unwrap();
    let value = view.blocking().get(key).unwrap();
    value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

/// A conflict that names the attempt.
fn conflict(attempt: u64) -> Error {
    Error::WriteConflict {
        key: "k".into(),
        start_ts: attempt,
        read_ts: 0,
        conflict_start_ts: 0,
        conflict_commit_ts: 0,
        reason: ConflictReason::Commit,
    }
}

fn increment(txn: &Transaction) -> Result<(), Error> {
    let old = txn.blocking().get("n")?;
    let old = old.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()));
    txn.put("n", (old + 1).to_be_bytes())
}

#[test]
fn conflicts_are_tried_again_until_they_are_over() {
    let (store, db) = in_memory();
    let mut attempts = 0;
    db.blocking()
        .run(BeginOptions::optimistic(), |txn| {
            attempts += 1;
            increment(txn)?;
            if attempts < 4 {
                // Somebody else is faster.
                let rival = db.blocking().begin(BeginOptions::default())?;
                increment(&rival)?;
                rival.blocking().commit()?;
            }
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!((attempts, number(&db, "n")), (4, 4));
    assert_eq!(store.stats().open, 0);
}

#[test]
fn increments_of_threads_that_run_all_count() {
    let (_, db) = in_memory();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..30 {
                    // Ten attempts may not be enough for everybody: the caller may go on.
                    while let Err(error) = db.blocking().run(BeginOptions::optimistic(), increment)
                    {
                        assert!(matches!(error, Error::WriteConflict { .. }), "{error}");
                    }
                }
            });
        }
    });
    assert_eq!(number(&db, "n"), 90);
}

#[test]
fn an_error_of_the_body_rolls_back_and_is_not_tried_again() {
    let (store, db) = in_memory();
    let mut attempts = 0;
    let failed = db.blocking().run(BeginOptions::default(), |txn| {
        attempts += 1;
        txn.blocking().get_for_update("k")?;
        txn.put("k", "x")?;
        Err::<(), Box<dyn StdError + Send + Sync>>("not today".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "not today");
    assert_eq!(attempts, 1);
    assert!(store.locks().is_empty());
    assert_eq!(store.stats().open, 0);
    let view = db.blocking().snapshot().unwrap();
    assert!(view.blocking().get("k").unwrap().is_none());
}

/// An application's own error, around one of this crate.
#[derive(Debug, thiserror::Error)]
#[error("the order was not taken")]
struct NotTaken(#[source] Error);

#[test]
fn a_conflict_that_is_the_source_of_a_boxed_error_is_tried_again() {
    let (_, db) = in_memory();
    let mut attempts = 0;
    let done = db.blocking().run(BeginOptions::default(), |_| {
        attempts += 1;
        match attempts {
            4 => Ok(()),
            _ => Err::<_, Box<dyn StdError + Send + Sync>>(NotTaken(conflict(attempts)).into()),
        }
    });
    assert!(done.is_ok());
    assert_eq!(attempts, 4);
}

#[test]
fn it_gives_up_after_ten_attempts_with_the_last_error() {
    let (_, db) = in_memory();
    let mut attempts = 0;
    let failed = db.blocking().run(BeginOptions::default(), |_| {
        attempts += 1;
        Err::<(), _>(conflict(attempts))
    });
    assert!(matches!(
        failed,
        Err(Error::WriteConflict { start_ts: 10, .. })
    ));
    assert_eq!(attempts, 10);
}

#[test]
fn a_policy_says_how_often_and_until_when_it_is_tried() {
    let (_, db) = in_memory();
    let attempts_by = |policy: RetryPolicy| {
        let mut attempts = 0;
        let failed = db
            .blocking()
            .run_with(BeginOptions::default(), policy, |_| {
                attempts += 1;
                Err::<(), _>(conflict(attempts))
            });
        assert!(matches!(
            failed,
            Err(Error::WriteConflict { start_ts, .. }) if start_ts == attempts
        ));
        attempts
    };
    let policy = RetryPolicy::default().first_pause(Duration::ZERO);
    for attempts in [1, 2, 25] {
        let counted = attempts_by(policy.attempts(attempts));
        assert_eq!(counted, u64::from(attempts));
    }
    assert_eq!(attempts_by(policy.attempts(0)), 1);
    assert_eq!(attempts_by(policy.deadline(Instant::now())), 1);
}

#[test]
fn a_body_may_end_the_transaction_itself() {
    let (_, db) = in_memory();
    let state = db
        .blocking()
        .run(BeginOptions::default(), |txn| {
            txn.put("k", "x")?;
            txn.blocking().rollback()?;
            Ok::<_, Error>(txn.state())
        })
        .unwrap();
    assert_eq!(state, TxnState::RolledBack);
    let view = db.blocking().snapshot().unwrap();
    assert!(view.blocking().get("k").unwrap().is_none());
}

#[test]
fn a_panic_in_the_body_rolls_back_and_goes_on() {
    let (store, db) = in_memory();
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        db.blocking()
            .run(options.clone(), |txn| -> Result<(), Error> {
                txn.blocking().get_for_update("k")?;
                panic!("on purpose");
            })
    }));
    assert!(panicked.is_err());
    assert!(store.locks().is_empty());
    assert_eq!(store.stats().open, 0);
}

#[test]
fn a_snapshot_stays_and_holds_back_what_it_shows() {
    let (store, db) = in_memory();
    let put = |value: &str| {
        db.blocking()
            .run(BeginOptions::default(), |txn| txn.put("k", value))
            .unwrap();
    };
    put("1");
    let snapshot = db.blocking().snapshot().unwrap();
    let clone = snapshot.clone();
    put("2");
    put("3");
    drop(snapshot);
    store.collect();
    assert_eq!(
        clone.blocking().get("k").unwrap().as_deref(),
        Some(&b"1"[..])
    );
    let all = clone.blocking().range::<&str>(..).map(Result::unwrap);
    assert!(all.eq([("k".into(), "1".into())]));
    drop(clone);
    store.collect();
    assert_eq!(store.stats().old_versions, 0);
    assert_eq!(store.stats().open, 0);
}

#[test]
fn a_beginning_that_the_store_did_not_answer_is_tried_again() {
    let (store, _, db) = faulty(FaultPlan::new(1));
    for fault in [Fault::Error, Fault::LostRequest, Fault::Error] {
        store.inject(Request::Begin, fault);
    }
    let run = db
        .blocking()
        .run(BeginOptions::default(), |txn| txn.put("k", "x"));
    run.unwrap();
    assert_eq!(store.happened(Fault::Error), 2);
    db.blocking()
        .close(Instant::now() + Duration::from_secs(20));
    let closed = db
        .blocking()
        .run(BeginOptions::default(), |_| Ok::<_, Error>(()));
    assert!(matches!(closed, Err(Error::DatabaseClosed)));
}

#[test]
fn a_body_that_has_committed_is_not_run_again_whatever_it_answers() {
    let (_, db) = in_memory();
    let failed = db.blocking().run(BeginOptions::default(), |txn| {
        increment(txn)?;
        txn.blocking().commit()?;
        Err::<(), _>(Error::transient(std::io::Error::other("lost")))
    });
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!(number(&db, "n"), 1);
}

#[test]
fn what_fails_at_a_fixed_timestamp_is_not_tried_again() {
    let (_, db) = in_memory();
    let snapshot = db.blocking().snapshot().unwrap();
    db.blocking()
        .run(BeginOptions::default(), increment)
        .unwrap();
    let options = BeginOptions {
        start_ts: Some(snapshot.timestamp()),
        ..BeginOptions::optimistic()
    };
    let mut attempts = 0;
    let failed = db.blocking().run(options, |txn| {
        attempts += 1;
        increment(txn)
    });
    assert!(
        matches!(failed, Err(Error::WriteConflict { .. })),
        "{failed:?}"
    );
    assert_eq!((attempts, number(&db, "n")), (1, 1));
}
