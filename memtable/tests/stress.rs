//! Threads against each other, with checks that hold at every instant and exact checks at rest. Bounded, seeded; set
//! `STRESS_SEED` to repeat a seed and `STRESS_MILLIS` to run longer.

#![allow(clippy::unwrap_used)]

mod settings;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use settings::{duration, seed};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untorn_memtable::{Memtable, Stats, Update, WriteBatch};

const KEY: usize = 8;

fn key(n: u64) -> [u8; KEY] {
    n.to_be_bytes()
}

/// A value that says which key it belongs to and whether it is whole.
fn value(n: u64, count: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&n.to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    let fill = (n ^ count)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .to_be_bytes()[0];
    bytes.resize(len, fill);
    bytes
}

/// Checks a value and answers its count.
fn check(n: u64, bytes: &[u8], len: usize) -> u64 {
    assert_eq!(bytes.len(), len);
    let count = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
    assert_eq!(
        bytes,
        value(n, count, len),
        "a torn or foreign value under {n}"
    );
    count
}

/// What the table holds, counted key by key.
fn recount(table: &Memtable) -> Stats {
    let pinned = table.pin();
    let mut stats = Stats::default();
    for item in pinned.range_all::<&[u8]>(..) {
        stats.len += 1;
        stats.size += item.key.len() + item.value.len();
    }
    stats
}

/// Writes elsewhere until all debts should be paid.
fn settle(table: &Memtable) {
    for _ in 0..20_000 {
        table.insert("zzz", "z").unwrap();
    }
    table.remove("zzz").unwrap();
}

/// Tells the threads to stop when the time is up or when one of them fails.
struct Clock {
    end: Instant,
    stop: AtomicBool,
}

impl Clock {
    fn new(duration: Duration) -> Clock {
        Clock {
            end: Instant::now() + duration,
            stop: AtomicBool::new(false),
        }
    }

    fn runs(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && Instant::now() < self.end
    }

    fn watch<T>(&self, body: impl FnOnce() -> T) -> T {
        struct Stop<'c>(&'c Clock);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        let _stop = Stop(self);
        body()
    }
}

/// Opens, releases and cleans up nested stages at random until the time is up; leaves none open.
fn churn_stages(table: &Memtable, clock: &Clock, rng: &mut StdRng, depth: usize) {
    let mut open = Vec::new();
    while clock.runs() {
        if open.len() < depth && rng.random_bool(0.5) {
            open.push(table.open_stage());
        } else if let Some(stage) = open.pop() {
            match rng.random_bool(0.5) {
                true => drop(table.release_stage(stage).unwrap()),
                false => table.cleanup_stage(stage).unwrap(),
            }
        }
        for _ in 0..rng.random_range(0..200) {
            std::hint::spin_loop();
        }
        if rng.random_bool(0.1) {
            thread::yield_now();
        }
    }
    while let Some(stage) = open.pop() {
        match rng.random_bool(0.5) {
            true => drop(table.release_stage(stage).unwrap()),
            false => table.cleanup_stage(stage).unwrap(),
        }
    }
}

fn read_all(snapshot: &untorn_memtable::Snapshot<&Memtable>) -> BTreeMap<Vec<u8>, (Vec<u8>, u32)> {
    snapshot
        .range::<&[u8]>(..)
        .map(|entry| (entry.key.to_vec(), (entry.value.to_vec(), entry.tag)))
        .collect()
}

