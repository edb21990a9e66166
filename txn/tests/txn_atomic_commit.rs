//! A commit is seen whole or not at all, by every reader, at every moment.
#![allow(clippy::unwrap_used)]

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use untorn_txn::{BeginOptions, Db, Error, Transaction};

const ACCOUNTS: u32 = 24;
const EACH: i64 = 100;

fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).unwrap()
}

fn seed() -> u64 {
    let seed = std::env::var("UNTORN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("seed {seed} (set UNTORN_SEED to repeat)");
    seed
}

fn balance(value: &[u8]) -> i64 {
    i64::from_be_bytes(value.try_into().unwrap())
}

fn open_accounts(db: &Db) {
    let txn = begin(db);
    for account in 0..ACCOUNTS {
        txn.insert(account.to_be_bytes(), EACH.to_be_bytes())
            .unwrap();
    }
    txn.blocking().commit().unwrap();
}

/// Moves money, deletes accounts that become empty and opens them again.
fn transfer(db: &Db, options: BeginOptions, rng: &mut Xoshiro256PlusPlus) -> Result<(), Error> {
    let txn = db.blocking().begin(options)?;
    let mut accounts = [0; 4].map(|_| rng.random_range(0..ACCOUNTS).to_be_bytes());
    accounts.sort_unstable();
    let values = if txn.is_optimistic() {
        txn.blocking().batch_get(accounts)?
    } else {
        txn.blocking().batch_get_for_update(accounts)?
    };
    let amount = rng.random_range(0..=50);
    for (at, (account, value)) in accounts.iter().zip(values).enumerate() {
        if accounts[..at].contains(account) {
            continue;
        }
        let mates = accounts.iter().filter(|other| *other == account).count() as i64;
        let gains = accounts[..2]
            .iter()
            .filter(|other| *other == account)
            .count() as i64;
        let change = amount * (gains - (mates - gains));
        let new = value.map_or(0, |value| balance(&value)) + change;
        if new == 0 {
            txn.delete(account)?;
        } else {
            txn.put(account, new.to_be_bytes())?;
        }
    }
    txn.blocking().commit()?;
    Ok(())
}

#[test]
fn readers_always_see_the_same_total() {
    let seed = seed();
    let db = Db::in_memory();
    open_accounts(&db);
    let done = AtomicBool::new(false);
    let sums = AtomicU64::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|n| {
                let db = &db;
                scope.spawn(move || {
                    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed + n);
                    for round in 0..300 {
                        let options = if (n + round) % 2 == 0 {
                            BeginOptions::optimistic()
                        } else {
                            BeginOptions::pessimistic()
                        };
                        if let Err(error) = transfer(db, options, &mut rng) {
                            assert!(error.is_retryable(), "{error}");
                        }
                    }
                })
            })
            .collect();
        for n in 0..3_u32 {
            let (db, done, sums) = (&db, &done, &sums);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) || sums.load(Ordering::Relaxed) == 0 {
                    let txn = begin(db);
                    let mut sum = 0;
                    if n == 0 {
                        for account in 0..ACCOUNTS {
                            let value = txn.blocking().get(account.to_be_bytes()).unwrap();
                            sum += value.map_or(0, |value| balance(&value));
                        }
                    } else {
                        let range = txn.blocking().range::<&[u8]>(..);
                        let range = if n == 1 { range } else { range.rev() };
                        for item in range {
                            sum += balance(&item.unwrap().1);
                        }
                    }
                    assert_eq!(sum, EACH * i64::from(ACCOUNTS), "reader {n}, seed {seed}");
                    sums.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for writer in writers {
            // Readers stop also when a writer has failed.
            let result = writer.join();
            if result.is_err() {
                done.store(true, Ordering::Release);
            }
            result.unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert!(sums.load(Ordering::Relaxed) > 0);
}

/// Rule 46: what `commit` returned for is seen whole by whoever begins afterwards.
#[test]
fn a_transaction_begun_after_a_commit_returned_sees_all_of_it() {
    const KEYS: u32 = 16;
    let db = Db::in_memory();
    let committed = AtomicU64::new(0);
    thread::scope(|scope| {
        let (db, committed) = (&db, &committed);
        let writer = scope.spawn(move || {
            for round in 1..=400_u64 {
                let txn = begin(db);
                for key in 0..KEYS {
                    txn.put(key.to_be_bytes(), round.to_be_bytes()).unwrap();
                }
                txn.blocking().commit().unwrap();
                committed.store(round, Ordering::Release);
            }
        });
        for _ in 0..2 {
            let writer_is_done = || committed.load(Ordering::Acquire) == 400;
            scope.spawn(move || {
                let mut last = 0;
                loop {
                    let is_last = writer_is_done();
                    let floor = committed.load(Ordering::Acquire);
                    let txn = begin(db);
                    let rounds: Vec<u64> = (0..KEYS)
                        .map(|key| {
                            txn.blocking()
                                .get(key.to_be_bytes())
                                .unwrap()
                                .map_or(0, |value| {
                                    u64::from_be_bytes(value[..].try_into().unwrap())
                                })
                        })
                        .collect();
                    assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
                    assert!(rounds[0] >= floor && rounds[0] >= last);
                    last = rounds[0];
                    if is_last {
                        break;
                    }
                }
            });
        }
        writer.join().unwrap();
    });
}
