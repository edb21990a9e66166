//! Lock calls of one transaction beside each other: the union of their keys, what each leaves behind, what others see (rules
//! 32, 35, 39, 40). How they meet at one key: `txn_joins`.
#![allow(clippy::unwrap_used)]

mod txn_calls;
mod txn_held_store;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use txn_calls::{begin, lock, waiting};
use txn_held_store::{held_by, locked_flags};
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Entry, Error, KeyFlags, LockOptions, MemStore, TxnState};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

/// S16, R1.
#[test]
fn overlapping_calls_lock_the_union_once_each_and_a_failing_one_takes_nothing_along() {
    let (store, db) = in_memory();
    let rival = begin(&db);
    lock(&rival, &["taken"]).unwrap();
    let txn = begin(&db);
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for keys in [["a", "b", "c"], ["b", "c", "d"], ["c", "d", "e"]] {
            let (txn, barrier) = (txn.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                lock(&txn, &keys).unwrap();
            });
        }
        let (txn, barrier) = (txn.clone(), &barrier);
        scope.spawn(move || {
            barrier.wait();
            let keys = ["a", "c", "own", "taken"];
            let failed = txn.blocking().lock_keys(keys, waiting(Wait::NoWait));
            assert!(matches!(failed, Err(Error::LockNotAvailable { key, .. }) if key == "taken"));
        });
    });
    let union = ["a", "b", "c", "d", "e"];
    assert_eq!(held_by(&store, &txn), union);
    assert_eq!(locked_flags(&txn), union);
    assert_eq!((txn.len(), txn.size(), txn.held_locks()), (5, 5, 5));
    assert_eq!(held_by(&store, &rival), ["taken"]);
}

