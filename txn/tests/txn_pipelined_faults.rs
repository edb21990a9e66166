//! Under faults every outcome of a pipelined transaction is committed, rolled back or undetermined, and the data agree (rules 49, 55).
#![allow(clippy::unwrap_used)]

mod scenario;
mod txn_pipelined_db;

use rand::RngExt;
use scenario::{rng, seed};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use txn_pipelined_db::flushes_at;
use untorn_txn::lock::Wait;
use untorn_txn::store::TxnStatus;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
use untorn_txn::store::mem::LogOptions;
use untorn_txn::{
    CommitOptions, Db, Error, MemStore, PipelinedOptions, PipelinedTransaction, Store, TxnState,
};

const THREADS: usize = 4;
/// Keys that every transaction writes, so that they meet.
const SHARED: usize = 3;
/// Keys that are one transaction's own.
const OWN: usize = 20;

/// How long locks live without a sign of life, and how long the answer to a commit is waited for.
#[derive(Clone, Copy)]
struct Terms {
    lock_ttl: Duration,
    patience: Duration,
}

/// What is stuck is soon given up.
const IMPATIENT: Terms = Terms {
    lock_ttl: Duration::from_secs(1),
    patience: Duration::from_millis(200),
};

/// Longer than any thread is kept from running.
const PATIENT: Terms = Terms {
    lock_ttl: Duration::from_secs(60),
    patience: Duration::from_secs(60),
};

fn options(terms: Terms) -> PipelinedOptions {
    PipelinedOptions {
        lock_wait: Wait::For(Duration::from_millis(20)),
        lock_ttl: terms.lock_ttl,
        ..flushes_at(4)
    }
}

fn faulty(store: MemStore, plan: FaultPlan) -> (Arc<FaultyStore>, Db) {
    let store = Arc::new(FaultyStore::new(Arc::new(store), plan));
    let db = Db::new(store.clone());
    (store, db)
}

#[derive(Debug)]
struct Ended {
    name: String,
    start_ts: u64,
    state: TxnState,
}

/// Writes its own keys, most of them twice and some of them deleted in the end, and the shared ones.
fn write(txn: &PipelinedTransaction, name: &str, shared: usize) -> Result<(), Error> {
    let calls = txn.blocking();
    for n in 0..OWN {
        calls.insert(format!("{name}/{n:02}"), "first")?;
    }
    calls.put(format!("shared/{shared}"), name)?;
    for n in 0..OWN {
        let key = format!("{name}/{n:02}");
        let seen = calls.get(&key)?;
        assert_eq!(seen.as_deref(), Some(&b"first"[..]), "{key}");
        match n % 4 {
            0 => calls.delete(&key)?,
            1 => {}
            _ => calls.put(&key, "second")?,
        }
    }
    Ok(())
}

fn is_expected(name: &str, key: &str, value: &str) -> bool {
    let n: usize = key[name.len() + 1..].parse().unwrap();
    value == if n % 4 == 1 { "first" } else { "second" }
}

fn attempt(db: &Db, name: String, shared: usize, terms: Terms) -> Option<Ended> {
    let txn = db.blocking().begin_pipelined(options(terms)).ok()?;
    let patience = CommitOptions::default().patience(terms.patience);
    let written = write(&txn, &name, shared);
    let result = written.and_then(|()| txn.blocking().commit_with(patience));
    match (&result, txn.state()) {
        (Ok(info), state) => {
            assert_eq!(state, TxnState::Committed);
            assert!(info.commit_ts > Some(txn.start_ts()));
            assert!(info.generations > 3, "{info:?}");
        }
        (Err(_), TxnState::Open) => drop(txn.blocking().rollback()),
        (Err(Error::Undetermined { .. }), TxnState::Undetermined) => {}
        (Err(_), state) => assert_eq!(state, TxnState::RolledBack, "{result:?}"),
    }
    Some(Ended {
        name,
        start_ts: txn.start_ts(),
        state: txn.state(),
    })
}

