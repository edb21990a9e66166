//! Batches: what one does, and that nobody sees half of it.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::borrow::Cow;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use untorn_memtable::{
    BatchWrite, Error, Kind, MAX_KEY_LEN, Memtable, Stats, Update, WriteBatch, reclaim_garbage,
};

#[test]
fn the_last_write_of_a_key_counts_and_tags_go_with_it() {
    let table = Memtable::new();
    let mut batch = WriteBatch::new();
    batch.put("b", "old").tag("b", 7).put("b", "new");
    batch.tag("a", 1).delete("c").put("c", "back").delete("c");
    assert_eq!((batch.len(), batch.size()), (7, 17));
    assert!(table.apply(&batch).unwrap().changed);

    let b = table.entry("b").unwrap();
    assert_eq!((b.kind, &b.value[..], b.tag), (Kind::Value, &b"new"[..], 7));
    assert_eq!(table.entry("a").unwrap().kind, Kind::TagOnly);
    assert_eq!(table.entry("c").unwrap().kind, Kind::Tombstone);
    assert_eq!(table.stats(), Stats { len: 3, size: 6 });
}

#[test]
fn a_batch_made_of_the_writes_of_another_does_the_same() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut batch = WriteBatch::new();
    for _ in 0..500 {
        let key = [rng.random_range(0..100)];
        match rng.random_range(0..4) {
            0 => batch.delete(key),
            1 => batch.tag(key, rng.random()),
            _ => batch.put(key, vec![7; rng.random_range(0..20)]),
        };
    }
    let again: WriteBatch = batch.iter().collect();
    assert!(again.iter().eq(&batch));
    assert_eq!((again.len(), again.size()), (batch.len(), batch.size()));
    let [one, other] = [batch, again].map(|batch| {
        let table = Memtable::new();
        // What is not in the batch stays.
        table.update([1], |_| Update::Tag(5)).unwrap();
        table.apply(&batch).unwrap();
        let pinned = table.pin();
        let all = pinned.range_all::<&[u8]>(..);
        all.map(|item| item.to_entry()).collect::<Vec<_>>()
    });
    assert_eq!(one, other);
}

#[test]
fn the_writes_of_a_batch_are_shown_in_order_from_either_end() {
    let mut batch = WriteBatch::new();
    batch.put("b", "old").tag("a", 7).delete("b").put("", "");
    let writes = [
        BatchWrite::Put {
            key: b"b",
            value: b"old",
        },
        BatchWrite::Tag { key: b"a", tag: 7 },
        BatchWrite::Delete { key: b"b" },
        BatchWrite::Put {
            key: b"",
            value: b"",
        },
    ];
    assert_eq!(batch.iter().len(), 4);
    assert!(batch.iter().eq(writes));
    assert!(batch.iter().rev().eq(writes.into_iter().rev()));
    assert_eq!(
        format!("{:?}", batch.iter().take(3).collect::<Vec<_>>()),
        r#"[Put { key: "b", value_len: 3 }, Tag { key: "a", tag: 7 }, Delete { key: "b" }]"#
    );
    // More writes go to the end.
    let more: WriteBatch = batch.iter().take(1).collect();
    batch.extend(&more);
    assert!(batch.iter().eq(writes.into_iter().chain([writes[0]])));
    batch.clear();
    assert_eq!(batch.iter().next(), None);
}

#[test]
fn content_and_tag_that_a_batch_does_not_name_stay() {
    let table = Memtable::new();
    let put = |value: &'static str, tag| Update::Put {
        value: Cow::Borrowed(value.as_bytes()),
        tag,
    };
    table.update("a", |_| put("value", 3)).unwrap();
    table.update("b", |_| put("value", 3)).unwrap();
    let mut batch = WriteBatch::new();
    table.apply(batch.tag("a", 9).put("b", "other")).unwrap();
    let (a, b) = (table.entry("a").unwrap(), table.entry("b").unwrap());
    assert_eq!((&a.value[..], a.tag), (&b"value"[..], 9));
    assert_eq!((&b.value[..], b.tag), (&b"other"[..], 3));
}

#[test]
fn an_empty_batch_changes_nothing() {
    let table = Memtable::new();
    assert!(!table.apply(&WriteBatch::new()).unwrap().changed);
    assert!(table.is_empty());
}

