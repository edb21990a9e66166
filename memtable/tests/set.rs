//! Tables that take turns, read as one.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untorn_memtable::{
    Entry, Error, Flush, Kind, Limits, MemtableSet, Room, SetSnapshot, WriteBatch,
};

/// What a key holds; `None` is a tombstone.
type Map = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn content(entry: &Entry) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = (entry.kind == Kind::Value).then(|| entry.value.to_vec());
    (entry.key.to_vec(), value)
}

fn contents(snapshot: &SetSnapshot) -> Map {
    let all = snapshot.range::<&[u8]>(..);
    all.map(|entry| content(&entry)).collect()
}

fn table_contents(flush: &Flush) -> Map {
    let pinned = flush.pin();
    let all = pinned.range_all::<&[u8]>(..);
    all.map(|item| content(&item.to_entry())).collect()
}

/// Flushes as long as somebody is writing, and what is left then.
fn flush_while(set: &MemtableSet, writing: &AtomicBool, mut write: impl FnMut(&Flush)) {
    loop {
        let last = !writing.load(Ordering::Acquire);
        match set.next_flush() {
            Some(flush) => {
                write(&flush);
                flush.complete();
            }
            None if last => return,
            None => thread::yield_now(),
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, u8),
    Delete(u8),
    /// Keys with values, or tombstones.
    Batch(Vec<(u8, Option<u8>)>),
    Rotate,
    Flush,
    GiveBack,
    /// Completes one of the flushes in hand.
    Complete(usize),
    Snapshot,
    Range(u8, u8, Vec<bool>),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..20u8;
    prop_oneof![
        8 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => key.clone().prop_map(Op::Delete),
        2 => prop::collection::vec((key.clone(), any::<Option<u8>>()), 0..8).prop_map(Op::Batch),
        2 => Just(Op::Rotate),
        1 => Just(Op::Flush),
        1 => Just(Op::GiveBack),
        1 => (0..4usize).prop_map(Op::Complete),
        1 => Just(Op::Snapshot),
        2 => (key.clone(), key, prop::collection::vec(any::<bool>(), 0..24)).prop_map(|(a, b, ends)| Op::Range(a, b, ends)),
    ]
}

proptest! {
    #[test]
    fn a_set_and_the_files_below_it_behave_like_one_map(ops in prop::collection::vec(op(), 1..100)) {
        // Batches of more than three writes are tables of their own.
        let limits = Limits { table: 2 * 4 * 128, ..Limits::default() };
        let set = MemtableSet::new(limits);
        let mut map = Map::new();
        let mut files: Vec<Map> = Vec::new();
        let mut flushes: Vec<Flush> = Vec::new();
        let mut snapshots: Vec<(SetSnapshot, Map)> = Vec::new();
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    set.insert([key], [value]).unwrap();
                    map.insert(vec![key], Some(vec![value]));
                }
                Op::Delete(key) => {
                    set.delete([key]).unwrap();
                    map.insert(vec![key], None);
                }
                Op::Batch(writes) => {
                    let mut batch = WriteBatch::new();
                    for (key, value) in writes {
                        match value {
                            Some(value) => batch.put([key], [value]),
                            None => batch.delete([key]),
                        };
                        map.insert(vec![key], value.map(|value| vec![value]));
                    }
                    prop_assert_eq!(set.apply(&batch).unwrap().changed, !batch.is_empty());
                }
                Op::Rotate => {
                    let frozen = set.frozen_tables();
                    let rotated = set.rotate();
                    prop_assert_eq!(set.frozen_tables(), frozen + usize::from(rotated.is_some()));
                }
                Op::Flush => flushes.extend(set.next_flush()),
                Op::GiveBack => drop(flushes.pop()),
                Op::Complete(at) => if at < flushes.len() {
                    let flush = flushes.remove(at);
                    files.push(table_contents(&flush));
                    flush.complete();
                }
                Op::Snapshot => snapshots.push((set.snapshot(), contents(&set.snapshot()))),
                Op::Range(a, b, ends) => {
                    let snapshot = set.snapshot();
                    let mut range = snapshot.range([a]..=[b]);
                    let whole = contents(&snapshot);
                    let mut left = whole.into_iter().filter(|(key, _)| (a..=b).contains(&key[0])).collect::<Vec<_>>();
                    for front in ends {
                        let expected = match front {
                            _ if left.is_empty() => None,
                            true => Some(left.remove(0)),
                            false => left.pop(),
                        };
                        let shown = if front { range.next() } else { range.next_back() };
                        prop_assert_eq!(shown.as_ref().map(content), expected);
                    }
                }
            }
            for key in 0..20u8 {
                let held = map.get(&vec![key]);
                match set.entry([key]).as_ref().map(content) {
                    Some((_, value)) => prop_assert_eq!(Some(&value), held),
                    // Not in the set: it is in a file, or was never written.
                    None => prop_assert_eq!(held.is_some(), files.iter().any(|file| file.contains_key(&vec![key]))),
                }
                prop_assert_eq!(set.snapshot().entry([key]), set.entry([key]));
                prop_assert_eq!(set.get([key]), set.entry([key]).filter(|entry| entry.kind == Kind::Value).map(|entry| entry.value));
            }
            let keys: Vec<[u8; 1]> = (0..20u8).map(|key| [key]).collect();
            let values: Vec<_> = keys.iter().map(|key| set.get(key)).collect();
            prop_assert_eq!(set.get_many(&keys), values);
            for (snapshot, before) in &snapshots {
                prop_assert_eq!(&contents(snapshot), before);
            }
        }
    }
}

