//! Tables under an engine's own sequence numbers.

#![allow(clippy::unwrap_used)]

mod numbered;

use numbered::{Map, Row, batch_of, bound, every, key, row, seen};
use proptest::prelude::*;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use untorn_memtable::{
    Error, Frozen, Kind, MAX_SEQUENCED_KEY_LEN, Memtable, Pruner, SequencedMemtable, VersionItem,
    WriteBatch,
};

#[derive(Debug, Clone)]
enum Op {
    Insert(u64, Vec<u8>, u8),
    Delete(u64, Vec<u8>),
    Batch(u64, Vec<(Vec<u8>, Option<u8>)>),
    Prune(u64, Option<usize>),
    Range(u64, Bound<Vec<u8>>, Bound<Vec<u8>>, Vec<bool>),
}

fn op() -> impl Strategy<Value = Op> {
    let sequence = 0..12u64;
    prop_oneof![
        8 => (sequence.clone(), key(), any::<u8>()).prop_map(|(at, key, value)| Op::Insert(at, key, value)),
        3 => (sequence.clone(), key()).prop_map(|(at, key)| Op::Delete(at, key)),
        2 => (sequence.clone(), prop::collection::vec((key(), any::<Option<u8>>()), 0..5))
            .prop_map(|(at, writes)| Op::Batch(at, writes)),
        1 => (sequence.clone(), prop::option::of(0..5usize)).prop_map(|(at, steps)| Op::Prune(at, steps)),
        3 => (sequence, bound(), bound(), prop::collection::vec(any::<bool>(), 0..30))
            .prop_map(|(at, lower, upper, ends)| Op::Range(at, lower, upper, ends)),
    ]
}

/// What is lent, as a row.
fn lent(item: VersionItem<'_>) -> Row {
    row(item.to_version())
}

