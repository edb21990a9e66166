//! Ranges over any keys and bounds, from both ends in turn, and cursors, beside those of a plain map.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::ops::Bound;
use untorn_fuzz::{Key, Value};
use untorn_memtable::{Memtable, Snapshot};

#[derive(Debug, Arbitrary)]
struct Input {
    leaf_capacity: u8,
    content: Vec<(Key, Value)>,
    removed: Vec<Key>,
    queries: Vec<Query>,
}

#[derive(Debug, Arbitrary)]
struct Query {
    bounds: (Bound<Key>, Bound<Key>),
    /// Which end each step is taken from.
    ends: Vec<bool>,
    seek: Key,
    steps: Vec<bool>,
}

/// What a map refuses to be asked is an empty range of a table.
fn is_empty(bounds: &(Bound<Key>, Bound<Key>)) -> bool {
    match bounds {
        (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low > high,
        _ => false,
    }
}

/// The same steps from the same ends, and the same from each; then both are at their end, and stay there.
fn walk<T: PartialEq + std::fmt::Debug>(
    ends: &[bool],
    mut found: impl DoubleEndedIterator<Item = T>,
    mut expected: impl DoubleEndedIterator<Item = T>,
) {
    for &back in ends {
        match back {
            false => assert_eq!(found.next(), expected.next()),
            true => assert_eq!(found.next_back(), expected.next_back()),
        }
    }
    assert!(found.by_ref().eq(expected));
    assert!(found.next_back().is_none() && found.next().is_none());
}

fn run(input: Input) {
    let table = Memtable::new().with_leaf_capacity(2 + usize::from(input.leaf_capacity % 6));
    let mut model = BTreeMap::new();
    for (key, value) in input.content {
        table.insert(&key, &value.0).unwrap();
        model.insert(key, value.0);
    }
    for key in input.removed {
        assert_eq!(
            table.remove(&key).unwrap().is_some(),
            model.remove(&key).is_some()
        );
    }
    let pinned = table.pin();
    let snapshot = Snapshot::new(&table);
    for Query {
        bounds,
        ends,
        seek,
        steps,
    } in input.queries
    {
        let held = || {
            let bounds = match is_empty(&bounds) {
                true => (Bound::Included(seek.clone()), Bound::Excluded(seek.clone())),
                false => bounds.clone(),
            };
            model.range(bounds)
        };
        let pairs = || held().map(|(key, value)| (&key.0[..], &value[..]));
        walk(&ends, pinned.range(bounds.clone()), pairs());
        let owned = |entry: untorn_memtable::Entry| (entry.key.to_vec(), entry.value.to_vec());
        walk(
            &ends,
            snapshot.range(bounds.clone()).map(owned),
            held().map(|(key, value)| (key.0.clone(), value.clone())),
        );
        let estimate = table.range_count_estimate(bounds.clone());
        assert!(held().count() == 0 || estimate > 0);

        let mut cursor = table.cursor();
        let mut at = model
            .range(seek.clone()..)
            .next()
            .map(|(key, _)| key.clone());
        assert_eq!(
            cursor.seek(&seek).map(|entry| &entry.key[..]),
            at.as_ref().map(|key| &key.0[..])
        );
        for back in steps {
            let Some(here) = at else { break };
            at = match back {
                false => model
                    .range((Bound::Excluded(&here), Bound::Unbounded))
                    .next(),
                true => model.range(..&here).next_back(),
            }
            .map(|(key, _)| key.clone());
            let moved = match back {
                false => cursor.next(),
                true => cursor.prev(),
            };
            assert_eq!(
                moved.map(|entry| &entry.key[..]),
                at.as_ref().map(|key| &key.0[..])
            );
        }
        let before = model
            .range(..=seek.clone())
            .next_back()
            .map(|(key, _)| &key.0[..]);
        assert_eq!(
            cursor.seek_for_prev(&seek).map(|entry| &entry.key[..]),
            before
        );
    }
    let shards = table.shards(4);
    assert!(shards.len() <= 4);
}

fuzz_target!(|input: Input| run(input));
