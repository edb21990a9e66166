//! A commit of ten writes to keys that exist, locks and all; the writes before it are not timed.

use std::time::{Duration, Instant};

use super::Timed;
use super::engine::{Engine, EngineTxn, row};

/// Writes of a transaction.
pub const COMMIT_WRITES: u32 = 10;

const ALONE: &str = "nobody else writes";

/// A store, and the round that is on.
pub struct Commit<E> {
    engine: E,
    round: u32,
}

impl<E: Engine> Commit<E> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            engine: E::open(),
            round: 0,
        }
    }
}

impl<E: Engine> Default for Commit<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Engine> Timed for Commit<E> {
    fn time(&mut self) -> Duration {
        let txn = self.engine.begin();
        self.round = (self.round + 1) % 1000;
        for write in 0..COMMIT_WRITES {
            let key = row(self.round * COMMIT_WRITES + write);
            txn.put(&key, &[1; 64]).expect(ALONE);
        }
        let start = Instant::now();
        txn.commit().expect(ALONE);
        start.elapsed()
    }
}
