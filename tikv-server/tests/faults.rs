//! Under faults every outcome of a commit is committed, rolled back or undetermined, and the data agree (rules 49, 55):
//! faults of the wire, between the store and its cluster, whose regions split, merge and change their leaders meanwhile, and faults above the store.
#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use untorn_tikv_server::Cluster;
use untorn_txn::lock::Wait;
use untorn_txn::store::TxnStatus;
use untorn_txn::store::faults::{FaultPlan, FaultyStore};
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::{BeginOptions, Db, Error, Mode, OnDrop, Transaction, TxnState};

const ACCOUNTS: usize = 8;
const INITIAL: i64 = 1_000;
const THREADS: usize = 4;
const ROUNDS: usize = 25;
/// One cut or one new leader every so often.
const PACE: Duration = Duration::from_millis(5);
const IMPATIENT: Wait = Wait::For(Duration::from_millis(100));
const PATIENT: Wait = Wait::For(Duration::from_secs(60));

fn seed(test: &str) -> u64 {
    let given = std::env::var("UNTORN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("{test}: UNTORN_SEED={seed}");
    seed
}

fn account(number: usize) -> String {
    format!("account/{number}")
}

/// A transfer that the data show once it is committed.
struct Transfer {
    name: String,
    from: usize,
    to: usize,
    txn: Transaction,
    failure: Option<Error>,
}

fn balance(value: Option<bytes::Bytes>) -> i64 {
    let value = value.expect("accounts are never deleted");
    std::str::from_utf8(&value).unwrap().parse().unwrap()
}

fn change(txn: &Transaction, name: &str, from: usize, to: usize) -> Result<(), Error> {
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

fn attempt(
    db: &Db,
    (mode, lock_wait): (Mode, Wait),
    name: String,
    from: usize,
    to: usize,
) -> Option<Transfer> {
    let options = BeginOptions {
        mode,
        lock_wait,
        lock_ttl: Duration::from_secs(2),
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    let txn = db.blocking().begin(options).ok()?;
    let result = change(&txn, &name, from, to).and_then(|()| txn.blocking().commit());
    match (&result, txn.state()) {
        (Ok(info), state) => {
            assert_eq!(state, TxnState::Committed);
            assert!(info.commit_ts > Some(txn.start_ts()));
        }
        // It failed before the commit.
        (Err(_), TxnState::Open) => drop(txn.blocking().rollback()),
        (Err(_), state) => assert!(
            matches!(state, TxnState::RolledBack | TxnState::Undetermined),
            "{result:?}"
        ),
    }
    Some(Transfer {
        name,
        from,
        to,
        txn,
        failure: result.err(),
    })
}

/// How an undetermined one ended. Its own store may be impatient.
fn outcome(txn: &Transaction) -> TxnStatus {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match txn.blocking().outcome() {
            Ok(outcome) => return outcome,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

/// Every transfer is there as a whole if it was said to be committed, and not at all if it was said not to be.
fn agree(db: &Db, transfers: &[Transfer]) {
    let view = db.blocking().snapshot().unwrap();
    let mut balances = [INITIAL; ACCOUNTS];
    for transfer in transfers {
        let is_there = view.blocking().get(&transfer.name).unwrap().is_some();
        match transfer.txn.state() {
            TxnState::Committed => assert!(is_there, "{}", transfer.name),
            TxnState::RolledBack => assert!(!is_there, "{}", transfer.name),
            _ => {
                let outcome = outcome(&transfer.txn);
                assert_eq!(
                    matches!(outcome, TxnStatus::Committed(_)),
                    is_there,
                    "{}",
                    transfer.name
                );
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

/// Also for one who has hardly the patience.
fn connected(cluster: &Cluster, options: &TikvOptions) -> TikvStore {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match TikvStore::connect_blocking([cluster.pd_endpoint()], options.clone()) {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

/// A cluster of three regions with the accounts in it.
fn bank(cluster: &Cluster, options: TikvOptions) -> Arc<TikvStore> {
    cluster.split("account/3");
    cluster.split("d");
    let store = Arc::new(TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap());
    let db = Db::new(store.clone());
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for number in 0..ACCOUNTS {
        txn.put(account(number), INITIAL.to_string()).unwrap();
    }
    txn.blocking().commit().unwrap();
    store
}

fn transfers(db: &Db, mode: Mode, seed: u64) -> Vec<Transfer> {
    let run = |thread: usize| {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(thread as u64));
        let one = move |round| {
            let from = rng.random_range(0..ACCOUNTS);
            let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
            attempt(
                db,
                (mode, IMPATIENT),
                format!("done/{thread}/{round}"),
                from,
                to,
            )
        };
        (0..ROUNDS).filter_map(one).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Whoever wants a lock gets it, at the latest when the time to live of what is stuck is over.
fn and_once_more(db: &Db, mut transfers: Vec<Transfer>) {
    for number in 0..ACCOUNTS {
        let to = (number + 1) % ACCOUNTS;
        let last = attempt(
            db,
            (Mode::Pessimistic, PATIENT),
            format!("done/after/{number}"),
            number,
            to,
        )
        .unwrap();
        assert_eq!(last.txn.state(), TxnState::Committed);
        transfers.push(last);
    }
    agree(db, &transfers);
    let ended = |state: TxnState| {
        transfers
            .iter()
            .filter(|one| one.txn.state() == state)
            .count()
    };
    let committed = ended(TxnState::Committed);
    println!(
        "{committed} of {} committed, {} undetermined",
        transfers.len(),
        ended(TxnState::Undetermined)
    );
    let failures: Vec<&Error> = transfers
        .iter()
        .filter_map(|one| one.failure.as_ref())
        .collect();
    assert!(
        committed > ACCOUNTS,
        "some of them went through: {failures:?}"
    );
}

/// Regions are cut between the accounts and merged, they and PD change their leaders, and connections break.
fn disturb(cluster: &Cluster, seed: u64, is_done: &AtomicBool) {
    let mut rng = StdRng::seed_from_u64(!seed);
    while !is_done.load(Ordering::Acquire) {
        let key = account(rng.random_range(0..ACCOUNTS));
        match rng.random_range(0..10) {
            0 => drop(cluster.split(key)),
            1 => drop(cluster.merge(key)),
            2 => cluster.transfer_pd_leader(),
            3 => cluster.cut_connections(),
            _ => drop(cluster.transfer_leader(key)),
        }
        std::thread::sleep(PACE);
    }
}

fn on_a_bad_wire(options: TikvOptions, seed: u64) {
    for mode in [Mode::Pessimistic, Mode::Optimistic] {
        let cluster = Cluster::start(3).unwrap();
        drop(bank(&cluster, TikvOptions::default()));
        let db = Db::new(Arc::new(connected(&cluster, &options)));
        cluster.harm(seed, 0.05);
        let is_done = AtomicBool::new(false);
        let transfers = std::thread::scope(|scope| {
            scope.spawn(|| disturb(&cluster, seed, &is_done));
            let transfers = transfers(&db, mode, seed);
            is_done.store(true, Ordering::Release);
            transfers
        });
        assert!(cluster.faults() > 0);
        cluster.heal();
        // Another client looks, which has the patience.
        let other =
            TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default()).unwrap();
        let other = Db::new(Arc::new(other));
        agree(&other, &transfers);
        and_once_more(&other, transfers);
    }
}

#[test]
fn every_outcome_agrees_with_the_data_on_a_bad_wire() {
    on_a_bad_wire(TikvOptions::default(), seed("on a bad wire"));
}

#[test]
fn every_outcome_agrees_with_the_data_on_a_bad_wire_in_two_phases() {
    let options = TikvOptions::default().async_commit(false).one_phase(false);
    on_a_bad_wire(options, seed("on a bad wire, two phases"));
}

#[test]
fn every_outcome_agrees_with_the_data_on_a_wire_that_loses_more_than_is_tried_again() {
    let options = TikvOptions::default().patience(Duration::from_millis(50));
    on_a_bad_wire(options, seed("on a very bad wire"));
}

#[test]
fn every_outcome_agrees_with_the_data_where_the_store_itself_is_faulty() {
    let seed = seed("a faulty store");
    for mode in [Mode::Pessimistic, Mode::Optimistic] {
        let cluster = Cluster::start(3).unwrap();
        let store = bank(&cluster, TikvOptions::default());
        let faulty = Arc::new(FaultyStore::new(store, FaultPlan::all(seed, 0.03)));
        let db = Db::new(faulty.clone());
        let transfers = transfers(&db, mode, seed);
        faulty.heal();
        agree(&db, &transfers);
        and_once_more(&db, transfers);
    }
}