/// Each is there as a whole or not at all, as it was told. What is there of the shared keys is of one that is.
fn agree(store: &dyn Store, db: &Db, ended: &[Ended]) {
    let view = db.blocking().snapshot().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut there = Vec::new();
    for each in ended {
        let (lower, upper) = (format!("{}/", each.name), format!("{}0", each.name));
        let found = view.blocking().range(lower..upper);
        let found = found.collect::<Result<Vec<_>, _>>().unwrap();
        let is_there = !found.is_empty();
        match each.state {
            TxnState::Committed => assert!(is_there, "{each:?}"),
            TxnState::RolledBack => assert!(!is_there, "{each:?}"),
            _ => {
                // The store knows, and it is final.
                let status = store.status(each.start_ts, "".into());
                let status = futures_ready(status).unwrap();
                assert_eq!(
                    matches!(status, TxnStatus::Committed(_)),
                    is_there,
                    "{each:?}"
                );
            }
        }
        if is_there {
            assert_eq!(found.len(), OWN - OWN.div_ceil(4), "{each:?}: {found:?}");
            for (key, value) in &found {
                assert!(is_expected(&each.name, &text(key), &text(value)), "{key:?}");
            }
            there.push(each.name.as_str());
        }
    }
    for shared in 0..SHARED {
        if let Some(name) = view.blocking().get(format!("shared/{shared}")).unwrap() {
            assert!(there.contains(&text(&name).as_str()), "{name:?}");
        }
    }
}

fn futures_ready<T>(mut answer: untorn_txn::store::Answer<'_, T>) -> Result<T, Error> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut answer).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("the embedded store knows"),
    }
}