fn all_at_once(seed: u64, len: usize, keys: u64, depth: usize, duration: Duration) {
    let table = Memtable::new().with_leaf_capacity(if seed.is_multiple_of(2) { 4 } else { 48 });
    let unit = KEY + len;
    let clock = Clock::new(duration);
    let running = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let (table, clock, running) = (&table, &clock, &running);
            scope.spawn(move || {
                clock.watch(|| {
                    running.fetch_add(1, Ordering::Relaxed);
                    let mut rng = StdRng::seed_from_u64(seed ^ (thread << 32));
                    let mut count = thread << 48;
                    while clock.runs() {
                        count += 1;
                        let n = rng.random_range(0..keys);
                        match rng.random_range(0..10) {
                            0..3 => {
                                table.insert(key(n), value(n, count, len)).unwrap();
                            }
                            3 => {
                                let mut batch = WriteBatch::new();
                                for _ in 0..rng.random_range(1..6) {
                                    let n = rng.random_range(0..keys);
                                    batch.put(key(n), value(n, count, len));
                                }
                                table.apply(&batch).unwrap();
                            }
                            4..6 => {
                                let new = value(n, count, len);
                                table
                                    .update(key(n), |item| {
                                        if let Some(item) = &item {
                                            check(n, item.value, len);
                                        }
                                        Update::Put {
                                            value: Cow::Borrowed(&new),
                                            tag: item.map_or(1, |item| item.tag + 1),
                                        }
                                    })
                                    .unwrap();
                            }
                            6..9 => {
                                if let Some(old) = table.remove(key(n)).unwrap() {
                                    check(n, &old.value, len);
                                }
                            }
                            _ => {
                                if let Some(old) = table.get(key(n)) {
                                    check(n, &old, len);
                                }
                            }
                        }
                    }
                })
            });
        }
        let (table, clock) = (&table, &clock);
        scope.spawn(move || {
            clock.watch(|| churn_stages(table, clock, &mut StdRng::seed_from_u64(seed ^ 77), depth))
        });
        scope.spawn(move || {
            clock.watch(|| {
                while clock.runs() {
                    let stats = table.stats();
                    assert_eq!(stats.size, stats.len * unit, "a torn pair");
                    assert!(stats.len <= keys as usize, "{stats:?}");
                }
            })
        });
        for thread in 0..2u64 {
            scope.spawn(move || {
                clock.watch(|| {
                    let mut rng = StdRng::seed_from_u64(seed ^ (thread << 24) ^ 0x5A5A);
                    let mut held = Vec::new();
                    while clock.runs() {
                        let snapshot = match rng.random_bool(0.3) {
                            true => untorn_memtable::Snapshot::before_stages(table),
                            false => table.snapshot(),
                        };
                        let shown = read_all(&snapshot);
                        for (key, (value, _)) in &shown {
                            check(u64::from_be_bytes(key[..].try_into().unwrap()), value, len);
                        }
                        held.push((snapshot, shown));
                        let at = rng.random_range(0..held.len());
                        let (snapshot, shown) = &held[at];
                        let now = read_all(snapshot);
                        assert_eq!(now.len(), shown.len(), "a snapshot changed");
                        assert!(now == *shown, "a snapshot changed");
                        if held.len() > 3 {
                            held.swap_remove(at);
                        }
                    }
                })
            });
        }
    });
    let before = recount(&table);
    assert_eq!(table.stats(), before, "at rest");
    settle(&table);
    assert_eq!(recount(&table), before, "paying debts changed the contents");
    assert_eq!(table.stats(), before, "at rest, debts paid");
}

#[test]
fn all_operations_at_once_on_few_keys() {
    let seed = seed();
    for round in 0..10 {
        all_at_once(seed.wrapping_add(round), 24, 12, 3, duration() / 10);
    }
}

#[test]
fn all_operations_at_once_on_many_keys() {
    let seed = seed();
    for round in 0..4 {
        all_at_once(seed.wrapping_add(round), 24, 2000, 3, duration() / 4);
    }
}

#[test]
fn all_operations_at_once_on_large_values() {
    let seed = seed();
    for round in 0..10 {
        all_at_once(seed.wrapping_add(round), 200, 12, 3, duration() / 10);
    }
}

#[test]
fn without_stages_many_removals() {
    let seed = seed();
    for round in 0..10 {
        all_at_once(seed.wrapping_add(round), 24, 3, 0, duration() / 10);
    }
}

