//! The set of tables: how they take turns, leave, and make room. T1 to T9 are the rules at the top of `memtable/src/set.rs`.
//!
//! Time does not pass here: who waits for room or for a flush and is not woken sleeps for ever, and loom says so.

mod flushes;
mod rotation;
mod sequenced;
mod snapshots;
mod waits;

use bytes::Bytes;
use std::time::{Duration, Instant};
use untorn_memtable::{Limits, MemtableSet};

/// A set whose tables are full for nobody but who rotates them.
fn set(hard: u64) -> MemtableSet {
    MemtableSet::new(Limits {
        table: u64::MAX,
        soft: hard,
        hard,
    })
}

/// A deadline that is not reached.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(100_000)
}

/// What a key holds, as text.
fn text(value: Option<Bytes>) -> Option<String> {
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}