fn transactions_under(store: MemStore, plan: FaultPlan, rounds: usize, seed: u64) -> Vec<Ended> {
    let (store, db) = faulty(store, plan);
    let mut ended: Vec<Ended> = thread::scope(|scope| {
        let run = |thread: usize| {
            let mut rng = rng(seed, thread);
            let names = (0..rounds).map(move |round| format!("{thread}-{round}"));
            let attempts =
                names.filter_map(|name| attempt(&db, name, rng.random_range(0..SHARED), IMPATIENT));
            attempts.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    store.heal();
    agree(&**store.inner(), &db, &ended);
    // Whoever wants to write gets to, at the latest when the time to live of what is stuck is over.
    for shared in 0..SHARED {
        let patient = PipelinedOptions {
            lock_wait: Wait::For(Duration::from_secs(60)),
            ..options(IMPATIENT)
        };
        let last = db.blocking().begin_pipelined(patient).unwrap();
        let name = format!("last-{shared}");
        write(&last, &name, shared).unwrap();
        last.blocking().commit().unwrap();
        ended.push(Ended {
            name,
            start_ts: last.start_ts(),
            state: last.state(),
        });
    }
    agree(&**store.inner(), &db, &ended);
    let committed = ended
        .iter()
        .filter(|each| each.state == TxnState::Committed);
    println!("{} of {} committed", committed.count(), ended.len());
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(60));
    assert!(closed.is_idle, "{closed:?}");
    ended
}

#[test]
fn every_outcome_agrees_with_the_data_whatever_goes_wrong() {
    let seed = seed("every_outcome_agrees_with_the_data_whatever_goes_wrong");
    let ended = transactions_under(MemStore::new(), FaultPlan::all(seed, 0.02), 25, seed);
    for state in [TxnState::Committed, TxnState::RolledBack] {
        assert!(
            ended.iter().any(|each| each.state == state),
            "none is {state}"
        );
    }
}

/// Also once it was opened again: then the log knows how what was undetermined has ended.
#[test]
fn every_outcome_agrees_with_the_data_of_a_store_that_writes_a_log() {
    let seed = seed("every_outcome_agrees_with_the_data_of_a_store_that_writes_a_log");
    let directory = tempfile::tempdir().unwrap();
    let open = || MemStore::open(directory.path(), LogOptions::default()).unwrap();
    let ended = transactions_under(open(), FaultPlan::all(seed, 0.02), 15, seed);
    let store = Arc::new(open());
    agree(&*store, &Db::new(store.clone()), &ended);
}

/// What only comes late or twice is not noticed at all.
#[test]
fn duplicates_and_delays_make_nothing_fail() {
    let seed = seed("duplicates_and_delays_make_nothing_fail");
    let plan = FaultPlan::new(seed)
        .chance(Fault::Delay, 0.2)
        .chance(Fault::Duplicate, 0.2)
        .chance(Fault::LateDuplicate, 0.2);
    let (store, db) = faulty(MemStore::new(), plan);
    let mut ended = Vec::new();
    for round in 0..20 {
        let each = attempt(&db, format!("0-{round}"), round % SHARED, PATIENT).unwrap();
        assert_eq!(each.state, TxnState::Committed);
        ended.push(each);
    }
    store.heal();
    agree(&**store.inner(), &db, &ended);
    for fault in [Fault::Delay, Fault::Duplicate, Fault::LateDuplicate] {
        assert!(store.happened(fault) > 0, "{fault}");
    }
}

#[test]
fn a_flush_that_is_lost_or_not_answered_is_sent_again() {
    let (store, db) = faulty(MemStore::new(), FaultPlan::new(1));
    let faults = [
        Fault::Error,
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::Part,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        for _ in 0..3 {
            store.inject(Request::Flush, fault);
        }
        let each = attempt(&db, format!("0-{number}"), 0, PATIENT).unwrap();
        assert_eq!(each.state, TxnState::Committed, "{fault}");
        assert_eq!(store.happened(fault), 3);
        agree(&**store.inner(), &db, &[each]);
    }
}

#[test]
fn a_flush_that_never_arrives_fails_the_transaction_and_leaves_nothing() {
    let inner = Arc::new(MemStore::new());
    let plan = FaultPlan::new(1).chance(Fault::Part, 1.0);
    let store = Arc::new(FaultyStore::new(inner.clone(), plan.only([Request::Flush])));
    let db = Db::new(store.clone());
    let txn = db.blocking().begin_pipelined(options(IMPATIENT)).unwrap();
    let failed = write(&txn, "0-0", 0).and_then(|()| txn.blocking().flush_wait());
    assert!(matches!(&failed, Err(Error::Store { .. })), "{failed:?}");
    let failed = txn.blocking().commit();
    assert!(matches!(&failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!(txn.state(), TxnState::RolledBack);
    assert!(inner.locks().is_empty());
    assert_eq!(inner.stats().keys, 0);
}

/// The decision of a pipelined transaction, like any other (rule 55).
#[test]
fn a_decision_that_nobody_answers_is_undetermined_and_its_outcome_may_be_asked() {
    for (fault, is_committed) in [(Fault::LostAnswer, true), (Fault::LostRequest, false)] {
        let plan = FaultPlan::new(1).chance(fault, 1.0);
        let (store, db) = faulty(
            MemStore::new(),
            plan.only([Request::Commit, Request::Status]),
        );
        let each = attempt(&db, "0-0".to_owned(), 0, IMPATIENT).unwrap();
        assert_eq!(each.state, TxnState::Undetermined);
        store.heal();
        let status = futures_ready(store.status(each.start_ts, "".into())).unwrap();
        assert_eq!(matches!(status, TxnStatus::Committed(_)), is_committed);
        agree(&**store.inner(), &db, &[each]);
    }
}

/// Rule 50: what was flushed is locked, also while nothing is sent.
#[test]
fn signs_of_life_are_given_from_the_first_flush_on() {
    let (store, db) = faulty(MemStore::new(), FaultPlan::new(1));
    (0..3).for_each(|_| store.inject(Request::Heartbeat, Fault::Delay));
    // One is due every two seconds, and may be late by as much.
    let terms = Terms {
        lock_ttl: Duration::from_secs(4),
        ..PATIENT
    };
    let txn = db.blocking().begin_pipelined(options(terms)).unwrap();
    txn.blocking().put("k", "v").unwrap();
    txn.blocking().flush().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while store.happened(Fault::Delay) < 3 {
        assert!(Instant::now() < until, "no heartbeat");
        thread::yield_now();
    }
    txn.blocking().commit().unwrap();
}