/// What was rolled back stays rolled back: inner stages come and go inside of an open one, and at rest the counters, which
/// drop what was rolled back, agree with the keys.
#[test]
fn a_write_that_straddles_an_inner_rollback_does_not_come_back() {
    let seed = seed();
    let end = Instant::now() + duration();
    let mut round = 0u64;
    while Instant::now() < end {
        round += 1;
        let table = Memtable::new();
        let outer = table.open_stage();
        let clock = Clock::new(Duration::from_millis(40));
        thread::scope(|scope| {
            let (table, clock) = (&table, &clock);
            for thread in 0..3u64 {
                scope.spawn(move || {
                    clock.watch(|| {
                        let mut n = thread << 32;
                        while clock.runs() {
                            n += 1;
                            table.insert(key(n), value(n, 0, 24)).unwrap();
                        }
                    })
                });
            }
            scope.spawn(move || {
                clock.watch(|| {
                    churn_stages(table, clock, &mut StdRng::seed_from_u64(seed ^ round), 2)
                })
            });
        });
        table.release_stage(outer).unwrap();
        let before = recount(&table);
        assert_eq!(table.stats(), before, "at rest");
        settle(&table);
        assert_eq!(recount(&table), before, "paying debts changed the contents");
        assert_eq!(table.stats(), before, "at rest, debts paid");
    }
}

/// A key that was there before any stage is never absent, and its count never falls below what was written before.
#[test]
fn a_rollback_uncovers_what_was_there_before() {
    const KEYS: u64 = 3;
    let seed = seed();
    let table = Memtable::new();
    let outer = table.open_stage();
    for n in 0..KEYS {
        table.insert(key(n), value(n, 1, 24)).unwrap();
    }
    let clock = Clock::new(duration());
    thread::scope(|scope| {
        let (table, clock) = (&table, &clock);
        for _ in 0..3 {
            scope.spawn(move || {
                clock.watch(|| {
                    let mut count = 1;
                    while clock.runs() {
                        count += 1;
                        let n = count % KEYS;
                        table
                            .update(key(n), |item| {
                                let item = item.expect("the key was there before");
                                Update::Put {
                                    value: Cow::Owned(value(n, check(n, item.value, 24) + 1, 24)),
                                    tag: 0,
                                }
                            })
                            .unwrap();
                    }
                })
            });
        }
        scope.spawn(move || {
            clock.watch(|| churn_stages(table, clock, &mut StdRng::seed_from_u64(seed), 2))
        });
        scope.spawn(move || {
            clock.watch(|| {
                while clock.runs() {
                    assert_eq!(table.stats().len, KEYS as usize);
                }
            })
        });
    });
    table.release_stage(outer).unwrap();
    settle(&table);
    assert_eq!(table.stats(), recount(&table));
    assert_eq!(table.len(), KEYS as usize);
}

/// Snapshots and counts are taken while stages are released all the time, which moves the view but not the segment.
#[test]
fn a_release_does_not_swallow_a_tick() {
    const KEYS: u64 = 4;
    seed();
    let table = Memtable::new();
    let clock = Clock::new(duration());
    for n in 0..KEYS {
        table.insert(key(n), value(n, 1, 24)).unwrap();
    }
    thread::scope(|scope| {
        let (table, clock) = (&table, &clock);
        for thread in 1..3u64 {
            scope.spawn(move || {
                clock.watch(|| {
                    let mut count = thread << 40;
                    while clock.runs() {
                        count += 1;
                        let n = count % KEYS;
                        table.insert(key(n), value(n, count, 24)).unwrap();
                    }
                })
            });
        }
        scope.spawn(move || {
            clock.watch(|| {
                while clock.runs() {
                    let stage = table.open_stage();
                    table.release_stage(stage).unwrap();
                }
            })
        });
        for _ in 0..2 {
            scope.spawn(move || {
                clock.watch(|| {
                    while clock.runs() {
                        let snapshot = table.snapshot();
                        let shown = read_all(&snapshot);
                        assert!(shown == read_all(&snapshot), "a snapshot changed");
                    }
                })
            });
        }
    });
}

