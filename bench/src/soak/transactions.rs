//! Transfers between accounts by transactions of both modes, some of them by several threads in one transaction, under audit.
//!
//! Money is neither made nor lost, whatever fails: the sum over all accounts is the same in every snapshot. What a transaction
//! writes and takes back, by a stage or a savepoint, is never seen by another.

use super::{Round, payload};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{FaultPlan, FaultyStore};
use untorn_txn::{
    BeginOptions, Db, Error, LockOptions, MemStore, Mode, OnDrop, Store, Transaction,
};

const ACCOUNTS: u32 = 64;
const INITIAL: u64 = 1_000;
/// A transfer costs as much as many steps of the other scenarios.
const STEPS_A_TRANSFER: usize = 20;

fn account(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn balance(n: u32, value: Option<Bytes>) -> u64 {
    let value = value.expect("no account is ever deleted");
    payload::number(&account(n), &value)
}

struct Bank<'r> {
    db: &'r Db,
    /// Whether requests get lost.
    is_faulty: bool,
    moved: AtomicU64,
}

pub(super) fn play(round: &Round, faults: Option<f64>) -> u64 {
    let store = Arc::new(MemStore::new());
    let faulty = faults.map(|chance| {
        let plan = FaultPlan::all(round.seed, chance);
        Arc::new(FaultyStore::new(store.clone(), plan))
    });
    let seam: Arc<dyn Store> = match &faulty {
        Some(faulty) => faulty.clone(),
        None => store.clone(),
    };
    let db = Db::new(seam);
    if let Some(faulty) = &faulty {
        faulty.heal();
    }
    open_accounts(&db, &mut round.rng(usize::MAX - 1)).expect("nothing stands in the way");
    if let Some(faulty) = &faulty {
        faulty.harm();
    }
    let bank = Bank {
        db: &db,
        is_faulty: faults.is_some(),
        moved: AtomicU64::new(0),
    };
    let transfers = round.steps / STEPS_A_TRANSFER;
    round.together(
        || bank.observe(),
        |_, mut rng| (0..transfers).for_each(|_| bank.step(&mut rng)),
    );
    if let Some(faulty) = &faulty {
        faulty.heal();
    }
    bank.audit().expect("nothing is injected any more");
    let moved = bank.moved.load(Ordering::Relaxed);
    assert!(moved > 0, "no transfer came through");
    let closed = db
        .blocking()
        .close(Instant::now() + Duration::from_secs(30));
    assert!(closed.left.is_empty() && closed.is_idle, "{closed:?}");
    (transfers * round.threads) as u64
}

fn open_accounts(db: &Db, rng: &mut SmallRng) -> Result<(), Error> {
    let opening = db.blocking().begin(BeginOptions::default())?;
    for n in 0..ACCOUNTS {
        let key = account(n);
        opening.put(key, payload::value(&key, INITIAL, rng))?;
    }
    opening.blocking().commit().map(drop)
}

