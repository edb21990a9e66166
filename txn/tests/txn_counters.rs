//! Concurrent increments lose nothing, whichever way conflicts are found.
#![allow(clippy::unwrap_used)]

use std::thread;
use untorn_txn::{BeginOptions, Db, Transaction};

const THREADS: u64 = 10;
const KEYS: [&str; 3] = ["a", "b", "c"];

fn number(value: Option<bytes::Bytes>) -> u64 {
    value.map_or(0, |value| {
        std::str::from_utf8(&value).unwrap().parse().unwrap()
    })
}

fn total(db: &Db) -> u64 {
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    KEYS.iter()
        .map(|key| number(txn.blocking().get(key).unwrap()))
        .sum()
}

#[test]
fn increments_under_locking_reads_all_count() {
    const ROUNDS: u64 = 200;
    let db = Db::in_memory();
    thread::scope(|scope| {
        for n in 0..THREADS {
            let db = &db;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
                    let key = KEYS[(n + round) as usize % KEYS.len()];
                    let old = number(txn.blocking().get_for_update(key).unwrap());
                    txn.put(key, (old + 1).to_string()).unwrap();
                    txn.blocking().commit().unwrap();
                }
            });
        }
    });
    assert_eq!(total(&db), THREADS * ROUNDS);
}

#[test]
fn increments_of_optimistic_transactions_that_try_again_all_count() {
    const ROUNDS: u64 = 60;
    let db = Db::in_memory();
    let attempt = |txn: &Transaction, key: &str| {
        let old = number(txn.blocking().get(key)?);
        txn.put(key, (old + 1).to_string())?;
        txn.blocking().commit()
    };
    thread::scope(|scope| {
        for n in 0..THREADS {
            let db = &db;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = KEYS[(n + round) as usize % KEYS.len()];
                    loop {
                        let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
                        match attempt(&txn, key) {
                            Ok(_) => break,
                            Err(error) => assert!(error.is_retryable(), "{error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(total(&db), THREADS * ROUNDS);
}

/// The threads of one transaction count too, if they take turns by a lock of another transaction's kind: here
/// each uses the transaction's own buffer for a key of its own, and the commit carries them all.
#[test]
fn writes_of_all_threads_of_one_transaction_are_committed() {
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    thread::scope(|scope| {
        for n in 0..THREADS {
            let txn = txn.clone();
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let key = (n * 1_000 + round).to_be_bytes();
                    txn.blocking().get_for_update(key).unwrap();
                    txn.put(key, b"x").unwrap();
                }
            });
        }
    });
    let info = txn.blocking().commit().unwrap();
    assert_eq!(info.keys as u64, THREADS * 200);
    let reader = db.blocking().begin(BeginOptions::default()).unwrap();
    let found = reader.blocking().range::<&[u8]>(..).count();
    assert_eq!(found as u64, THREADS * 200);
}
