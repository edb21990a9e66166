//! Under faults every outcome of a commit is committed, rolled back or undetermined, and the data agree (rules 49, 55).
#![allow(clippy::unwrap_used)]

mod scenario;

use rand::RngExt;
use scenario::{rng, seed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
use untorn_txn::store::mem::LogOptions;
use untorn_txn::store::{LOCK_TTL, TxnStatus};
use untorn_txn::{BeginOptions, Db, Error, MemStore, Mode, OnDrop, Store, Transaction, TxnState};

const ACCOUNTS: usize = 8;
const INITIAL: i64 = 1_000;
const THREADS: usize = 4;

fn account(number: usize) -> String {
    format!("account/{number}")
}

fn faulty(store: MemStore, plan: FaultPlan) -> (Arc<FaultyStore>, Db) {
    let store = Arc::new(FaultyStore::new(Arc::new(store), plan));
    let db = Db::new(store.clone());
    store.heal();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for number in 0..ACCOUNTS {
        txn.put(account(number), INITIAL.to_string()).unwrap();
    }
    txn.blocking().commit().unwrap();
    store.harm();
    (store, db)
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Committed,
    RolledBack,
    Undetermined,
}

/// A transfer that the data show once it is committed.
#[derive(Debug)]
struct Transfer {
    name: String,
    from: usize,
    to: usize,
    start_ts: u64,
    outcome: Outcome,
}

fn balance(value: Option<bytes::Bytes>) -> i64 {
    let value = value.expect("accounts are never deleted");
    std::str::from_utf8(&value).unwrap().parse().unwrap()
}

fn transfer(txn: &Transaction, name: &str, from: usize, to: usize) -> Result<(), Error> {
    let read = |number: usize| match txn.options().mode {
        Mode::Pessimistic => txn.blocking().get_for_update(account(number)),
        Mode::Optimistic => txn.blocking().get(account(number)),
    };
    let (rich, poor) = (balance(read(from)?), balance(read(to)?));
    txn.put(account(from), (rich - 1).to_string())?;
    txn.put(account(to), (poor + 1).to_string())?;
    txn.insert(name, "done")?;
    Ok(())
}

/// How long a transaction waits for a lock, and how long its own outlive it.
#[derive(Clone, Copy)]
struct Terms {
    lock_wait: Wait,
    lock_ttl: Duration,
}

/// While others may be stuck. What is left of one that nobody ends is in the way for a second.
const IMPATIENT: Terms = Terms {
    lock_wait: Wait::For(Duration::from_millis(20)),
    lock_ttl: Duration::from_secs(1),
};

/// Once they are not.
const PATIENT: Terms = Terms {
    lock_wait: Wait::For(Duration::from_secs(60)),
    lock_ttl: LOCK_TTL,
};

fn attempt(
    db: &Db,
    (mode, terms): (Mode, Terms),
    name: String,
    from: usize,
    to: usize,
) -> Option<Transfer> {
    let txn = db
        .blocking()
        .begin(BeginOptions {
            mode,
            lock_wait: terms.lock_wait,
            lock_ttl: terms.lock_ttl,
            on_drop: OnDrop::Silent,
            ..BeginOptions::default()
        })
        .ok()?;
    let start_ts = txn.start_ts();
    let result = transfer(&txn, &name, from, to).and_then(|()| txn.blocking().commit());
    let outcome = match (&result, txn.state()) {
        (Ok(info), state) => {
            assert_eq!(state, TxnState::Committed);
            assert!(info.commit_ts.is_some_and(|time| time > start_ts));
            Outcome::Committed
        }
        (Err(_), TxnState::Undetermined) => Outcome::Undetermined,
        (Err(_), TxnState::Open) => {
            // It failed before the commit.
            drop(txn.blocking().rollback());
            assert_eq!(txn.state(), TxnState::RolledBack);
            Outcome::RolledBack
        }
        (Err(_), state) => {
            assert_eq!(state, TxnState::RolledBack, "{result:?}");
            Outcome::RolledBack
        }
    };
    Some(Transfer {
        name,
        from,
        to,
        start_ts,
        outcome,
    })
}

/// Every transfer is there as a whole if it was said to be committed, and not at all if it was said not to be.
fn agree(store: &dyn Store, db: &Db, transfers: &[Transfer]) {
    let view = db.blocking().snapshot().unwrap();
    let mut balances = [INITIAL; ACCOUNTS];
    for transfer in transfers {
        let is_there = view.blocking().get(&transfer.name).unwrap().is_some();
        match transfer.outcome {
            Outcome::Committed => assert!(is_there, "{transfer:?}"),
            Outcome::RolledBack => assert!(!is_there, "{transfer:?}"),
            Outcome::Undetermined => {
                // The store knows, and it is final.
                let status = store.status(transfer.start_ts, "".into());
                let status = known(status).unwrap();
                assert_eq!(matches!(status, TxnStatus::Committed(_)), is_there);
            }
        }
        if is_there {
            balances[transfer.from] -= 1;
            balances[transfer.to] += 1;
        }
    }
    for (number, expected) in balances.into_iter().enumerate() {
        let seen = balance(view.blocking().get(account(number)).unwrap());
        assert_eq!(seen, expected, "account {number}");
    }
}

fn known<T>(mut answer: untorn_txn::store::Answer<'_, T>) -> Result<T, Error> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut answer).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("the embedded store knows"),
    }
}