proptest! {
    #[test]
    fn every_number_sees_what_the_map_says(ops in prop::collection::vec(op(), 1..80), capacity in prop_oneof![Just(2usize), Just(4), Just(48)]) {
        let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(capacity));
        let mut map = Map::new();
        let mut oldest = 0;
        for op in ops {
            match op {
                Op::Insert(at, key, _) if at < oldest => {
                    prop_assert_eq!(table.insert_at(at, key, "late"), Err(Error::Pruned { oldest }));
                }
                Op::Delete(at, key) if at < oldest => {
                    prop_assert_eq!(table.delete_at(at, key), Err(Error::Pruned { oldest }));
                }
                Op::Batch(at, writes) => {
                    let batch = batch_of(&writes);
                    if at < oldest {
                        prop_assert_eq!(table.apply_at(at, &batch), Err(Error::Pruned { oldest }));
                        continue;
                    }
                    table.apply_at(at, &batch).unwrap();
                    for (key, value) in writes {
                        map.insert((key, Reverse(at)), value.map(|value| vec![value]));
                    }
                }
                Op::Insert(at, key, value) => {
                    table.insert_at(at, &key, [value]).unwrap();
                    map.insert((key, Reverse(at)), Some(vec![value]));
                }
                Op::Delete(at, key) => {
                    table.delete_at(at, &key).unwrap();
                    map.insert((key, Reverse(at)), None);
                }
                Op::Prune(at, steps) => {
                    oldest = oldest.max(at);
                    let kept = seen(&map, at);
                    let before = map.len();
                    map.retain(|(key, Reverse(sequence)), _| {
                        *sequence > at || kept.iter().any(|(kept, of, _)| (kept, of) == (key, sequence))
                    });
                    let removed = match steps {
                        None => table.prune(at).unwrap(),
                        Some(steps) => {
                            let mut pruner = table.pruner(at).unwrap();
                            while pruner.step(steps).unwrap() {}
                            pruner.removed()
                        }
                    };
                    prop_assert_eq!(removed, before - map.len());
                }
                Op::Range(at, lower, upper, ends) => {
                    let mut left = seen(&map, at);
                    let bounds = (lower, upper);
                    left.retain(|(key, ..)| bounds.contains(key));
                    let pinned = table.pin();
                    let mut lending = pinned.range_at(at, bounds.clone());
                    let mut range = table.range_at(at, bounds);
                    for front in ends {
                        let shown = if front { range.next() } else { range.next_back() };
                        let shown_lent = if front { lending.next() } else { lending.next_back() };
                        if at < oldest {
                            prop_assert_eq!(shown, Some(Err(Error::Pruned { oldest })));
                            prop_assert_eq!(range.next(), None);
                            prop_assert_eq!(shown_lent, Some(Err(Error::Pruned { oldest })));
                            prop_assert_eq!(lending.next(), None);
                            break;
                        }
                        let expected = match front {
                            _ if left.is_empty() => None,
                            true => Some(left.remove(0)),
                            false => left.pop(),
                        };
                        prop_assert_eq!(shown_lent.map(|item| lent(item.unwrap())), expected.clone());
                        prop_assert_eq!(shown.map(|version| row(version.unwrap())), expected);
                    }
                }
            }
        }
        let all = every(&map);
        prop_assert_eq!(table.versions::<&[u8]>(..).map(|version| row(version.unwrap())).collect::<Vec<_>>(), all.clone());
        let mut back: Vec<_> = table.versions::<&[u8]>(..).rev().map(|version| row(version.unwrap())).collect();
        back.reverse();
        prop_assert_eq!(back, all.clone());
        let pinned = table.pin();
        prop_assert_eq!(pinned.versions::<&[u8]>(..).map(lent).collect::<Vec<_>>(), all.clone());
        let mut back: Vec<_> = pinned.versions::<&[u8]>(..).rev().map(lent).collect();
        back.reverse();
        prop_assert_eq!(back, all);
        prop_assert_eq!(table.stats().len, map.len());
        for at in oldest..13 {
            let rows = seen(&map, at);
            for (key, _) in map.keys() {
                let row = rows.iter().find(|(seen, ..)| seen == key);
                let value = row.and_then(|(_, _, value)| value.clone());
                prop_assert_eq!(table.get_at(at, key).unwrap().map(|value| value.to_vec()), value.clone());
                prop_assert_eq!(pinned.get_at(at, key).unwrap(), value.as_deref());
            }
        }
    }
}

/// Every so-manieth number from a first one on, so many of them.
fn numbers() -> impl Strategy<Value = Vec<u64>> {
    (0..300u64, 1..4u64, prop_oneof![0..4usize, 50..400usize])
        .prop_map(|(first, step, count)| (first..).step_by(step as usize).take(count).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// So many versions that a range does not pass them one by one.
    #[test]
    fn of_keys_with_many_versions_a_number_sees_what_the_map_says(
        keys in prop::collection::vec(numbers(), 1..7),
        readers in prop::collection::vec((0..1600u64, bound(), bound(), prop::collection::vec(any::<bool>(), 8)), 1..20),
        pruned in prop::option::of(0..400u64),
        capacity in prop_oneof![Just(2usize), Just(48)],
    ) {
        let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(capacity));
        let mut map = Map::new();
        for (byte, numbers) in keys.into_iter().enumerate() {
            let key = vec![byte as u8 % 3; 1 + byte / 3];
            for at in numbers {
                table.insert_at(at, &key, at.to_be_bytes()).unwrap();
                map.insert((key.clone(), Reverse(at)), Some(at.to_be_bytes().to_vec()));
            }
        }
        let oldest = pruned.unwrap_or(0);
        table.prune(oldest).unwrap();
        for (at, lower, upper, ends) in readers {
            let at = at.max(oldest);
            let mut left = seen(&map, at);
            let bounds = (lower, upper);
            left.retain(|(key, ..)| bounds.contains(key));
            let pinned = table.pin();
            let mut lending = pinned.range_at(at, bounds.clone());
            let mut range = table.range_at(at, bounds);
            for front in ends {
                let (shown, shown_lent, expected) = match front {
                    _ if left.is_empty() => (range.next(), lending.next(), None),
                    true => (range.next(), lending.next(), Some(left.remove(0))),
                    false => (range.next_back(), lending.next_back(), left.pop()),
                };
                prop_assert_eq!(shown_lent.map(|item| lent(item.unwrap())), expected.clone());
                prop_assert_eq!(shown.map(|version| row(version.unwrap())), expected);
            }
        }
    }
}

