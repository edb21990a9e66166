//! Versions under numbers as rows of a plain map, and what to write and ask for at random.

use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use untorn_memtable::{Kind, Version, WriteBatch};

/// Versions by key and from the newest to the oldest; no value is a tombstone.
pub type Map = BTreeMap<(Vec<u8>, Reverse<u64>), Option<Vec<u8>>>;
pub type Row = (Vec<u8>, u64, Option<Vec<u8>>);

/// Short ones, and such as differ before, in and behind what a leaf looks at first.
pub fn key() -> impl Strategy<Value = Vec<u8>> {
    const LONG: &[u8] = b"0123456789";
    let part = || prop::collection::vec(0..3u8, 0..3);
    prop_oneof![
        2 => part(),
        1 => (part(), part()).prop_map(|(a, b)| [&a[..], LONG, &b[..]].concat()),
    ]
}

pub fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
    ]
}

pub fn batch_of(writes: &[(Vec<u8>, Option<u8>)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(key, [*value]),
            None => batch.delete(key),
        };
    }
    batch
}

pub fn row(version: Version) -> Row {
    let entry = version.entry;
    let value = (entry.kind == Kind::Value).then(|| entry.value.to_vec());
    (entry.key.to_vec(), version.sequence, value)
}

/// What the number sees.
pub fn seen(map: &Map, at: u64) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for ((key, Reverse(sequence)), value) in map {
        if *sequence <= at && rows.last().is_none_or(|(last, ..)| last != key) {
            rows.push((key.clone(), *sequence, value.clone()));
        }
    }
    rows
}

/// All versions.
pub fn every(map: &Map) -> Vec<Row> {
    map.iter()
        .map(|((key, Reverse(sequence)), value)| (key.clone(), *sequence, value.clone()))
        .collect()
}
