//! Sequenced tables that take turns: what a number sees, whichever table has it.

#![allow(clippy::unwrap_used)]

mod numbered;

use numbered::{Map, Row, batch_of, bound, every, key, row, seen};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use untorn_memtable::{
    Error, Limits, MAX_SEQUENCED_KEY_LEN, SequencedFlush, SequencedSet, SequencedView,
    SequencedViewRange, Version, WriteBatch,
};

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

#[derive(Debug, Clone)]
enum Op {
    Write(u64, Vec<u8>, Option<u8>),
    Batch(u64, Vec<(Vec<u8>, Option<u8>)>),
    Rotate,
    Flush,
    Get(u64, Vec<u8>),
    Range(Option<u64>, Bounds, Vec<bool>),
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..9u64;
    let value = any::<Option<u8>>;
    prop_oneof![
        9 => (at.clone(), key(), value()).prop_map(|(at, key, value)| Op::Write(at, key, value)),
        2 => (at.clone(), prop::collection::vec((key(), value()), 0..12))
            .prop_map(|(at, writes)| Op::Batch(at, writes)),
        2 => Just(Op::Rotate),
        1 => Just(Op::Flush),
        4 => (at.clone(), key()).prop_map(|(at, key)| Op::Get(at, key)),
        4 => (prop::option::of(at), (bound(), bound()), prop::collection::vec(any::<bool>(), 0..30))
            .prop_map(|(at, bounds, ends)| Op::Range(at, bounds, ends)),
    ]
}

/// What the set is to hold: its tables by number.
#[derive(Default)]
struct Model(BTreeMap<u64, Map>);

impl Model {
    fn write(&mut self, table: u64, at: u64, key: Vec<u8>, value: Option<u8>) {
        let table = self.0.entry(table).or_default();
        table.insert((key, Reverse(at)), value.map(|value| vec![value]));
    }

    /// All versions, of one number under a key the newest table's.
    fn versions(&self) -> Map {
        let mut all = Map::new();
        for table in self.0.values() {
            all.extend(table.clone());
        }
        all
    }

    fn rows(&self, at: Option<u64>, bounds: &Bounds) -> Vec<Row> {
        let versions = self.versions();
        let mut rows = match at {
            Some(at) => seen(&versions, at),
            None => every(&versions),
        };
        rows.retain(|(key, ..)| bounds.contains(key));
        rows
    }
}

/// Reads from both ends, as `ends` says and then from the front.
fn read(mut range: impl DoubleEndedIterator<Item = Version>, ends: &[bool]) -> Vec<Row> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for &from_front in ends {
        match from_front {
            true => front.extend(range.next()),
            false => back.extend(range.next_back()),
        }
    }
    front.extend(range.by_ref());
    assert_eq!(range.next_back(), None);
    front.extend(back.into_iter().rev());
    front.into_iter().map(row).collect()
}

