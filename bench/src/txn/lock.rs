//! Locks that nobody contends: key by key, and a batch in one call.
//!
//! Each sample is a transaction of its own on keys of its own; beginning it and giving the locks back are not timed.

use std::time::{Duration, Instant};

use super::Timed;
use super::engine::{Engine, EngineTxn, row};

/// Keys that a transaction locks.
pub const BATCH: u32 = 100;

/// Rows of the table that is locked, before the same ones come again.
const ROWS: u32 = 100_000;

const FREE: &str = "nobody else locks";

struct Rows {
    next: u32,
}

impl Rows {
    /// The next rows, in no order of their keys.
    fn batch(&mut self) -> Vec<[u8; 16]> {
        let from = self.next;
        self.next = (from + BATCH) % ROWS;
        (from..from + BATCH)
            .map(|number| row((u64::from(number) * 7919 % u64::from(ROWS)) as u32))
            .collect()
    }
}

/// One call for each key.
pub struct LockOne<E> {
    engine: E,
    rows: Rows,
}

impl<E: Engine> LockOne<E> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            engine: E::open(),
            rows: Rows { next: 0 },
        }
    }
}

impl<E: Engine> Default for LockOne<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Engine> Timed for LockOne<E> {
    const OPERATIONS: u32 = BATCH;

    fn time(&mut self) -> Duration {
        let rows = self.rows.batch();
        let txn = self.engine.begin();
        let start = Instant::now();
        for row in &rows {
            txn.lock(row).expect(FREE);
        }
        let elapsed = start.elapsed();
        txn.rollback().expect(FREE);
        elapsed
    }
}

/// One call for all keys.
pub struct LockBatch<E> {
    engine: E,
    rows: Rows,
}

impl<E: Engine> LockBatch<E> {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            engine: E::open(),
            rows: Rows { next: 0 },
        }
    }
}

impl<E: Engine> Default for LockBatch<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Engine> Timed for LockBatch<E> {
    const OPERATIONS: u32 = BATCH;

    fn time(&mut self) -> Duration {
        let rows = self.rows.batch();
        let rows: Vec<&[u8]> = rows.iter().map(<[u8; 16]>::as_slice).collect();
        let txn = self.engine.begin();
        let start = Instant::now();
        txn.lock_batch(&rows).expect(FREE);
        let elapsed = start.elapsed();
        txn.rollback().expect(FREE);
        elapsed
    }
}
