//! A deadlock: from the call that closes the cycle to the moment at which its victim knows.

use std::thread;
use std::time::{Duration, Instant};

use super::Timed;
use super::engine::{Engine, EngineTxn, Refusal, row, until_waiting};

/// A store, and how many transactions wait for each other in it.
pub struct Deadlock<E> {
    engine: E,
    transactions: u32,
}

impl<E: Engine> Deadlock<E> {
    /// An empty store, and a circle of two transactions or more.
    pub fn of(transactions: u32) -> Self {
        Self {
            engine: E::open(),
            transactions: transactions.max(2),
        }
    }
}

/// Locks one key more and ends; says when it was told of a deadlock, if it was.
fn contend(txn: impl EngineTxn, key: &[u8]) -> Option<Instant> {
    let answer = txn.lock(key);
    let told = Instant::now();
    txn.rollback().expect("its locks are its own");
    match answer {
        Ok(()) => None,
        Err(Refusal::Deadlock) => Some(told),
        Err(other) => panic!("neither granted nor a deadlock: {other}"),
    }
}

impl<E: Engine> Timed for Deadlock<E> {
    fn time(&mut self) -> Duration {
        let count = self.transactions;
        let hold = |number| {
            let txn = self.engine.begin();
            txn.lock(&row(number)).expect("the key is free");
            txn
        };
        let mut waiting: Vec<_> = (0..count).map(hold).collect();
        let last = waiting.pop().expect("there are two at least");
        thread::scope(|scope| {
            let others: Vec<_> = waiting
                .into_iter()
                .zip(1..)
                .map(|(txn, next)| scope.spawn(move || contend(txn, &row(next))))
                .collect();
            until_waiting(&self.engine, others.len());
            let closed = Instant::now();
            let told = contend(last, &row(0));
            let others = others
                .into_iter()
                .map(|other| other.join().expect("the other threads do not panic"));
            let victims = others.chain([told]).flatten();
            let told = victims.min().expect("one of them is the victim");
            told.saturating_duration_since(closed)
        })
    }
}