proptest! {
    #[test]
    fn every_number_sees_what_the_tables_hold_together(ops in prop::collection::vec(op(), 1..120)) {
        // Some dozen writes fill a table; a batch of seven is one of its own.
        let limits = Limits { table: 1800, soft: 1 << 20, hard: 1 << 20 };
        let set = SequencedSet::starting_at(limits, 5);
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Write(at, key, value) => {
                    let written = match value {
                        Some(value) => set.insert_at(at, &key, [value]),
                        None => set.delete_at(at, &key),
                    };
                    model.write(written.unwrap().table, at, key, value);
                }
                Op::Batch(at, writes) => {
                    let written = set.apply_at(at, &batch_of(&writes)).unwrap();
                    prop_assert_eq!(written.changed, !writes.is_empty());
                    for (key, value) in writes {
                        model.write(written.table, at, key, value);
                    }
                }
                Op::Rotate => {
                    set.rotate();
                }
                Op::Flush => {
                    let Some(flush) = set.next_flush() else { continue };
                    let table = model.0.remove(&flush.number()).unwrap();
                    let largest = table.keys().map(|(_, Reverse(number))| *number).max();
                    prop_assert!(Some(flush.largest()) >= largest);
                    let whole = Model(BTreeMap::from([(0, table)]));
                    let all = (Bound::Unbounded, Bound::Unbounded);
                    prop_assert_eq!(flush.stats().len, whole.versions().len());
                    prop_assert_eq!(read(flush.versions::<Vec<u8>>(..), &[]), whole.rows(None, &all));
                    flush.complete();
                }
                Op::Get(at, key) => {
                    let point = (Bound::Included(key.clone()), Bound::Included(key.clone()));
                    let seen = model.rows(Some(at), &point).pop();
                    let value = seen.clone().and_then(|(_, _, value)| value);
                    prop_assert_eq!(set.version_at(at, &key).map(row), seen.clone());
                    prop_assert_eq!(set.get_at(at, &key).map(|value| value.to_vec()), value.clone());
                    let view = set.view();
                    prop_assert_eq!(view.version_at(at, &key).map(row), seen);
                    prop_assert_eq!(view.get_at(at, &key).map(|value| value.to_vec()), value);
                }
                Op::Range(at, bounds, ends) => {
                    let expected = model.rows(at, &bounds);
                    let view = set.view();
                    let pinned = view.pin();
                    let (owned, lent) = match at {
                        Some(at) => (
                            read(view.range_at(at, bounds.clone()), &ends),
                            read(pinned.range_at(at, bounds).map(|item| item.to_version()), &ends),
                        ),
                        None => (
                            read(view.versions(bounds.clone()), &ends),
                            read(pinned.versions(bounds).map(|item| item.to_version()), &ends),
                        ),
                    };
                    prop_assert_eq!(&owned, &expected);
                    prop_assert_eq!(&lent, &expected);
                }
            }
        }
    }
}