#[test]
fn a_batch_with_one_bad_key_changes_nothing() {
    let table = Memtable::new();
    let mut batch = WriteBatch::new();
    batch.put("a", "1").put(vec![0; MAX_KEY_LEN + 1], "2");
    let refused = table.apply(&batch);
    assert!(matches!(refused, Err(Error::KeyTooLarge { .. })));
    assert!(table.is_empty());
}

#[test]
fn a_frozen_table_refuses_a_batch_and_the_next_one_takes_it() {
    let (table, next) = (Memtable::new(), Memtable::new());
    let mut batch = WriteBatch::new();
    batch.put("a", "1").put("b", "2");
    table.freeze().unwrap();
    assert_eq!(table.apply(&batch), Err(Error::Frozen));
    assert!(table.is_empty());
    next.apply(&batch).unwrap();
    assert_eq!(next.len(), 2);
}

#[test]
fn a_batch_may_be_applied_again_and_filled_anew() {
    let (one, two) = (Memtable::new(), Memtable::new());
    let mut batch = WriteBatch::new();
    batch.put("a", "1");
    one.apply(&batch).unwrap();
    batch.put("b", "2");
    two.apply(&batch).unwrap();
    assert_eq!((one.len(), two.len()), (1, 2));
    batch.clear();
    assert!(batch.is_empty());
    one.apply(batch.put("c", "3")).unwrap();
    assert_eq!(one.len(), 2);
}

#[test]
fn a_batch_in_a_stage_is_taken_back_with_it() {
    let table = Memtable::new();
    table.insert("a", "before").unwrap();
    let stage = table.open_stage();
    let mut batch = WriteBatch::new();
    batch.put("a", "staged").put("b", "staged").delete("c");
    assert!(table.apply(&batch).unwrap().staged);
    assert_eq!(table.len(), 3);
    table.cleanup_stage(stage).unwrap();
    assert_eq!(table.get("a").as_deref(), Some(&b"before"[..]));
    assert_eq!(table.stats(), Stats { len: 1, size: 7 });
}

#[test]
fn a_large_batch_in_any_order_is_there_as_a_whole() {
    const KEYS: u32 = 20_000;
    for shuffled in [false, true] {
        let mut keys: Vec<u32> = (0..KEYS).collect();
        if shuffled {
            keys.shuffle(&mut StdRng::seed_from_u64(5));
        }
        let table = Memtable::new();
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.put(key.to_be_bytes(), vec![key as u8; (key % 300) as usize]);
        }
        let before = table.snapshot();
        table.apply(&batch).unwrap();
        assert_eq!(before.range::<&[u8]>(..).count(), 0);
        let len = KEYS as usize;
        let size = batch.size();
        assert_eq!(table.stats(), Stats { len, size });
        let pinned = table.pin();
        let whole = pinned
            .range::<&[u8]>(..)
            .enumerate()
            .all(|(n, (key, value))| key == (n as u32).to_be_bytes() && value.len() == n % 300);
        assert!(whole && pinned.range::<&[u8]>(..).count() == len);
    }
}

const GROUPS: u64 = 3;
const MEMBERS: u64 = 6;

/// It meets keys that have come since it looked for their places, in leaves that have split since.
#[test]
fn a_batch_comes_to_an_end_beside_inserts_of_the_same_keys() {
    const KEYS: u32 = 400;
    let keys = (0..KEYS).map(u32::to_be_bytes);
    let mut batch = WriteBatch::new();
    keys.clone().for_each(|key| {
        batch.put(key, "batch");
    });
    for _ in 0..2000 {
        let table = Memtable::new();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                for key in keys.clone() {
                    table.insert(key, "single").unwrap();
                }
            });
            start.wait();
            table.apply(&batch).unwrap();
        });
        assert_eq!(table.len(), KEYS as usize);
    }
}

fn member(group: u64, member: u64) -> Vec<u8> {
    [member.to_be_bytes(), group.to_be_bytes()].concat()
}

/// Which batch wrote it, and how often it was touched since, in a value that is inline or not.
fn value(batch: u64, touched: u64) -> Vec<u8> {
    let mut value = [batch.to_be_bytes(), touched.to_be_bytes()].concat();
    value.resize(if batch.is_multiple_of(3) { 200 } else { 16 }, 0);
    value
}

fn parse(value: &[u8]) -> (u64, u64) {
    let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().unwrap());
    (number(0), number(8))
}