#[test]
fn a_dropped_future_gives_back_what_it_took_and_leaves_the_queue() {
    let (store, db) = in_memory();
    let rival = begin(&db);
    lock(&rival, &["b"]).unwrap();
    let txn = begin(&db);
    lock(&txn, &["kept"]).unwrap();
    {
        let mut call = pin!(txn.lock_keys(["a", "b", "c", "kept"], LockOptions::default()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(held_by(&store, &txn), ["a", "kept"]);
        assert_eq!(store.locks().waiting().len(), 1);
    }
    assert_eq!(held_by(&store, &txn), ["kept"]);
    assert!(store.locks().waiting().is_empty());
    assert_eq!(locked_flags(&txn), ["kept"]);
    rival.blocking().rollback().unwrap();
    assert_eq!(held_by(&store, &rival), [""; 0]);
    assert_eq!(lock(&txn, &["a", "b"]).unwrap(), [false, false]);
}

#[test]
fn a_failed_call_leaves_the_locks_of_earlier_calls_and_the_buffer_as_they_were() {
    let (store, db) = in_memory();
    let rival = begin(&db);
    lock(&rival, &["c"]).unwrap();
    let txn = begin(&db);
    lock(&txn, &["a"]).unwrap();
    txn.put("b", "value").unwrap();
    let before = txn.stats();
    let short = waiting(Wait::For(Duration::from_millis(5)));
    let failed = txn.blocking().lock_keys(["a", "b", "c"], short);
    let Err(Error::LockWaitTimeout { key, holders, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(
        (&key[..], &holders[..]),
        (&b"c"[..], &[rival.start_ts()][..])
    );
    assert_eq!(held_by(&store, &txn), ["a"]);
    assert_eq!(txn.stats(), before);
    let flags = txn.buffer().get_flags("b").unwrap();
    assert!(!flags.contains(KeyFlags::LOCKED));
}

/// C9.
#[test]
fn outcomes_come_in_the_order_given_with_duplicates_answered_each() {
    let (_, db) = in_memory();
    let writer = begin(&db);
    writer.put("a", "1").unwrap();
    writer.blocking().commit().unwrap();
    let txn = begin(&db);
    let options = LockOptions {
        return_values: true,
        ..LockOptions::default()
    };
    let outcomes = txn
        .blocking()
        .lock_keys(["b", "a", "b"], options.clone())
        .unwrap();
    let values: Vec<_> = outcomes
        .iter()
        .map(|o| (o.exists, o.value.as_deref()))
        .collect();
    let there = (Some(true), Some(&b"1"[..]));
    assert_eq!(values, [(Some(false), None), there, (Some(false), None)]);
    let none: [&str; 0] = [];
    assert!(
        txn.blocking()
            .lock_keys(none, options.clone())
            .unwrap()
            .is_empty()
    );
    // Asked again, by a call that wants less and one that wants more.
    let again = txn.blocking().lock_keys(["a"], LockOptions::default());
    let again = again.unwrap();
    assert!(again[0].already_locked && again[0].exists == Some(true) && again[0].value.is_none());
    let again = txn.blocking().lock_keys(["a"], options).unwrap();
    assert_eq!(again[0].value.as_deref(), Some(&b"1"[..]));
}

/// Rule 35.
#[test]
fn keys_that_do_not_fit_into_the_buffer_are_refused_before_any_lock() {
    let (store, db) = in_memory();
    let mut options = BeginOptions::default();
    options.limits.buffer = 5;
    let txn = db.blocking().begin(options).unwrap();
    let failed = txn
        .blocking()
        .lock_keys(["abc", "def"], LockOptions::default());
    assert!(matches!(
        failed,
        Err(Error::TxnTooLarge { size: 6, limit: 5 })
    ));
    let long = vec![0; 70_000];
    let failed = txn
        .blocking()
        .lock_keys([&b"a"[..], &long], LockOptions::default());
    assert!(matches!(
        failed,
        Err(Error::KeyTooLarge { size: 70_000, .. })
    ));
    assert!(store.locks().is_empty());
    assert_eq!(txn.len(), 0);
    lock(&txn, &["abcde"]).unwrap();
}

/// S17, R13.
#[test]
fn locks_and_writes_of_the_same_keys_leave_both() {
    const KEYS: u32 = 400;
    let (store, db) = in_memory();
    let txn = begin(&db);
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for reverse in [false, true] {
            let (txn, barrier) = (txn.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in 0..KEYS {
                    let n = if reverse { KEYS - 1 - n } else { n };
                    let keys = [n.to_be_bytes(), ((n + 1) % KEYS).to_be_bytes()];
                    txn.blocking()
                        .lock_keys(keys, LockOptions::default())
                        .unwrap();
                }
            });
        }
        barrier.wait();
        for n in 0..KEYS {
            if n % 3 == 0 {
                txn.delete(n.to_be_bytes()).unwrap();
            } else {
                txn.put(n.to_be_bytes(), n.to_string()).unwrap();
            }
        }
    });
    for n in 0..KEYS {
        let key = n.to_be_bytes();
        let flags = txn.buffer().get_flags(key).unwrap();
        assert!(flags.contains(KeyFlags::LOCKED));
        let expected = if n % 3 == 0 {
            Entry::Tombstone
        } else {
            Entry::Value(n.to_string().into())
        };
        assert_eq!(txn.buffer().get(key), Some(expected));
    }
    assert_eq!(txn.len(), KEYS as usize);
    assert_eq!(store.locks().len(), KEYS as usize);
    let info = txn.blocking().commit().unwrap();
    assert_eq!(info.keys, KEYS as usize);
    assert!(store.locks().is_empty());
}

/// S29 through transactions; rule 41: the statement may run again in this one.
#[test]
fn of_two_transactions_in_a_circle_the_younger_gets_the_deadlock_and_may_go_on() {
    let (store, db) = in_memory();
    let (older, younger) = (begin(&db), begin(&db));
    lock(&older, &["a"]).unwrap();
    lock(&younger, &["b"]).unwrap();
    thread::scope(|scope| {
        let elder = scope.spawn(|| lock(&older, &["b"]));
        let failed = lock(&younger, &["c", "a"]);
        let Err(Error::Deadlock { cycle, .. }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(younger.state(), TxnState::Open);
        assert_eq!(cycle.len(), 2);
        assert_eq!(cycle[0].waiter, younger.start_ts());
        assert_eq!(
            (&cycle[0].key[..], &cycle[1].key[..]),
            (&b"a"[..], &b"b"[..])
        );
        assert_eq!(held_by(&store, &younger), ["b"]);
        younger.blocking().rollback().unwrap();
        elder.join().unwrap().unwrap();
    });
    assert_eq!(held_by(&store, &older), ["a", "b"]);
}

/// Whatever succeeds and fails: what the lock table, the register and the flags say is the same, and it is what
/// the calls that succeeded were told.
#[test]
fn random_calls_of_siblings_and_rivals_leave_register_flags_and_lock_table_in_agreement() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    for round in 0..12 {
        let (store, db) = in_memory();
        let txns = [begin(&db), begin(&db)];
        let promised: Vec<BTreeSet<String>> = thread::scope(|scope| {
            let threads: Vec<Vec<_>> = (0..2_u64)
                .map(|t| {
                    (0..3_u64)
                        .map(|n| {
                            let txn = txns[t as usize].clone();
                            let mut rng = Xoshiro256PlusPlus::seed_from_u64(
                                seed ^ (round * 100 + t * 10 + n),
                            );
                            scope.spawn(move || {
                                let mut promised = BTreeSet::new();
                                for _ in 0..25 {
                                    let keys: Vec<String> = (0..rng.random_range(1..6))
                                        .map(|_| format!("{:02}", rng.random_range(0..40)))
                                        .collect();
                                    let wait = match rng.random_range(0..3) {
                                        0 => Wait::NoWait,
                                        1 => Wait::For(Duration::from_micros(200)),
                                        _ => Wait::For(Duration::from_millis(3)),
                                    };
                                    match txn.blocking().lock_keys(&keys, waiting(wait)) {
                                        Ok(_) => promised.extend(keys),
                                        Err(
                                            Error::LockNotAvailable { .. }
                                            | Error::LockWaitTimeout { .. }
                                            | Error::Deadlock { .. },
                                        ) => {}
                                        Err(error) => panic!("{error}"),
                                    }
                                }
                                promised
                            })
                        })
                        .collect()
                })
                .collect();
            threads
                .into_iter()
                .map(|siblings| {
                    siblings
                        .into_iter()
                        .flat_map(|sibling| sibling.join().unwrap())
                        .collect()
                })
                .collect()
        });
        assert!(promised[0].is_disjoint(&promised[1]), "seed {seed}");
        for (txn, promised) in txns.iter().zip(promised) {
            let held = held_by(&store, txn);
            let beyond: Vec<_> = held.iter().filter(|key| !promised.contains(*key)).collect();
            // Rule 30: a primary that nobody locked stays as long as others name it.
            let most = usize::from(!promised.is_empty());
            assert!(beyond.len() <= most, "seed {seed}: {beyond:?}");
            assert_eq!(held.len(), promised.len() + beyond.len(), "seed {seed}");
            assert!(locked_flags(txn).iter().eq(&promised), "seed {seed}");
            assert_eq!(txn.held_locks(), held.len());
            assert_eq!(txn.len(), promised.len());
        }
        assert!(store.locks().waiting().is_empty());
        for txn in txns {
            txn.blocking().commit().unwrap();
        }
        assert!(store.locks().is_empty(), "seed {seed}");
    }
}