/// Two keys of one writer: the second follows the first at once.
fn pair(writer: u8) -> [[u8; 2]; 2] {
    [[writer, 0], [writer, 1]]
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

#[test]
fn rotation_under_writers_loses_nothing_and_tears_no_snapshot() {
    const WRITERS: u8 = 3;
    const EACH: u64 = 6000;
    let limits = Limits {
        table: 40_000,
        ..Limits::default()
    };
    let set = MemtableSet::new(limits);
    let files = Mutex::new(Vec::new());
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let set = &set;
                scope.spawn(move || {
                    for n in 1..=EACH {
                        for key in pair(writer) {
                            set.insert(key, n.to_be_bytes()).unwrap();
                        }
                        let [first, _] = pair(writer);
                        let read = set.entry(first);
                        // Not there: flushed already, and never older than what was written.
                        assert!(read.is_none_or(|entry| number(&entry.value) == n));
                    }
                })
            })
            .collect();
        // Tables leave in the order in which they came, so files are in order, too.
        let flusher = scope.spawn(|| {
            flush_while(&set, &writing, |flush| {
                files.lock().unwrap().push(table_contents(flush));
            });
        });
        let reader = scope.spawn(|| {
            let mut rounds = 0u64;
            while writing.load(Ordering::Acquire) || rounds == 0 {
                let files_before = files.lock().unwrap().len();
                let snapshot = set.snapshot();
                for writer in 0..WRITERS {
                    let [first, second] = pair(writer).map(|key| snapshot.get(key));
                    // Both are in the set, or one may have been flushed with a table that is older than the snapshot.
                    if let (Some(first), Some(second)) = (first, second) {
                        let (first, second) = (number(&first), number(&second));
                        assert!(
                            first == second || first == second + 1,
                            "{first} and {second} with {files_before} files"
                        );
                    }
                }
                rounds += 1;
            }
            rounds
        });
        for writer in writers {
            writer.join().unwrap();
        }
        set.rotate();
        writing.store(false, Ordering::Release);
        flusher.join().unwrap();
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(set.frozen_tables(), 0);
    // What the reader let go last.
    assert!(set.next_flush().is_none());
    let files = files.into_inner().unwrap();
    assert!(files.len() > 3, "{} files", files.len());
    for writer in 0..WRITERS {
        for key in pair(writer) {
            let values: Vec<_> = files.iter().filter_map(|file| file.get(&key[..])).collect();
            let numbers: Vec<_> = values
                .iter()
                .map(|value| number(value.as_deref().unwrap()))
                .collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
            assert_eq!(numbers.last(), Some(&EACH));
        }
    }
    assert_eq!(set.reserved_bytes(), 0);
}

/// Every thread writes keys of its own, one by one, in small batches and in such as are tables of their own.
#[test]
fn a_write_is_in_the_table_whose_number_it_answers() {
    const WRITERS: u8 = 3;
    const EACH: u32 = 2000;
    const FIRST: u64 = 41;
    let limits = Limits {
        table: 20_000,
        ..Limits::default()
    };
    let set = MemtableSet::starting_at(limits, FIRST);
    let files = Mutex::new(BTreeMap::new());
    let writing = AtomicBool::new(true);
    let answered = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let set = &set;
                scope.spawn(move || {
                    let write = |n: u32| {
                        let key = [&[writer][..], &n.to_be_bytes()].concat();
                        let mut batch = WriteBatch::new();
                        let written = match n % 100 {
                            0 => set.apply(batch.put(&key, [0; 15_000])),
                            1..10 => set.apply(batch.put(&key, "v")),
                            10..20 => set.delete(&key),
                            _ => set.insert(&key, "v"),
                        };
                        (key, written.unwrap().table)
                    };
                    (0..EACH).map(write).collect::<Vec<_>>()
                })
            })
            .collect();
        let flusher = scope.spawn(|| {
            flush_while(&set, &writing, |flush| {
                assert!(set.oldest_table() <= flush.number());
                let keys: Vec<_> = table_contents(flush).into_keys().collect();
                let before = files.lock().unwrap().insert(flush.number(), keys);
                assert_eq!(before, None);
            });
        });
        let answered = writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap());
        let answered: Vec<_> = answered.collect();
        let newest = answered.iter().map(|&(_, table)| table).max();
        assert!(set.rotate().is_none_or(|rotated| Some(rotated) == newest));
        writing.store(false, Ordering::Release);
        flusher.join().unwrap();
        answered
    });
    let files = files.into_inner().unwrap();
    let in_files: BTreeMap<_, _> = files
        .iter()
        .flat_map(|(number, keys)| keys.iter().map(|key| (key.clone(), *number)))
        .collect();
    assert_eq!(in_files, answered.into_iter().collect());
    assert_eq!(set.oldest_table(), FIRST + files.len() as u64);
    assert!(files.len() > 60, "{} files", files.len());
}