/// Batches rewrite groups of keys, single writers touch members, which makes them complete what they meet; snapshots see each
/// group from one batch, single reads see the batches in order, counts see whole groups.
fn groups_under(seed: u64, rounds: u64, stages: bool) {
    println!("seed {seed}");
    let table = Memtable::new().with_leaf_capacity(4);
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for writer in 0..2u64 {
            let table = &table;
            writers.push(scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed ^ writer);
                let mut batch = WriteBatch::new();
                for round in 0..rounds {
                    let number = round * 2 + writer;
                    let group = rng.random_range(0..GROUPS);
                    batch.clear();
                    let mut members: Vec<u64> = (0..MEMBERS).collect();
                    members.shuffle(&mut rng);
                    for n in members {
                        batch.put(member(group, n), value(number, 0));
                    }
                    table.apply(&batch).unwrap();
                }
            }));
        }
        for toucher in 0..2u64 {
            let (table, running) = (&table, &running);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed ^ toucher ^ 0xF00);
                while running.load(Ordering::Relaxed) {
                    let key = member(rng.random_range(0..GROUPS), rng.random_range(0..MEMBERS));
                    table
                        .update(&key, |item| match item {
                            None => Update::Keep,
                            Some(item) => {
                                let (batch, touched) = parse(item.value);
                                let value = Cow::Owned(value(batch, touched + 1));
                                Update::Put { value, tag: 0 }
                            }
                        })
                        .unwrap();
                }
            });
        }
        if stages {
            let (table, running) = (&table, &running);
            scope.spawn(move || {
                while running.load(Ordering::Relaxed) {
                    let stage = table.open_stage();
                    thread::yield_now();
                    table.cleanup_stage(stage).unwrap();
                }
            });
        }
        let (table, running) = (&table, &running);
        scope.spawn(move || {
            while running.load(Ordering::Relaxed) {
                let snapshot = table.snapshot();
                for group in 0..GROUPS {
                    let keys = (0..MEMBERS).map(|n| snapshot.get(member(group, n)));
                    let batches: Vec<_> = keys
                        .map(|value| value.map(|value| parse(&value).0))
                        .collect();
                    assert!(
                        batches.iter().all(|batch| *batch == batches[0]),
                        "torn: {batches:?}"
                    );
                }
                let stats = table.stats();
                assert_eq!(stats.len as u64 % MEMBERS, 0, "half a group is counted");
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
    });
    let pinned = table.pin();
    let size = pinned
        .range::<&[u8]>(..)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let len = pinned.range::<&[u8]>(..).count();
    assert_eq!(table.stats(), Stats { len, size });
}

#[test]
fn nobody_sees_half_a_batch() {
    groups_under(1, 3000, false);
}

#[test]
fn nobody_sees_half_a_batch_beside_rollbacks() {
    groups_under(2, 1500, true);
}

/// The owner of a batch is still giving each version its stamp when the stage is taken back, its items are paid and guards end.
#[test]
fn a_batch_stays_taken_back_whose_owner_comes_to_its_versions_late() {
    const KEYS: u32 = 100_000;
    const ROUNDS: u32 = 4;
    let table = Memtable::new();
    let write_all = |value: u32| {
        let mut batch = WriteBatch::new();
        for key in 0..KEYS {
            batch.put(key.to_be_bytes(), value.to_be_bytes());
        }
        table.apply(&batch).unwrap();
    };
    let first = || table.get(0_u32.to_be_bytes());
    write_all(0);
    let before = first();
    for round in 1..=ROUNDS {
        let stage = table.open_stage();
        thread::scope(|scope| {
            let owner = scope.spawn(|| write_all(round));
            while first() == before {
                thread::yield_now();
            }
            table.cleanup_stage(stage).unwrap();
            while !owner.is_finished() {
                table.insert("elsewhere", "").unwrap();
                reclaim_garbage();
            }
        });
        table.compact();
        let values = (0..KEYS).map(|key| table.get(key.to_be_bytes()));
        assert_eq!(values.filter(|value| *value != before).count(), 0);
    }
}

#[test]
fn a_stage_does_not_show_what_a_batch_has_only_tagged() {
    let table = Memtable::new();
    table.insert("before", "v").unwrap();
    let stage = table.open_stage();
    table.insert("within", "v").unwrap();
    let mut batch = WriteBatch::new();
    batch.tag("before", 1).tag("within", 2).put("new", "v");
    table.apply(&batch).unwrap();
    let shown = table.stage_writes(&stage).unwrap();
    let keys: Vec<_> = shown.iter().map(|entry| &entry.key[..]).collect();
    assert_eq!(keys, [&b"new"[..], b"within"], "newest first");
    table.cleanup_stage(stage).unwrap();
}