/// A key that is made with a persistent bit is counted as a whole or not at all.
#[test]
fn keys_with_persistent_bits_are_counted_whole() {
    seed();
    let table = Memtable::with_persistent_tag(1);
    let clock = Clock::new(duration());
    thread::scope(|scope| {
        let (table, clock) = (&table, &clock);
        for thread in 0..3u64 {
            scope.spawn(move || {
                clock.watch(|| {
                    let mut n = thread << 32;
                    while clock.runs() {
                        n += 1;
                        let new = value(n, 0, 24);
                        let value = Cow::Borrowed(&new[..]);
                        table
                            .update(key(n), |_| Update::Put {
                                value: value.clone(),
                                tag: 1,
                            })
                            .unwrap();
                    }
                })
            });
        }
        scope.spawn(move || {
            clock.watch(|| {
                while clock.runs() {
                    let stats = table.stats();
                    assert_eq!(stats.size, stats.len * (KEY + 24), "a torn pair");
                }
            })
        });
    });
    assert_eq!(table.stats(), recount(&table));
}

/// Bits that survive rollbacks are set and cleared on keys that are there, in and outside of stages.
#[test]
fn moving_persistent_bits_moves_no_count() {
    const KEYS: u64 = 4;
    let seed = seed();
    let table = Memtable::with_persistent_tag(1);
    for n in 0..KEYS {
        table.insert(key(n), value(n, 1, 24)).unwrap();
    }
    let clock = Clock::new(duration());
    thread::scope(|scope| {
        let (table, clock) = (&table, &clock);
        for thread in 0..3u64 {
            scope.spawn(move || {
                clock.watch(|| {
                    let mut rng = StdRng::seed_from_u64(seed ^ (thread << 32));
                    let mut count = thread << 40;
                    while clock.runs() {
                        count += 1;
                        let n = rng.random_range(0..KEYS);
                        let new = value(n, count, 24);
                        let tag = rng.random_range(0..2);
                        table
                            .update(key(n), |_| match count % 2 {
                                0 => Update::Tag(tag),
                                _ => Update::Put {
                                    value: Cow::Borrowed(&new),
                                    tag,
                                },
                            })
                            .unwrap();
                    }
                })
            });
        }
        scope.spawn(move || {
            clock.watch(|| churn_stages(table, clock, &mut StdRng::seed_from_u64(seed), 3))
        });
        scope.spawn(move || {
            clock.watch(|| {
                while clock.runs() {
                    let stats = table.stats();
                    assert_eq!(stats.len, KEYS as usize);
                    assert_eq!(stats.size, KEYS as usize * (KEY + 24));
                }
            })
        });
    });
    settle_tagged(&table);
    assert_eq!(table.stats(), recount(&table));
}

fn settle_tagged(table: &Memtable) {
    for _ in 0..20_000 {
        table.insert(key(0), value(0, 0, 24)).unwrap();
    }
}

/// A write that a rollback made void does not uncover bits that were cleared before.
#[test]
fn a_void_write_leaves_the_persistent_bits_alone() {
    let table = Memtable::with_persistent_tag(1);
    let put = |tag| Update::Put {
        value: Cow::Borrowed(b"v"),
        tag,
    };
    table.update("k", |_| put(1)).unwrap();
    let mut stage = Some(table.open_stage());
    table.update("k", |_| put(0)).unwrap();
    let mut seen = Vec::new();
    table
        .update("k", |item| {
            seen.push(item.map(|item| item.tag));
            if let Some(stage) = stage.take() {
                table.cleanup_stage(stage).unwrap();
            }
            put(0)
        })
        .unwrap();
    assert_eq!(seen, [Some(0), Some(0)]);
    assert_eq!(table.stats(), recount(&table));
}
