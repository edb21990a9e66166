//! The database around its transactions: closing, dropping, safe point, snapshots, statement views (rules 28, 52, 56, 61).
#![allow(clippy::unwrap_used)]

mod faulty;
mod txn_held_store;

use faulty::faulty;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use txn_held_store::HeldStore;
use untorn_txn::store::faults::{Fault, FaultPlan, Request};
use untorn_txn::store::mem::{LogOptions, MemStoreOptions, OpenError};
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Error, LockOptions, LockOutcome, MemStore, OnDrop,
    RetryPolicy, Transaction, TxnState,
};

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn put(db: &Db, key: &str, value: &str) -> u64 {
    let txn = begin(db);
    txn.put(key, value).unwrap();
    txn.blocking().commit().unwrap().commit_ts.unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

/// Lock calls, polled whenever this is woken, and how they have ended.
#[derive(Default)]
struct Calls {
    waiting: Mutex<Vec<Call>>,
    ended: Mutex<Vec<Result<Vec<LockOutcome>, Error>>>,
}

type Call = Pin<Box<dyn Future<Output = Result<Vec<LockOutcome>, Error>> + Send>>;

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        let mut context = Context::from_waker(Waker::noop());
        let mut ended = self.ended.lock().unwrap();
        let mut waits = |call: &mut Call| match call.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => {
                ended.push(outcome);
                false
            }
            Poll::Pending => true,
        };
        self.waiting.lock().unwrap().retain_mut(|call| waits(call));
    }
}

#[test]
fn no_call_is_granted_the_lock_of_a_transaction_that_is_closed_with_its_own() {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    let mut open = Vec::new();
    let calls = Arc::new(Calls::default());
    // Which of two is rolled back first is not known; but it is not the one that waits in every pair.
    for key in 0..32_u8 {
        let (holder, waiter) = (begin(&db), begin(&db));
        let options = LockOptions::default();
        holder.blocking().lock_keys([[key]], options).unwrap();
        let txn = waiter.clone();
        let call = async move { txn.lock_keys([[key]], LockOptions::default()).await };
        calls.waiting.lock().unwrap().push(Box::pin(call));
        open.extend([holder, waiter]);
    }
    Arc::clone(&calls).wake();
    assert_eq!(calls.waiting.lock().unwrap().len(), 32);
    store.after_rollback(Waker::from(Arc::clone(&calls)));
    let closed = db.blocking().close(soon());
    assert_eq!((closed.rolled_back, closed.is_idle), (64, true));
    let ended = calls.ended.lock().unwrap();
    let is_refused = |ended: &_| matches!(ended, Err(Error::TransactionClosed { .. }));
    assert_eq!(ended.iter().filter(|ended| is_refused(ended)).count(), 32);
    assert!(store.inner.locks().is_empty());
}

/// Rule 60: what is closed is told to the store.
#[test]
fn a_close_that_is_dropped_leaves_no_lock_of_what_it_has_closed() {
    let (store, inner, db) = faulty(FaultPlan::new(1));
    let open = [begin(&db), begin(&db)];
    for (txn, key) in open.iter().zip(["a", "b"]) {
        let locked = txn.blocking().lock_keys([key], LockOptions::default());
        locked.unwrap();
    }
    open.iter()
        .for_each(|_| store.inject(Request::Rollback, Fault::Delay));
    let later = Instant::now() + Duration::from_secs(10);
    {
        let mut closing = pin!(db.close(later));
        let mut context = Context::from_waker(Waker::noop());
        assert!(closing.as_mut().poll(&mut context).is_pending());
        assert_eq!(store.happened(Fault::Delay), 2, "both are under way");
    }
    let states = open.each_ref().map(Transaction::state);
    assert_eq!(states, [TxnState::RolledBack; 2]);
    assert!(db.blocking().close(later).is_idle);
    assert!(inner.locks().is_empty());
}

/// Rule 61.
#[test]
fn close_rolls_back_what_is_open_and_reports_what_is_left() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    let elsewhere = Db::new(store.clone());
    let holder = begin(&elsewhere);
    let lock = |txn: &Transaction, key| {
        let locked = txn.blocking().lock_keys([key], LockOptions::default());
        locked.map(drop)
    };
    lock(&holder, "k").unwrap();
    let (open, committing) = (begin(&db), begin(&db));
    lock(&open, "a").unwrap();
    committing.put("k", "v").unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| committing.blocking().commit());
        while store.locks().waiting().is_empty() {
            std::thread::yield_now();
        }
        let closed = db.blocking().close(soon());
        assert_eq!(closed.rolled_back, 1);
        assert_eq!(closed.left, [committing.start_ts()]);
        assert_eq!(open.state(), TxnState::RolledBack);
        assert!(matches!(
            lock(&open, "b"),
            Err(Error::TransactionClosed { .. })
        ));
        let refused = db.blocking().begin(BeginOptions::default());
        assert!(matches!(refused, Err(Error::DatabaseClosed)));
        holder.blocking().rollback().unwrap();
        assert!(commit.join().unwrap().is_ok());
    });
    assert_eq!(db.blocking().close(soon()).left, []);
    assert!(store.locks().is_empty());
}