#[test]
fn the_first_and_the_last_number_are_numbers_like_others() {
    let set = SequencedSet::new(Limits::default());
    set.insert_at(u64::MAX, "k", "last").unwrap();
    set.rotate();
    set.insert_at(0, "k", "first").unwrap();
    set.rotate();
    set.insert_at(1, "l", "other").unwrap();
    assert_eq!(set.get_at(0, "k").unwrap(), "first");
    assert_eq!(set.get_at(u64::MAX - 1, "k").unwrap(), "first");
    assert_eq!(set.get_at(u64::MAX, "k").unwrap(), "last");
    let numbers: Vec<u64> = set
        .view()
        .versions("k"..="k")
        .map(|version| version.sequence)
        .collect();
    assert_eq!(numbers, [u64::MAX, 0]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let limits = Limits {
        table: 1000,
        soft: 1000,
        hard: 1000,
    };
    let set = SequencedSet::new(limits);
    set.insert_at(1, "k", "v").unwrap();
    let reserved = set.reserved_bytes();

    let long = vec![1; MAX_SEQUENCED_KEY_LEN + 1];
    let too_long = Error::KeyTooLarge {
        size: long.len(),
        limit: MAX_SEQUENCED_KEY_LEN,
    };
    assert_eq!(set.insert_at(2, &long, "v"), Err(too_long));
    assert_eq!(set.delete_at(2, &long), Err(too_long));
    let mut batch = WriteBatch::new();
    batch.put("k", "new").put(&long, "v");
    assert_eq!(set.apply_at(2, &batch), Err(too_long));

    let mut tagged = WriteBatch::new();
    tagged.put("k", "new").tag("k", 1);
    assert_eq!(set.apply_at(2, &tagged), Err(Error::NoTags));

    let huge = [0; 1000];
    assert!(matches!(
        set.insert_at(2, "k", huge),
        Err(Error::WriteTooLarge { limit: 1000, .. })
    ));
    let large = [0; 800];
    let full = Err(Error::MemoryLimit { limit: 1000 });
    assert_eq!(set.insert_at(2, "k", large), full);
    let mut batch = WriteBatch::new();
    batch.put("k", large);
    assert_eq!(set.apply_at(2, &batch), full);
    let now = Instant::now();
    assert_eq!(
        set.wait_for_room(SequencedSet::batch_room(&batch), now),
        Err(Error::MemoryLimit { limit: 1000 })
    );

    assert_eq!(set.get_at(9, "k").unwrap(), "v");
    assert_eq!(set.reserved_bytes(), reserved);
    set.set_limits(Limits {
        hard: 2000,
        ..limits
    });
    assert_eq!(set.limits().hard, 2000);
    set.wait_for_room(SequencedSet::batch_room(&batch), now)
        .unwrap();
    set.apply_at(2, &batch).unwrap();
    assert_eq!(set.get_at(2, "k").unwrap().len(), 800);
}

/// Each byte of such a key is stored as two.
#[test]
fn what_a_write_takes_is_what_its_key_takes_where_it_is_stored() {
    let key = [0; 60_000];
    let room = SequencedSet::room(key, "v").bytes();
    assert!(room > 120_000);
    let limits = Limits {
        table: 1 << 30,
        soft: 1 << 30,
        hard: 3 * room,
    };
    let (single, batches) = (SequencedSet::new(limits), SequencedSet::new(limits));
    let mut batch = WriteBatch::new();
    batch.put(key, "v");
    assert_eq!(SequencedSet::batch_room(&batch).bytes(), room);
    for sequence in 1..=3 {
        single.insert_at(sequence, key, "v").unwrap();
        batches.apply_at(sequence, &batch).unwrap();
    }
    let full = Err(Error::MemoryLimit { limit: 3 * room });
    assert_eq!(single.delete_at(4, key), full);
    assert_eq!(batches.apply_at(4, &batch), full);
    assert_eq!(single.reserved_bytes(), 3 * room);
    assert_eq!(batches.reserved_bytes(), 3 * room);
}

#[test]
fn a_view_shows_its_tables_after_they_have_left_and_its_active_one_as_it_grows() {
    let set = SequencedSet::new(Limits::default());
    set.insert_at(1, "a", "1").unwrap();
    let view = set.view();
    set.insert_at(3, "b", "3").unwrap();
    let reserved = set.reserved_bytes();
    set.rotate();
    set.insert_at(2, "b", "2").unwrap();
    set.next_flush().unwrap().complete();
    assert_eq!(set.oldest_table(), 1);
    assert_eq!(set.get_at(9, "b").unwrap(), "2");
    assert_eq!(view.get_at(9, "b").unwrap(), "3");
    assert_eq!(view.get_at(2, "b"), None);
    let range = view.range_at::<&str>(9, ..);
    drop(view);
    assert!(set.reserved_bytes() > reserved);
    assert_eq!(range.count(), 2);
    assert!(set.next_flush().is_none());
    assert!(set.reserved_bytes() < reserved);
}

#[test]
fn a_flush_that_is_given_up_is_handed_out_again() {
    let set = SequencedSet::default();
    set.insert_at(1, "k", "v").unwrap();
    assert_eq!(set.rotate(), Some(0));
    drop(set.next_flush().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let flush = set.wait_flush(deadline).unwrap();
    assert!(set.next_flush().is_none());
    assert_eq!(flush.get_at(1, "k").unwrap(), "v");
    assert_eq!(flush.largest(), 1);
    flush.complete();
    assert_eq!(set.frozen_tables(), 0);
}

#[test]
fn sets_views_flushes_and_owned_ranges_go_to_any_thread() {
    fn is_sent_and_shared<T: Send + Sync + 'static>() {}
    is_sent_and_shared::<SequencedSet>();
    is_sent_and_shared::<SequencedView>();
    is_sent_and_shared::<SequencedFlush>();
    is_sent_and_shared::<SequencedViewRange>();
}

const KEYS: u64 = 24;
const NUMBERS: u64 = 30_000;

/// The numbers that are done: `below` is the first that is not.
#[derive(Default)]
struct Done {
    below: AtomicU64,
    waiting: Mutex<Vec<u64>>,
}

impl Done {
    fn add(&self, number: u64) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.push(number);
        let mut below = self.below.load(Ordering::Relaxed);
        while let Some(at) = waiting.iter().position(|&done| done == below) {
            waiting.swap_remove(at);
            below += 1;
        }
        self.below.store(below, Ordering::Release);
    }
}

/// The key that a number writes, and the number that a lower or equal one last wrote it under.
fn key_of(number: u64) -> [u8; 1] {
    [(number % KEYS) as u8]
}

fn last_of(key: u64, at: u64) -> Option<u64> {
    (0..=at)
        .rev()
        .take(KEYS as usize)
        .find(|number| number % KEYS == key)
}

/// Numbers are given in order and written in any; tables are frozen, written to files and dropped all the time. A number up to which
/// all is done sees the same of each key wherever it lies.
#[test]
fn what_is_done_is_seen_in_a_table_or_a_file() {
    let limits = Limits {
        table: 20_000,
        soft: 200_000,
        hard: 400_000,
    };
    let set = SequencedSet::new(limits);
    let files: RwLock<Map> = RwLock::default();
    let (next, done, over) = (AtomicU64::new(0), Done::default(), AtomicBool::new(false));
    let deadline = Instant::now() + Duration::from_secs(120);
    let writer = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= NUMBERS {
            return;
        }
        let write = || match number % 3 {
            0 => {
                let mut batch = WriteBatch::new();
                batch.put(key_of(number), number.to_be_bytes());
                set.apply_at(number, &batch)
            }
            _ => set.insert_at(number, key_of(number), number.to_be_bytes()),
        };
        while let Err(error) = write() {
            assert!(matches!(error, Error::MemoryLimit { .. }), "{error}");
            set.wait_for_room(SequencedSet::room([0], [0; 8]), deadline)
                .unwrap();
        }
        done.add(number);
    };
    let flusher = || {
        while !over.load(Ordering::Relaxed) {
            let soon = Instant::now() + Duration::from_millis(20);
            let Some(flush) = set.wait_flush(soon) else {
                continue;
            };
            let rows = flush.pin();
            let mut files = files.write().unwrap();
            for version in rows.versions::<&[u8]>(..) {
                assert!(version.sequence <= flush.largest());
                let key = (version.key.to_vec(), Reverse(version.sequence));
                files.insert(key, Some(version.value.to_vec()));
            }
            drop((files, rows));
            flush.complete();
        }
    };
    let in_files = |at: u64, key: u64| {
        let files = files.read().unwrap();
        let from = (vec![key as u8], Reverse(at));
        let found = files.range(from..).next();
        found
            .filter(|((found, _), _)| *found == [key as u8])
            .map(|((_, Reverse(number)), _)| *number)
    };
    let reader = || {
        let mut reads = 0u64;
        while !over.load(Ordering::Relaxed) || reads == 0 {
            let Some(at) = done.below.load(Ordering::Acquire).checked_sub(1) else {
                continue;
            };
            let key = (at * 31 + reads * 17) % KEYS;
            // The set first: what has left it is in the files by then.
            let seen = match reads % 2 {
                0 => set
                    .version_at(at, [key as u8])
                    .map(|version| version.sequence),
                _ => {
                    let mut range = set.range_at(at, [key as u8]..=[key as u8]);
                    range.next().map(|version| version.sequence)
                }
            };
            assert_eq!(
                seen.max(in_files(at, key)),
                last_of(key, at),
                "{key} at {at}"
            );
            reads += 1;
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3).map(|_| scope.spawn(writer)).collect();
        scope.spawn(flusher);
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        over.store(true, Ordering::Relaxed);
        for ended in ended.into_iter().chain(readers.map(|reader| reader.join())) {
            ended.unwrap();
        }
    });
    assert_eq!(done.below.load(Ordering::Relaxed), NUMBERS);
    assert!(set.oldest_table() > 10, "tables have left");
}