impl Bank<'_> {
    fn options(&self, mode: Mode) -> BeginOptions {
        BeginOptions {
            mode,
            lock_wait: Wait::For(Duration::from_millis(200)),
            on_drop: OnDrop::Silent,
            ..BeginOptions::default()
        }
    }

    fn observe(&self) {
        self.allowed(self.audit());
        self.allowed(self.db.blocking().safe_point().map(drop));
    }

    /// The sum over all accounts, in one snapshot.
    fn audit(&self) -> Result<(), Error> {
        let snapshot = self.db.blocking().snapshot()?;
        let all = snapshot.blocking().range::<&[u8]>(..);
        let all = all.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(
            all.len(),
            ACCOUNTS as usize,
            "an account too many or too few"
        );
        let total: u64 = (0..ACCOUNTS)
            .zip(all)
            .map(|(n, (key, value))| {
                assert_eq!(key, &account(n)[..]);
                balance(n, Some(value))
            })
            .sum();
        assert_eq!(
            total,
            u64::from(ACCOUNTS) * INITIAL,
            "money was made or lost"
        );
        Ok(())
    }

    /// What may happen to a transaction among others, and, where requests get lost, that nobody knows how it ended.
    fn allowed<T>(&self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) if error.is_retryable() => None,
            Err(Error::Undetermined { .. }) if self.is_faulty => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn step(&self, rng: &mut SmallRng) {
        let from = rng.random_range(0..ACCOUNTS);
        let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let moved = match rng.random_range(0..10) {
            0 => self.give_up(from, rng),
            1 => self.siblings(from, to, rng),
            2..6 => self.transfer(Mode::Optimistic, from, to, rng),
            _ => self.transfer(Mode::Pessimistic, from, to, rng),
        };
        if self.allowed(moved).is_some() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn transfer(&self, mode: Mode, from: u32, to: u32, rng: &mut SmallRng) -> Result<(), Error> {
        self.db.blocking().run(self.options(mode), |txn| {
            let read = |n: u32| {
                let value = match mode {
                    Mode::Pessimistic => txn.blocking().get_for_update(account(n))?,
                    Mode::Optimistic => txn.blocking().get(account(n))?,
                };
                Ok::<_, Error>(balance(n, value))
            };
            let (source, target) = (read(from)?, read(to)?);
            let sum = rng.random_range(0..=source.min(100));
            take_back(txn, from, to, rng)?;
            put(txn, from, source - sum, rng)?;
            put(txn, to, target + sum, rng)
        })
    }

    /// Several threads in one transaction: both lock both accounts, each writes one of them.
    fn siblings(&self, from: u32, to: u32, rng: &mut SmallRng) -> Result<(), Error> {
        let options = self.options(Mode::Pessimistic);
        let mut rngs: [SmallRng; 2] = std::array::from_fn(|_| SmallRng::from_rng(rng));
        self.db.blocking().run(options, |txn| {
            let [left, right] = &mut rngs;
            std::thread::scope(|scope| {
                let sides = [(left, from), (right, to)].map(|(rng, own)| {
                    scope.spawn(move || {
                        let values = LockOptions {
                            return_values: true,
                            ..LockOptions::default()
                        };
                        let keys = [account(from), account(to)];
                        let locked = txn.blocking().lock_keys(keys, values)?;
                        assert!(txn.len() >= 2 && txn.stats().size >= 8);
                        // What is committed is the same for both, whatever the sibling has written.
                        let [source, target] = [0, 1].map(|n| locked[n].value.clone());
                        let (source, target) = (balance(from, source), balance(to, target));
                        let sum = source.min(10);
                        let new = if own == from {
                            source - sum
                        } else {
                            target + sum
                        };
                        put(txn, own, new, rng)
                    })
                });
                let done = sides.map(|side| side.join());
                done.into_iter()
                    .try_for_each(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
            })
        })
    }

    /// Writes nonsense and rolls back.
    fn give_up(&self, from: u32, rng: &mut SmallRng) -> Result<(), Error> {
        let options = self.options(Mode::Pessimistic);
        let txn = self.db.blocking().begin(options)?;
        txn.blocking().get_for_update(account(from))?;
        txn.delete(account(from))?;
        if rng.random_bool(0.5) {
            txn.blocking().rollback()?;
        }
        Ok(()) // or by its drop
    }
}

fn put(txn: &Transaction, n: u32, balance: u64, rng: &mut SmallRng) -> Result<(), Error> {
    let key = account(n);
    txn.put(key, payload::value(&key, balance, rng))
}

/// Writes nonsense in a stage or behind a savepoint and takes it back.
fn take_back(txn: &Transaction, from: u32, to: u32, rng: &mut SmallRng) -> Result<(), Error> {
    let nonsense = |rng: &mut SmallRng| {
        put(txn, from, u64::MAX, rng)?;
        txn.delete(account(to))
    };
    match rng.random_range(0..3) {
        0 => {
            let stage = txn.stage()?;
            nonsense(rng)?;
            stage.cleanup()?;
        }
        1 => {
            let savepoint = txn.savepoint()?;
            nonsense(rng)?;
            txn.rollback_to(&savepoint)?;
        }
        _ => return Ok(()),
    }
    Ok(())
}