#[test]
fn a_pinned_table_lends_keys_and_values_and_copies_a_key_with_a_zero_byte() {
    let table = SequencedMemtable::new();
    table.insert_at(1, "plain", "v").unwrap();
    table.insert_at(1, [0, 1], "w").unwrap();
    table.delete_at(2, "plain").unwrap();
    let pinned = table.pin();
    let value = pinned.get_at(1, "plain").unwrap();
    let rows: Vec<_> = pinned.versions::<&[u8]>(..).collect();
    table.prune(2).unwrap();
    // What was lent stays, what is read from now on is refused.
    assert_eq!(value, Some(&b"v"[..]));
    assert_eq!(pinned.get_at(1, "plain"), Err(Error::Pruned { oldest: 2 }));
    assert_eq!(pinned.get_at(2, "plain"), Ok(None));
    let kinds = rows
        .iter()
        .map(|row| (&row.key[..], row.sequence, row.kind));
    assert!(kinds.eq([
        (&[0, 1][..], 1, Kind::Value),
        (b"plain", 2, Kind::Tombstone),
        (b"plain", 1, Kind::Value),
    ]));
    let is_lent = rows.iter().map(|row| matches!(row.key, Cow::Borrowed(_)));
    assert!(is_lent.eq([false, true, true]));
    assert_eq!(
        format!("{:?}", rows[2]),
        r#"VersionItem { sequence: 1, key: "plain", kind: Value, value_len: 1 }"#
    );
}

/// Versions of one key that come in where a leaf ends, each before those that were there: whoever reads meanwhile sees none above his number.
#[test]
fn a_number_sees_nothing_of_what_is_written_above_it_meanwhile() {
    const LAST: u64 = 100_000;
    let table = SequencedMemtable::new();
    table.insert_at(1, "k", "settled").unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let pinned = table.pin();
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(pinned.version_at(0, "k").unwrap(), None);
                let seen = pinned.version_at(1, "k").unwrap().unwrap();
                assert_eq!(seen.sequence, 1);
                assert_eq!(pinned.version_at(2, "l").unwrap(), None);
            }
        });
        for sequence in (3..LAST).rev() {
            table.insert_at(sequence, "l", "later").unwrap();
            table.insert_at(LAST + 3 - sequence, "k", "newer").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

/// Writers that finish their numbers in order, pruning behind them, and readers at numbers that are done: each reads the
/// value of just that number, or is refused.
#[test]
fn readers_beside_a_pruner_see_their_number_or_are_refused() {
    const LAST: u64 = 20_000;
    let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(4));
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for sequence in 1..=LAST {
                for key in 0..4u8 {
                    table
                        .insert_at(sequence, [key, 0], sequence.to_be_bytes())
                        .unwrap();
                }
                done.store(sequence, Ordering::Release);
            }
        });
        let reader = scope.spawn(|| {
            let (mut answered, mut refused, mut round) = (0u64, 0u64, 0);
            // Once all is written the last number is answered and, when that is pruned, the one before refused.
            while done.load(Ordering::Acquire) < LAST || answered == 0 || refused == 0 {
                round += 1;
                let at = done.load(Ordering::Acquire).saturating_sub(round % 3);
                let expected = (at > 0).then(|| at.to_be_bytes());
                match table.get_at(at, [(round % 4) as u8, 0]) {
                    Ok(value) => {
                        assert_eq!(value.as_deref(), expected.as_ref().map(|value| &value[..]));
                        answered += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Pruned { oldest } if oldest > at));
                        refused += 1;
                    }
                }
                let rows: Result<Vec<_>, _> = table.range_at::<&[u8]>(at, ..).rev().collect();
                if let (Ok(rows), Some(expected)) = (rows, expected) {
                    assert!(rows.len() == 4);
                    assert!(rows.iter().all(|row| row.entry.value[..] == expected));
                }
            }
        });
        let mut removed = 0;
        while !reader.is_finished() {
            removed += table.prune(done.load(Ordering::Acquire)).unwrap();
        }
        assert!(removed > 0);
    });
    table.prune(LAST).unwrap();
    assert_eq!(table.stats().len, 4);
}

