//! Eight writers on disjoint and overlapping keys, two scanners and a poller, for `UNTORN_SECONDS` (3 by default).

#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use untorn_memtable::Memtable;

const WRITERS: u64 = 8;
const SHARED_KEYS: u64 = 5_000;
const OWN_KEYS: u64 = 40_000;

fn own(writer: u64, n: u64) -> String {
    format!("own/{n:06}/{writer}")
}

fn shared(n: u64) -> String {
    format!("shared/{n:06}")
}

/// A value that says of itself whether it is whole.
fn value(n: u64, len: usize) -> Vec<u8> {
    let mut value = n.to_be_bytes().to_vec();
    value.resize(8 + len % 200, n as u8);
    value
}

fn is_whole(value: &[u8]) -> bool {
    let (number, rest) = value.split_at(8);
    rest.iter().all(|byte| *byte == number[7])
}

#[test]
fn writers_scanners_and_a_poller_lose_nothing() {
    let seconds = std::env::var("UNTORN_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rounds = 0;
    let (mut writes, scans, polls) = (0, AtomicU64::new(0), AtomicU64::new(0));
    while Instant::now() < until {
        rounds += 1;
        writes += round(seed + rounds, &scans, &polls);
    }
    println!("{rounds} rounds, {writes} writes, {scans:?} scans, {polls:?} readings of stats");
}

fn round(seed: u64, scans: &AtomicU64, polls: &AtomicU64) -> u64 {
    let table = Memtable::new();
    let writing = AtomicBool::new(true);
    let inserted: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (table, inserted) = (&table, &inserted[writer as usize]);
                scope.spawn(move || {
                    let mut random = SmallRng::seed_from_u64(seed ^ writer);
                    for n in 0..OWN_KEYS {
                        table
                            .insert(own(writer, n), value(n, random.random_range(0..256)))
                            .unwrap();
                        inserted.store(n + 1, Ordering::Release);
                        if n % 4 == 0 {
                            let n = random.random_range(0..SHARED_KEYS);
                            table
                                .insert(shared(n), value(n, random.random_range(0..256)))
                                .unwrap();
                        }
                    }
                })
            })
            .collect();
        for backwards in [false, true] {
            let (table, writing, inserted) = (&table, &writing, &inserted);
            scope.spawn(move || {
                while writing.load(Ordering::Acquire) {
                    scan(table, backwards, inserted);
                    scans.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (table, writing, inserted) = (&table, &writing, &inserted);
        scope.spawn(move || {
            let mut last = 0;
            while writing.load(Ordering::Acquire) {
                let settled: u64 = inserted.iter().map(|n| n.load(Ordering::Acquire)).sum();
                let stats = table.stats();
                assert!(
                    stats.len >= last && stats.len as u64 >= settled,
                    "{stats:?} after {last}, {settled} settled"
                );
                assert!(stats.len as u64 <= WRITERS * OWN_KEYS + SHARED_KEYS);
                assert!(
                    stats.size >= stats.len * (12 + 8) && stats.size <= stats.len * (13 + 208),
                    "{stats:?}"
                );
                last = stats.len;
                polls.fetch_add(1, Ordering::Relaxed);
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        writing.store(false, Ordering::Release);
    });
    let pinned = table.pin();
    let (mut len, mut size, mut own_keys) = (0, 0, 0);
    for (key, value) in pinned.range::<&[u8]>(..) {
        assert!(is_whole(value));
        len += 1;
        size += key.len() + value.len();
        own_keys += u64::from(key.starts_with(b"own/"));
    }
    assert_eq!(own_keys, WRITERS * OWN_KEYS);
    assert_eq!((table.stats().len, table.stats().size), (len, size));
    for writer in 0..WRITERS {
        for n in (0..OWN_KEYS).step_by(97) {
            assert!(pinned.get(own(writer, n)).is_some());
        }
    }
    WRITERS * (OWN_KEYS + OWN_KEYS.div_ceil(4))
}

/// Order kept, no key twice, all values whole, and every key that was settled before the scan is in it.
fn scan(table: &Memtable, backwards: bool, inserted: &[AtomicU64]) {
    let settled: u64 = inserted.iter().map(|n| n.load(Ordering::Acquire)).sum();
    let pinned = table.pin();
    let mut range = pinned.range("own/".."own0");
    let mut last: Option<&[u8]> = None;
    let mut met = 0;
    while let Some((key, value)) = if backwards {
        range.next_back()
    } else {
        range.next()
    } {
        assert!(last.is_none_or(|last| if backwards { key < last } else { last < key }));
        assert!(is_whole(value));
        last = Some(key);
        met += 1;
    }
    assert!(met >= settled, "{met} of {settled} settled keys");
}
