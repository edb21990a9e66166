//! Tables of narrow leaves and lanes. With 2 to 8 slots in each run there are many lanes, and what happens once in a million inserts
//! into a table of ordinary ones happens all the time: leaves are split, listed, merged, and given to others, on every level.
//!
//! Seeded; set `STRESS_SEED` to repeat a seed and `STRESS_MILLIS` to run longer.

#![allow(clippy::unwrap_used)]

mod settings;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use settings::{duration, seed};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use untorn_memtable::Memtable;

const CAPACITIES: [usize; 4] = [2, 3, 5, 8];
const WRITERS: usize = 4;

/// Runs `round` for each capacity until its time is up, each time from another seed.
fn rounds(mut round: impl FnMut(usize, u64)) {
    let mut seed = seed();
    for capacity in CAPACITIES {
        let end = Instant::now() + duration() / CAPACITIES.len() as u32;
        while Instant::now() < end {
            seed = seed.wrapping_add(1);
            round(capacity, seed);
        }
    }
}

/// The keys of each writer, in the order in which he inserts them.
type Streams = Vec<Vec<[u8; 8]>>;

fn key(n: usize) -> [u8; 8] {
    (n as u64).to_be_bytes()
}

/// Raised when it is dropped, so that readers end too when a writer fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What its writer has inserted of a stream, and whoever sees the number finds.
fn settled(inserted: &[AtomicUsize]) -> Vec<usize> {
    let load = |count: &AtomicUsize| count.load(Ordering::Acquire);
    inserted.iter().map(load).collect()
}

/// Each stream has a writer; beside them somebody scans forwards, one backwards, and one asks for settled keys.
fn write_and_read(capacity: usize, seed: u64, streams: &Streams) {
    let table = Memtable::new().with_leaf_capacity(capacity);
    let inserted: Vec<_> = streams.iter().map(|_| AtomicUsize::new(0)).collect();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let (table, inserted, ended) = (&table, &inserted, &ended);
        let writers: Vec<_> = streams
            .iter()
            .zip(inserted)
            .map(|(stream, inserted)| {
                scope.spawn(move || {
                    let ended = Ended(ended);
                    for (n, key) in stream.iter().enumerate() {
                        assert!(table.insert(key, key).unwrap().changed);
                        assert!(table.contains(key), "{key:?} right after its insert");
                        inserted.store(n + 1, Ordering::Release);
                    }
                    std::mem::forget(ended);
                })
            })
            .collect();
        for backwards in [false, true] {
            scope.spawn(move || {
                while !ended.load(Ordering::Acquire) {
                    scan(table, backwards, streams, &settled(inserted));
                }
            });
        }
        scope.spawn(move || {
            let mut random = SmallRng::seed_from_u64(seed);
            while !ended.load(Ordering::Acquire) {
                get_some(table, streams, &settled(inserted), &mut random);
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        drop(Ended(ended));
        results.into_iter().for_each(|result| result.unwrap());
    });
    let all: Vec<_> = streams.iter().map(Vec::len).collect();
    for backwards in [false, true] {
        assert_eq!(
            scan(&table, backwards, streams, &all),
            all.iter().sum::<usize>()
        );
    }
    for key in streams.iter().flatten() {
        assert_eq!(table.get(key).as_deref(), Some(&key[..]));
    }
    assert_eq!(table.len(), all.iter().sum::<usize>());
}

/// In order, no key twice, each with its own value, and all that were settled before; answers how many.
fn scan(table: &Memtable, backwards: bool, streams: &Streams, settled: &[usize]) -> usize {
    let pinned = table.pin();
    let mut range = pinned.range::<&[u8]>(..);
    let mut met: Vec<&[u8]> = Vec::new();
    while let Some((key, value)) = match backwards {
        false => range.next(),
        true => range.next_back(),
    } {
        assert_eq!(key, value);
        met.push(key);
    }
    if backwards {
        met.reverse();
    }
    assert!(met.is_sorted_by(|left, right| left < right), "out of order");
    for (stream, &settled) in streams.iter().zip(settled) {
        for key in &stream[..settled] {
            let found = met.binary_search(&&key[..]);
            assert!(found.is_ok(), "{key:?} was settled before the scan");
        }
    }
    met.len()
}

/// One by one and side by side.
fn get_some(table: &Memtable, streams: &Streams, settled: &[usize], random: &mut SmallRng) {
    let mut keys = Vec::new();
    for (stream, &settled) in streams.iter().zip(settled) {
        if settled > 0 {
            // The newest ones are where leaves are being split and listed.
            keys.push(stream[settled - 1]);
            keys.extend((0..4).map(|_| stream[random.random_range(0..settled)]));
        }
    }
    for key in &keys {
        assert_eq!(table.get(key).as_deref(), Some(&key[..]), "a settled key");
    }
    for (key, value) in keys.iter().zip(table.get_many(&keys)) {
        assert_eq!(
            value.as_deref(),
            Some(&key[..]),
            "one of several settled keys"
        );
    }
}

#[test]
fn ascending_streams_that_meet_at_the_end_of_the_table() {
    const EACH: usize = 1000;
    let stream = |writer| (0..EACH).map(|n| key(n * WRITERS + writer)).collect();
    let streams = (0..WRITERS).map(stream).collect();
    rounds(|capacity, seed| write_and_read(capacity, seed, &streams));
}

/// All writers take their keys from one counter, so that they always meet in the last leaf: what one of them has just inserted there is
/// looked for while another one is still listing that leaf in the lanes.
#[test]
fn keys_behind_all_others_are_found_at_once_by_everybody() {
    const KEYS: usize = 20_000;
    rounds(|capacity, _| {
        let table = Memtable::new().with_leaf_capacity(capacity);
        let next = AtomicUsize::new(0);
        let newest: Vec<_> = (0..WRITERS).map(|_| AtomicUsize::new(0)).collect();
        table.insert(key(0), key(0)).unwrap();
        thread::scope(|scope| {
            let (table, next, newest) = (&table, &next, &newest);
            for own in newest {
                scope.spawn(move || {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed) + 1;
                        if n > KEYS {
                            break;
                        }
                        assert!(table.insert(key(n), key(n)).unwrap().changed);
                        own.store(n, Ordering::Release);
                        for n in newest.iter().map(|newest| newest.load(Ordering::Acquire)) {
                            assert!(table.contains(key(n)), "{n} was inserted");
                        }
                    }
                });
            }
        });
        let pinned = table.pin();
        let found = pinned.range::<&[u8]>(..).map(|(key, _)| key.to_vec());
        assert!(found.eq((0..=KEYS).map(|n| key(n).to_vec())));
    });
}