/// Each version is the first of its leaf, the last, or between.
#[test]
fn a_version_is_found_wherever_it_lies_in_its_leaf() {
    let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(4));
    let keys: Vec<String> = (0..200).map(|i| format!("{i:03}, a long key")).collect();
    for key in &keys {
        table.insert_at(5, key, key).unwrap();
    }
    for key in &keys {
        assert_eq!(
            table.get_at(9, key).unwrap().as_deref(),
            Some(key.as_bytes())
        );
        assert_eq!(
            table.get_at(5, key).unwrap().as_deref(),
            Some(key.as_bytes())
        );
        assert_eq!(table.get_at(4, key).unwrap(), None);
    }
}

#[test]
fn keys_of_all_lengths_are_stored_up_to_the_limit() {
    let table = SequencedMemtable::new();
    for len in [0, 1, 8, 1000, MAX_SEQUENCED_KEY_LEN] {
        // Zeros are the longest when they are stored.
        for byte in [0, 0xFF] {
            let key = vec![byte; len];
            table.insert_at(1, &key, "v").unwrap();
            assert_eq!(
                table.get_at(u64::MAX, &key).unwrap().as_deref(),
                Some(&b"v"[..])
            );
            assert_eq!(table.get_at(0, &key).unwrap(), None);
        }
    }
    let size = MAX_SEQUENCED_KEY_LEN + 1;
    let error = Error::KeyTooLarge {
        size,
        limit: MAX_SEQUENCED_KEY_LEN,
    };
    assert_eq!(table.insert_at(1, vec![0; size], "v"), Err(error));
    assert_eq!(table.delete_at(1, vec![0; size]), Err(error));
    assert_eq!(table.get_at(1, vec![0; size]), Ok(None));
    assert_eq!(table.stats().len, 9);
}

/// Two writers of batches: who has seen a number under the first key finds no lower one under the last.
#[test]
fn who_saw_one_write_of_a_batch_finds_the_others() {
    const LAST: u64 = 4_000;
    let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(4));
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let (table, done) = (&table, &done);
        for first in 1..=2 {
            scope.spawn(move || {
                for sequence in (first..=LAST).step_by(2) {
                    let mut batch = WriteBatch::new();
                    for key in 0..8u8 {
                        batch.put([key], sequence.to_be_bytes());
                    }
                    table.apply_at(sequence, &batch).unwrap();
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        let newest = |key: u8| {
            let version = table.version_at(u64::MAX, [key]).unwrap();
            version.map(|version| version.sequence)
        };
        while done.load(Ordering::Acquire) < 2 {
            let first = newest(0);
            assert!(newest(7) >= first);
        }
        assert_eq!(newest(0), Some(LAST));
    });
    assert_eq!(table.stats().len as u64, 8 * LAST);
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    let table = SequencedMemtable::new();
    let mut batch = WriteBatch::new();
    batch.put("k", "v").tag("l", 1);
    assert_eq!(table.apply_at(1, &batch), Err(Error::NoTags));
    batch.clear();
    let size = MAX_SEQUENCED_KEY_LEN + 1;
    batch.put("k", "v").delete(vec![0; size]);
    let limit = MAX_SEQUENCED_KEY_LEN;
    assert_eq!(
        table.apply_at(1, &batch),
        Err(Error::KeyTooLarge { size, limit })
    );
    assert_eq!(table.stats().len, 0);
}

#[test]
fn a_step_removes_no_more_than_it_was_told_and_the_next_pruner_goes_on() {
    let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(4));
    for sequence in 1..=100 {
        table.insert_at(sequence, "k", "v").unwrap();
    }
    let mut pruner = table.pruner(90).unwrap();
    // Refused before the first step.
    let refused = Error::Pruned { oldest: 90 };
    assert_eq!(table.get_at(89, "k"), Err(refused));
    assert_eq!(table.insert_at(89, "k", "late"), Err(refused));
    for _ in 0..4 {
        let before = pruner.removed();
        assert!(pruner.step(7).unwrap());
        assert!(pruner.removed() <= before + 7);
    }
    // Ten are newer, one is seen.
    assert_eq!(pruner.removed(), 4 * 7 - 10 - 1);
    drop(pruner);
    assert_eq!(table.prune(90), Ok(89 - 17));
    assert_eq!(table.versions::<&[u8]>(..).count(), 11);
}

