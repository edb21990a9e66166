//! A deadlock of two: from the call that closes the cycle to the moment at which its victim knows.

use std::thread;
use std::time::{Duration, Instant};

use super::Timed;
use super::engine::{Engine, EngineTxn, Refusal, row, until_waiting};

/// A store and two keys.
pub struct Deadlock<E> {
    engine: E,
}

impl<E: Engine> Deadlock<E> {
    /// An empty store.
    pub fn new() -> Self {
        Self { engine: E::open() }
    }
}

impl<E: Engine> Default for Deadlock<E> {
    fn default() -> Self {
        Self::new()
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
        let (left, right) = (row(1), row(2));
        let (older, younger) = (self.engine.begin(), self.engine.begin());
        older.lock(&left).expect("the key is free");
        younger.lock(&right).expect("the key is free");
        thread::scope(|scope| {
            let other = scope.spawn(move || contend(older, &right));
            until_waiting(&self.engine, 1);
            let closed = Instant::now();
            let told = contend(younger, &left);
            let other = other.join().expect("the other thread does not panic");
            let victims = [told, other].into_iter().flatten();
            let told = victims.min().expect("one of two is the victim");
            told.saturating_duration_since(closed)
        })
    }
}