#[test]
fn numbers_go_on_from_the_first_one_that_was_given() {
    let set = MemtableSet::starting_at(Limits::default(), u64::MAX);
    assert_eq!(set.oldest_table(), u64::MAX);
    let nothing = set.apply(&WriteBatch::new()).unwrap();
    assert_eq!((nothing.changed, nothing.table), (false, u64::MAX));
    assert_eq!(set.rotate(), None);
    for number in [u64::MAX, 0] {
        let written = set.insert("k", "v").unwrap();
        assert_eq!((written.changed, written.table), (true, number));
        assert_eq!(set.rotate(), Some(number));
    }
    let [first, second] = [(); 2].map(|()| set.next_flush().unwrap());
    assert_eq!((first.number(), second.number()), (u64::MAX, 0));
    // Only when all before it are flushed, too, is a table of no concern to the log.
    second.complete();
    assert_eq!(set.oldest_table(), u64::MAX);
    first.complete();
    assert_eq!(set.oldest_table(), 1);
}

#[test]
fn a_rotation_is_not_lost_to_a_flush_that_completes_meanwhile() {
    let set = MemtableSet::new(Limits::default());
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let flusher = scope.spawn(|| flush_while(&set, &writing, |_| ()));
        // The second one has nothing to rotate, if the first one put a new table in place.
        let lost = (0..5_000u64).find(|n| {
            set.insert("k", n.to_be_bytes()).unwrap();
            set.rotate().is_none() || set.rotate().is_some()
        });
        writing.store(false, Ordering::Release);
        flusher.join().unwrap();
        assert_eq!(lost, None);
    });
    assert_eq!(set.reserved_bytes(), 0);
}

/// Each batch writes all keys, small ones into the active table and large ones as tables of their own; who reads sees one batch.
#[test]
fn nobody_sees_half_a_batch_whichever_way_it_goes() {
    const WRITERS: u8 = 2;
    const KEYS: u8 = 8;
    const EACH: u64 = 400;
    let limits = Limits {
        table: 20_000,
        ..Limits::default()
    };
    let set = MemtableSet::new(limits);
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let set = &set;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let mut batch = WriteBatch::new();
                        let len = if n % 5 == 0 { 2000 } else { 9 };
                        for key in 0..KEYS {
                            let mut value = vec![0; len];
                            value[..8].copy_from_slice(&n.to_be_bytes());
                            value[8] = writer;
                            batch.put([key], value);
                        }
                        set.apply(&batch).unwrap();
                    }
                })
            })
            .collect();
        let flusher = scope.spawn(|| {
            while writing.load(Ordering::Acquire) {
                match set.next_flush() {
                    // Not the newest frozen one, so that every key is in the set.
                    Some(flush) if set.frozen_tables() > 2 => flush.complete(),
                    _ => thread::yield_now(),
                }
            }
        });
        let reader = scope.spawn(|| {
            while writing.load(Ordering::Acquire) {
                let snapshot = set.snapshot();
                let batches: Vec<_> = (0..KEYS)
                    .map(|key| snapshot.get([key]).map(|value| value[..9].to_vec()))
                    .collect();
                assert!(
                    batches.iter().all(|batch| *batch == batches[0]),
                    "torn: {batches:?}"
                );
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        writing.store(false, Ordering::Release);
        flusher.join().unwrap();
        reader.join().unwrap();
    });
    assert_eq!(contents(&set.snapshot()).len(), usize::from(KEYS));
}