/// Rule 61.
#[test]
fn a_dropped_transaction_panics_where_that_is_wanted_and_it_had_something_to_commit() {
    let db = Db::in_memory();
    let begin = || {
        let options = BeginOptions {
            on_drop: OnDrop::Panic,
            ..BeginOptions::default()
        };
        db.blocking().begin(options).unwrap()
    };
    drop(begin());
    let txn = begin();
    txn.put("k", "v").unwrap();
    let dropped = std::panic::AssertUnwindSafe(|| drop(txn));
    assert!(std::panic::catch_unwind(dropped).is_err());
    let txn = begin();
    txn.put("k", "v").unwrap();
    let unwinding = std::panic::AssertUnwindSafe(move || {
        let _txn = txn;
        panic!("the first, and the only one");
    });
    assert!(std::panic::catch_unwind(unwinding).is_err());
    // Either way it is rolled back.
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(view.blocking().get("k").unwrap(), None);
    put(&db, "k", "w");
}

/// Rule 52.
#[test]
fn the_safe_point_is_held_back_by_the_oldest_and_its_age_is_told() {
    let db = Db::in_memory();
    let oldest = db.blocking().snapshot().unwrap();
    put(&db, "k", "1");
    let held = db.blocking().safe_point().unwrap();
    assert_eq!(held.at, oldest.timestamp());
    drop(oldest);
    let free = db.blocking().safe_point().unwrap();
    assert!(free.at > held.at);
    assert!(free.age <= held.age.max(Duration::from_secs(1)));
}

/// Rule 52.
#[test]
fn past_the_largest_age_reads_and_checks_are_refused_and_never_wrong() {
    let options = MemStoreOptions::default().max_snapshot_age(Duration::ZERO);
    let store = Arc::new(MemStore::with_options(options));
    let db = Db::new(store.clone());
    put(&db, "k", "1");
    let old = begin(&db);
    let snapshot = db.blocking().snapshot().unwrap();
    old.put("j", "x").unwrap();
    let first = db.blocking().timestamp().unwrap();
    // Until the clock has moved on by a millisecond.
    while db.blocking().safe_point().unwrap().at <= first {
        put(&db, "k", "2");
    }
    store.collect();
    let is_too_old = |error: Error| matches!(error, Error::SnapshotTooOld { .. });
    assert!(is_too_old(old.blocking().get("k").unwrap_err()));
    assert!(is_too_old(snapshot.blocking().get("k").unwrap_err()));
    let mut range = snapshot.blocking().range::<&str>(..);
    assert!(is_too_old(range.next().unwrap().unwrap_err()));
    assert!(range.next().is_none());
    assert!(is_too_old(old.blocking().commit().unwrap_err()));
}

/// Rule 56.
#[test]
fn snapshots_of_one_timestamp_may_be_taken_as_often_as_wanted() {
    let db = Db::in_memory();
    let first = put(&db, "k", "1");
    let one = db.blocking().snapshot_at(first).unwrap();
    let two = db.blocking().snapshot_at(first).unwrap();
    put(&db, "k", "2");
    drop(one);
    put(&db, "k", "3");
    assert_eq!(two.blocking().get("k").unwrap().as_deref(), Some(&b"1"[..]));
    drop(two);
    put(&db, "k", "4");
    let refused = db.blocking().snapshot_at(first).map(drop);
    assert!(matches!(refused, Err(Error::SnapshotTooOld { .. })));
    let refused = db.blocking().snapshot_at(0).map(drop);
    assert!(matches!(refused, Err(Error::InvalidTimestamp { .. })));
}