/// Writers beside a freeze: what returned before is in, what was refused is not, and a pruner stops.
#[test]
fn a_frozen_table_holds_what_was_written_and_streams_it_in_order() {
    let table = Arc::new(SequencedMemtable::over(
        Memtable::new().with_leaf_capacity(4),
    ));
    let mut pruner = Pruner::new(table.clone(), 1).unwrap();
    let (frozen, written) = thread::scope(|scope| {
        let table = &table;
        let writers = [0u8, 1].map(|key| {
            scope.spawn(move || {
                let write = |sequence: &u64| match sequence % 3 {
                    0 => table.delete_at(*sequence, [key]),
                    1 => table.insert_at(*sequence, [key], sequence.to_be_bytes()),
                    _ => table.apply_at(*sequence, WriteBatch::new().put([key], "batch")),
                };
                let refused = (1..).find(|sequence| write(sequence).is_err()).unwrap();
                assert_eq!(write(&refused), Err(Error::Frozen));
                refused - 1
            })
        });
        while table.len() < 1000 {
            std::hint::spin_loop();
        }
        let frozen = Frozen::new(table.clone()).unwrap();
        (frozen, writers.map(|writer| writer.join().unwrap()))
    });
    assert!(table.is_frozen());
    let expected = (0u8..).zip(written).flat_map(|(key, last)| {
        let numbers = (1..=last).rev();
        numbers.map(move |sequence| (vec![key], sequence))
    });
    let rows = frozen
        .versions::<&[u8]>(..)
        .map(|version| row(version.unwrap()));
    assert!(rows.map(|(key, sequence, _)| (key, sequence)).eq(expected));
    assert_eq!(frozen.stats().len as u64, written.iter().sum::<u64>());
    assert_eq!(frozen.stats(), table.stats());

    assert_eq!(table.prune(u64::MAX), Err(Error::Frozen));
    assert_eq!(table.get_at(0, [0]), Err(Error::Pruned { oldest: 1 }));
    while pruner.step(100).unwrap() {}
    assert_eq!(pruner.removed(), 0);
    assert_eq!(table.freeze().stats(), frozen.stats());
}

#[test]
fn a_pruner_of_a_table_that_is_frozen_meanwhile_stops() {
    let table = SequencedMemtable::new();
    table.insert_at(1, "k", "old").unwrap();
    table.insert_at(2, "k", "new").unwrap();
    let mut pruner = table.pruner(2).unwrap();
    table.freeze();
    assert_eq!(pruner.step(10), Err(Error::Frozen));
    assert_eq!(pruner.removed(), 0);
    assert_eq!(table.len(), 2);
    assert!(!table.is_empty());
    // "k", its end and the number; the values.
    assert_eq!(table.memory().payload, 2 * (1 + 2 + 8) + 3 + 3);
}
