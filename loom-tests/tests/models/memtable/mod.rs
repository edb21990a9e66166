//! The table itself, with leaves of two entries, two threads and about two operations each.
//!
//! The numbers S1 to S28 are scenarios of races that happened in systems of this kind: a counter read against
//! an insert, a get against an overwrite, a scan against a split. Each model ends with the exact content and
//! exact counters.

mod batches;
mod counters;
mod freezes;
mod guards;
mod merges;
mod one_key;
mod removal;
mod savepoints;
mod scans;
mod sequenced;
mod snapshots;
mod splits;
mod stages;
mod three;

use loom::sync::Arc;
use untorn_memtable::{Memtable, Stats};

/// A table with these keys, each with its value, before any thread starts.
fn table(content: &[(&str, &str)]) -> Arc<Memtable> {
    let table = Memtable::new();
    for (key, value) in content {
        table.insert(key, value).unwrap();
    }
    Arc::new(table)
}

/// What the counters have to say of this content.
fn stats(content: &[(&str, &str)]) -> Stats {
    Stats {
        len: content.len(),
        size: content
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum(),
    }
}

/// All values in ascending order.
fn forward(table: &Memtable) -> Vec<(String, String)> {
    let pinned = table.pin();
    pinned.range::<&str>(..).map(text).collect()
}

/// All values, collected from the back and turned round.
fn backward(table: &Memtable) -> Vec<(String, String)> {
    let pinned = table.pin();
    let mut found: Vec<_> = pinned.range::<&str>(..).rev().map(text).collect();
    found.reverse();
    found
}

fn text((key, value): (&[u8], &[u8])) -> (String, String) {
    let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (owned(key), owned(value))
}

fn owned(content: &[(&str, &str)]) -> Vec<(String, String)> {
    content
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// At rest: this content and nothing else, seen by every way to look.
#[track_caller]
fn assert_exact(table: &Memtable, content: &[(&str, &str)]) {
    assert_eq!(forward(table), owned(content));
    assert_eq!(backward(table), owned(content));
    for (key, value) in content {
        assert_eq!(table.get(key).as_deref(), Some(value.as_bytes()), "{key}");
    }
    assert_counts(table, stats(content));
}

/// At rest: the three ways to count agree.
#[track_caller]
fn assert_counts(table: &Memtable, expected: Stats) {
    assert_eq!(table.stats(), expected);
    assert_eq!((table.len(), table.size()), (expected.len, expected.size));
}
