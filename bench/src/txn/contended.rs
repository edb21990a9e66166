//! Sixteen threads on sixteen keys, one lock at a time, nothing done under it.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use untorn_txn::lock::{LockMode, LockRequest, LockTable};

use super::Timed;
use super::engine::row;

const THREADS: u32 = 16;
const KEYS: usize = 16;
const EACH: u32 = 2_000;

/// A lock table.
pub struct Contended {
    table: LockTable,
    keys: Vec<Bytes>,
}

impl Contended {
    /// An empty one.
    pub fn new() -> Self {
        let key = |number| Bytes::copy_from_slice(&row(number));
        Self {
            table: LockTable::new(),
            keys: (0..KEYS as u32).map(key).collect(),
        }
    }

    fn lock_and_release(&self, thread: u32) {
        let mut rng = StdRng::seed_from_u64(u64::from(thread));
        for op in 0..EACH {
            let key = &self.keys[rng.random_range(0..KEYS)];
            let owner = u64::from(op * THREADS + thread + 1);
            let request = LockRequest::default();
            let granted = self
                .table
                .acquire_blocking(owner, key, LockMode::Exclusive, &request);
            granted.expect("no owner holds two keys");
            self.table.release(owner, key, request.attempt);
        }
    }
}

impl Default for Contended {
    fn default() -> Self {
        Self::new()
    }
}

impl Timed for Contended {
    const OPERATIONS: u32 = THREADS * EACH;

    fn time(&mut self) -> Duration {
        let start = Instant::now();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let this = &*self;
                scope.spawn(move || this.lock_and_release(thread));
            }
        });
        start.elapsed()
    }
}
