//! `stats()` of a memtable at rest.

use std::hint::black_box;
use std::time::{Duration, Instant};

use untorn_memtable::Memtable;

use super::Timed;
use super::engine::row;

/// A table of a thousand keys that nobody writes.
#[derive(Debug)]
pub struct AtRest(Memtable);

impl AtRest {
    /// The table, filled.
    pub fn new() -> Self {
        let table = Memtable::new();
        for number in 0..1000 {
            table
                .insert(row(number), [0; 64])
                .expect("benchmark keys and values are far below the limits");
        }
        Self(table)
    }
}

impl Default for AtRest {
    fn default() -> Self {
        Self::new()
    }
}

impl Timed for AtRest {
    const OPERATIONS: u32 = 100;

    fn time(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..Self::OPERATIONS {
            black_box(self.0.stats());
        }
        start.elapsed()
    }
}