#[test]
fn a_large_batch_is_a_table_of_its_own_between_those_before_and_after() {
    let limits = Limits {
        table: 4000,
        ..Limits::default()
    };
    let set = MemtableSet::new(limits);
    set.insert("k", "before").unwrap();
    let mut batch = WriteBatch::new();
    for key in 0..50u8 {
        batch.put([key], "batch");
    }
    let written = set.apply(batch.put("k", "batch")).unwrap();
    assert_eq!((written.table, set.frozen_tables()), (1, 2));
    assert_eq!(set.get("k").as_deref(), Some(&b"batch"[..]));
    set.insert("k", "after").unwrap();
    assert_eq!(set.get("k").as_deref(), Some(&b"after"[..]));

    let (first, second) = (set.next_flush().unwrap(), set.next_flush().unwrap());
    assert_eq!((first.number(), first.stats().len), (0, 1));
    assert_eq!((second.number(), second.stats().len), (1, 51));
    first.complete();
    second.complete();
    assert_eq!(set.get("k").as_deref(), Some(&b"after"[..]));
    set.rotate();
    assert_eq!(set.next_flush().unwrap().number(), 2);
}

#[test]
fn a_flush_goes_to_a_thread_of_its_own_and_may_outlive_every_other_handle() {
    fn may_go_anywhere<T: Send + Sync + 'static>() {}
    may_go_anywhere::<(MemtableSet, Flush, SetSnapshot)>();
    let set = MemtableSet::default();
    let other = set.clone();
    set.insert("k", "v").unwrap();
    assert_eq!(other.rotate(), Some(0));
    let flush = set.next_flush().unwrap();
    let flusher = thread::spawn(move || {
        let rows = table_contents(&flush);
        flush.complete();
        rows
    });
    drop((set, other));
    assert_eq!(flusher.join().unwrap().len(), 1);
}

#[test]
fn a_tag_without_content_is_refused_by_a_set() {
    let set = MemtableSet::new(Limits::default());
    let mut batch = WriteBatch::new();
    batch.put("a", "1").tag("a", 1).tag("b", 1);
    assert_eq!(set.apply(&batch), Err(Error::TagAlone));
    assert_eq!(set.get("a"), None);
    assert!(set.apply(batch.put("b", "2")).is_ok());
}

/// While one batch is on its way to the table, the other finds neither room nor anything to freeze.
#[test]
fn limits_of_a_single_table_stop_nobody() {
    let mut batch = WriteBatch::new();
    for key in 0..500u16 {
        batch.put(key.to_be_bytes(), "v");
    }
    let limits = Limits {
        table: u64::MAX,
        soft: 1000,
        hard: Room::from(&batch).bytes(),
    };
    let far = Instant::now() + Duration::from_secs(60);
    for _ in 0..50 {
        let set = MemtableSet::new(limits);
        let writing = AtomicBool::new(true);
        thread::scope(|scope| {
            let flusher = scope.spawn(|| flush_while(&set, &writing, |_| ()));
            let writers = [(); 2].map(|()| {
                scope.spawn(|| {
                    while let Err(error) = set.apply(&batch) {
                        assert_eq!(error, Error::MemoryLimit { limit: limits.hard });
                        set.wait_for_room(&batch, far).unwrap();
                    }
                })
            });
            let written = writers.map(|writer| writer.join());
            writing.store(false, Ordering::Release);
            flusher.join().unwrap();
            assert!(written.iter().all(Result::is_ok));
        });
    }
}

#[test]
fn a_table_leaves_only_after_all_older_ones() {
    let set = MemtableSet::new(Limits::default());
    for value in ["1", "2", "3"] {
        set.insert("k", value).unwrap();
        assert!(set.rotate().is_some());
    }
    assert_eq!(set.rotate(), None);
    let [first, second] = [(); 2].map(|()| set.next_flush().unwrap());
    assert_eq!(first.get("k").as_deref(), Some(&b"1"[..]));
    second.complete();
    // Or the first one's value would be found next.
    assert_eq!(set.frozen_tables(), 3);
    // Given back, it is the oldest again.
    drop(first);
    let first = set.next_flush().unwrap();
    assert_eq!(first.get("k").as_deref(), Some(&b"1"[..]));
    let held = set.snapshot();
    first.complete();
    assert_eq!(set.frozen_tables(), 1);
    assert_eq!(set.get("k").as_deref(), Some(&b"3"[..]));
    assert_eq!(held.range::<&str>(..).count(), 1);
    // A snapshot keeps what it shows, and that counts, until the next one who flushes frees it.
    let reserved = set.reserved_bytes();
    drop(held);
    assert_eq!(set.reserved_bytes(), reserved);
    let third = set.next_flush().unwrap();
    assert!(set.reserved_bytes() < reserved);
    third.complete();
    assert_eq!(set.reserved_bytes(), 0);
}

#[test]
fn who_waits_for_a_flush_is_woken_by_the_rotation() {
    let set = MemtableSet::new(Limits::default());
    assert!(set.wait_flush(Instant::now()).is_none());
    let far = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        let flusher = scope.spawn(|| set.wait_flush(far).map(Flush::complete));
        set.insert("k", "v").unwrap();
        set.rotate();
        assert!(flusher.join().unwrap().is_some());
    });
    assert_eq!(set.frozen_tables(), 0);
}