fn transfers_under(
    store: MemStore,
    plan: FaultPlan,
    mode: Mode,
    rounds: usize,
    seed: u64,
) -> Vec<Transfer> {
    let (store, db) = faulty(store, plan);
    let mut transfers: Vec<Transfer> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || {
                    let mut rng = rng(seed, thread);
                    (0..rounds)
                        .filter_map(|round| {
                            let from = rng.random_range(0..ACCOUNTS);
                            let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
                            attempt(
                                db,
                                (mode, IMPATIENT),
                                format!("done/{thread}/{round}"),
                                from,
                                to,
                            )
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    store.heal();
    // Whatever a log still has is decided before this is.
    let last = db.blocking().begin(BeginOptions::default()).unwrap();
    last.put("last", "done").unwrap();
    last.blocking().commit().unwrap();
    agree(&**store.inner(), &db, &transfers);
    // Whoever wants a lock gets it, at the latest when the time to live of what is stuck is over.
    for number in 0..ACCOUNTS {
        let name = format!("done/after/{number}");
        let terms = (Mode::Pessimistic, PATIENT);
        let last = attempt(&db, terms, name, number, (number + 1) % ACCOUNTS).unwrap();
        assert_eq!(last.outcome, Outcome::Committed, "{last:?}");
        transfers.push(last);
    }
    agree(&**store.inner(), &db, &transfers);
    let committed = transfers
        .iter()
        .filter(|each| each.outcome == Outcome::Committed);
    println!("{} of {} committed", committed.count(), transfers.len());
    // Work in the background holds the store.
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(60));
    assert!(closed.is_idle, "{closed:?}");
    transfers
}

#[test]
fn every_outcome_agrees_with_the_data_whatever_goes_wrong() {
    let seed = seed("every_outcome_agrees_with_the_data_whatever_goes_wrong");
    for (turn, mode) in [Mode::Pessimistic, Mode::Optimistic]
        .into_iter()
        .enumerate()
    {
        let plan = FaultPlan::all(seed.wrapping_add(turn as u64), 0.03);
        let transfers = transfers_under(MemStore::new(), plan, mode, 60, seed);
        assert!(
            transfers
                .iter()
                .any(|each| each.outcome == Outcome::Committed)
        );
        assert!(
            transfers
                .iter()
                .any(|each| each.outcome == Outcome::RolledBack)
        );
    }
}

/// Also once it was opened again: then the log knows how what was undetermined has ended.
#[test]
fn every_outcome_agrees_with_the_data_of_a_store_that_writes_a_log() {
    let seed = seed("every_outcome_agrees_with_the_data_of_a_store_that_writes_a_log");
    for mode in [Mode::Pessimistic, Mode::Optimistic] {
        let directory = tempfile::tempdir().unwrap();
        let open = || MemStore::open(directory.path(), LogOptions::default()).unwrap();
        let plan = FaultPlan::all(seed, 0.03);
        let transfers = transfers_under(open(), plan, mode, 60, seed);
        let store = Arc::new(open());
        agree(&*store, &Db::new(store.clone()), &transfers);
    }
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
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, done) = (&db, &done);
            scope.spawn(move || {
                for round in 0..50 {
                    // Two accounts of one's own: nobody is in the way.
                    let name = format!("done/{thread}/{round}");
                    let (from, to) = (2 * thread, 2 * thread + 1);
                    let outcome =
                        attempt(db, (Mode::Pessimistic, PATIENT), name, from, to).unwrap();
                    assert_eq!(outcome.outcome, Outcome::Committed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), THREADS * 50);
    store.heal();
    let view = db.blocking().snapshot().unwrap();
    for thread in 0..THREADS {
        let rich = balance(view.blocking().get(account(2 * thread + 1)).unwrap());
        assert_eq!(rich, INITIAL + 50);
    }
    for fault in [Fault::Delay, Fault::Duplicate, Fault::LateDuplicate] {
        assert!(store.happened(fault) > 0, "{fault}");
    }
}

/// One fault at a time, at the one request that decides.
#[test]
fn a_commit_whose_answer_is_lost_is_never_said_to_be_rolled_back() {
    for fault in Fault::ALL {
        let (store, db) = faulty(MemStore::new(), FaultPlan::new(0));
        store.inject(Request::Commit, fault);
        let transfer = attempt(&db, (Mode::Pessimistic, PATIENT), "done/1".into(), 0, 1).unwrap();
        assert_eq!(store.happened(fault), 1);
        if matches!(
            fault,
            Fault::LostAnswer | Fault::Duplicate | Fault::LateDuplicate | Fault::Delay
        ) {
            assert_ne!(transfer.outcome, Outcome::RolledBack, "{fault}");
        }
        store.heal();
        agree(&**store.inner(), &db, &[transfer]);
    }
}