#[test]
fn ascending_streams_side_by_side() {
    const EACH: usize = 1000;
    let stream = |writer| (0..EACH).map(|n| key(writer << 32 | n)).collect();
    let streams = (0..WRITERS).map(stream).collect();
    rounds(|capacity, seed| write_and_read(capacity, seed, &streams));
}

#[test]
fn descending_streams_that_meet_at_the_front_of_the_table() {
    const EACH: usize = 1000;
    let stream = |writer| (0..EACH).rev().map(|n| key(n * WRITERS + writer)).collect();
    let streams = (0..WRITERS).map(stream).collect();
    rounds(|capacity, seed| write_and_read(capacity, seed, &streams));
}

#[test]
fn streams_in_random_order() {
    const EACH: usize = 1000;
    rounds(|capacity, seed| {
        let mut keys: Vec<_> = (0..EACH * WRITERS).map(key).collect();
        keys.shuffle(&mut SmallRng::seed_from_u64(seed));
        let streams = keys.chunks(EACH).map(<[_]>::to_vec).collect();
        write_and_read(capacity, seed, &streams);
    });
}

/// Every fourth key stays. Each writer has keys of his own, of which he knows at each moment whether they are there: he inserts them
/// in ascending order behind all others or at random, and takes them out again, so that leaves are merged as often as split.
#[test]
fn leaves_that_come_and_go_around_keys_that_stay() {
    const KEYS: usize = 400;
    rounds(|capacity, seed| {
        let table = Memtable::new().with_leaf_capacity(capacity);
        let staying: Vec<_> = (0..KEYS).step_by(4).map(key).collect();
        for key in &staying {
            table.insert(key, key).unwrap();
        }
        let (all, stays) = (vec![staying], [KEYS / 4]);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let (table, all, ended) = (&table, &all, &ended);
            let writers: Vec<_> = (1..WRITERS)
                .map(|writer| {
                    scope.spawn(move || {
                        let ended = Ended(ended);
                        let mut random = SmallRng::seed_from_u64(seed ^ (writer as u64) << 32);
                        for _ in 0..20 {
                            come_and_go(table, writer, KEYS, &mut random);
                        }
                        std::mem::forget(ended);
                    })
                })
                .collect();
            for backwards in [false, true] {
                scope.spawn(move || {
                    while !ended.load(Ordering::Acquire) {
                        scan(table, backwards, all, &stays);
                    }
                });
            }
            scope.spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed);
                while !ended.load(Ordering::Acquire) {
                    get_some(table, all, &stays, &mut random);
                }
            });
            let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            drop(Ended(ended));
            results.into_iter().for_each(|result| result.unwrap());
        });
        assert_eq!(scan(&table, false, &all, &stays), KEYS / 4);
        assert_eq!(table.len(), KEYS / 4);
    });
}

/// Inserts the writer's keys and takes them out again, in ascending or in random order.
fn come_and_go(table: &Memtable, writer: usize, keys: usize, random: &mut SmallRng) {
    let mut own: Vec<_> = (writer..keys).step_by(WRITERS).map(key).collect();
    if random.random() {
        own.shuffle(random);
    }
    for key in &own {
        assert!(table.insert(key, key).unwrap().changed);
        assert_eq!(table.get(key).as_deref(), Some(&key[..]));
    }
    if random.random() {
        own.shuffle(random);
    }
    for key in &own {
        let removed = table.remove(key).unwrap();
        assert!(removed.is_some_and(|entry| entry.value == key[..]));
        assert_eq!(table.get(key), None);
    }
}
