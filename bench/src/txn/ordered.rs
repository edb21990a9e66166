//! Threads that contend and cannot deadlock, because all take their locks in order: who is told of a deadlock here is told
//! wrongly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::engine::{Engine, EngineTxn, Refusal, row};

const THREADS: u64 = 4;
const ROWS: u32 = 16;

/// How many of `rounds` transactions on each of four threads were told of a deadlock, and how many calls there were.
///
/// Each locks some of sixteen rows, one call for each, in ascending order.
pub fn false_deadlocks<E: Engine>(rounds: usize, seed: u64) -> FalseDeadlocks {
    let engine = E::open();
    let (told, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, told, calls) = (&engine, &told, &calls);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed ^ thread);
                for _ in 0..rounds {
                    let txn = engine.begin();
                    let rows = (0..ROWS).filter(|_| rng.random_bool(0.25));
                    let answer = rows.into_iter().try_for_each(|number| {
                        calls.fetch_add(1, Ordering::Relaxed);
                        txn.lock(&row(number))
                    });
                    match answer {
                        Ok(()) => {}
                        Err(Refusal::Deadlock) => {
                            told.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(other) => panic!("neither granted nor a deadlock: {other}"),
                    }
                    txn.rollback().expect("its locks are its own");
                }
            });
        }
    });
    FalseDeadlocks {
        told: told.into_inner(),
        calls: calls.into_inner(),
    }
}

/// What [`false_deadlocks`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FalseDeadlocks {
    /// Transactions that were told of a deadlock.
    pub told: usize,
    /// Locks that were asked for.
    pub calls: usize,
}