/// Rule 28.
#[test]
fn a_statement_view_stays_what_it_was_when_the_outermost_stage_began() {
    let db = Db::in_memory();
    put(&db, "a", "stored");
    put(&db, "b", "stored");
    let txn = begin(&db);
    txn.put("b", "own").unwrap();
    let stage = txn.stage().unwrap();
    txn.put("a", "staged").unwrap();
    txn.delete("b").unwrap();
    let view = txn.statement_view().unwrap();
    let rows = |reverse: bool| -> Vec<String> {
        let range = view.blocking().range::<&str>(..);
        let range = if reverse { range.rev() } else { range };
        range
            .map(|row| {
                let (key, value) = row.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!("{}={}", text(&key), text(&value))
            })
            .collect()
    };
    let expected = ["a=stored", "b=own"];
    assert_eq!(rows(false), expected);
    stage.release().unwrap();
    put(&db, "c", "later");
    txn.put("d", "own").unwrap();
    assert_eq!(rows(false), expected);
    assert_eq!(rows(true), ["b=own", "a=stored"]);
    assert_eq!(
        view.blocking().get("b").unwrap().as_deref(),
        Some(&b"own"[..])
    );
    let keys = ["d", "b", "c", "a", "b"];
    let own = || Some("own".into());
    let values = [None, own(), None, Some("stored".into()), own()];
    assert_eq!(view.blocking().batch_get(keys).unwrap(), values);
    txn.blocking().rollback().unwrap();
    assert!(matches!(
        view.blocking().get("a"),
        Err(Error::TransactionClosed { .. })
    ));
}

/// Rule 53.
#[test]
fn a_database_opened_again_has_what_was_committed_and_nothing_that_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Db::open(directory.path(), LogOptions::default());
    let db = open().unwrap();
    let committed_at = put(&db, "committed", "1");
    let left_open = begin(&db);
    let held = left_open.blocking();
    held.lock_keys(["locked"], LockOptions::default()).unwrap();
    left_open.put("locked", "2").unwrap();
    assert!(matches!(open(), Err(OpenError::InUse { .. })));
    let far = Instant::now() + Duration::from_secs(20);
    let closed = db.blocking().close(far);
    assert_eq!((closed.rolled_back, closed.is_idle), (1, true));
    drop((left_open, db));

    let db = open().unwrap();
    let snapshot = db.blocking().snapshot().unwrap();
    let all = snapshot.blocking().range::<&str>(..).map(Result::unwrap);
    assert!(all.eq([("committed".into(), "1".into())]));
    assert!(put(&db, "locked", "3") > committed_at, "the lock has ended");
}

/// Rule 61: with the thread of the database nobody is left who would wake them.
#[test]
fn what_waits_for_a_time_ends_when_the_database_is_closed() {
    let db = Db::in_memory();
    let hour = Duration::from_secs(3600);
    let policy = RetryPolicy::default().first_pause(hour).longest_pause(hour);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let runs = scope.spawn(|| {
            db.blocking()
                .run_with(BeginOptions::default(), policy, |txn| {
                    tell.send(()).unwrap();
                    Err::<(), _>(Error::LockWaitTimeout {
                        key: "k".into(),
                        holders: vec![txn.start_ts()],
                        waited: Duration::ZERO,
                    })
                })
        });
        told.recv().unwrap();
        assert!(db.blocking().close(soon()).is_idle);
        let ended = runs.join().unwrap();
        assert!(matches!(ended, Err(Error::DatabaseClosed)), "{ended:?}");
    });
}

#[test]
fn a_close_that_left_work_behind_may_be_asked_again_and_two_need_not_wait_for_each_other() {
    let (_, _, db) = faulty(
        FaultPlan::new(1)
            .chance(Fault::Error, 1.0)
            .only([Request::Rollback]),
    );
    let txn = begin(&db);
    assert!(txn.blocking().rollback().is_err());
    let within = |millis| Instant::now() + Duration::from_millis(millis);
    thread::scope(|scope| {
        let patient = scope.spawn(|| db.blocking().close(within(60_000)));
        assert!(!db.blocking().close(within(50)).is_idle);
        assert!(!patient.join().unwrap().is_idle);
    });
    assert!(!db.blocking().close(within(60_000)).is_idle);
}

#[test]
fn a_commit_that_is_not_answered_is_undetermined_when_the_database_is_closed() {
    let (store, _, db) = faulty(
        FaultPlan::new(1)
            .chance(Fault::Error, 1.0)
            .only([Request::Commit, Request::Status]),
    );
    let txn = begin(&db);
    txn.put("k", "v").unwrap();
    let options = CommitOptions::default().patience(Duration::from_secs(3600));
    thread::scope(|scope| {
        let commits = scope.spawn(|| txn.blocking().commit_with(options));
        while store.happened(Fault::Error) < 2 {
            thread::yield_now();
        }
        let closed = db.blocking().close(Instant::now());
        assert_eq!(closed.left, [txn.start_ts()]);
        let ended = commits.join().unwrap();
        assert!(
            matches!(ended, Err(Error::Undetermined { .. })),
            "{ended:?}"
        );
    });
}
