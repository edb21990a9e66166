//! The buffer under several threads: the scenarios S1 to S22 that a buffer can meet.
//!
//! Each test prints its seed; `UNTORN_SEED=<number>` runs it again with that one. Threads wait for
//! each other through barriers and counters, never by the clock.
#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

fn seed(scenario: &str) -> u64 {
    let seed = match std::env::var("UNTORN_SEED") {
        Ok(given) => given.parse().expect("UNTORN_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{scenario}: UNTORN_SEED={seed}");
    seed
}

fn rng(seed: u64, thread: usize) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ (thread as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Keys of equal length in an order that the seed chooses.
fn shuffled_keys(count: usize, rng: &mut SmallRng) -> Vec<String> {
    let mut keys: Vec<String> = (0..count)
        .map(|number| format!("key-{number:06}"))
        .collect();
    for place in (1..count).rev() {
        keys.swap(place, rng.random_range(0..=place));
    }
    keys
}

fn value_of(buffer: &MemBuffer, key: &str) -> Option<Vec<u8>> {
    buffer
        .get(key)
        .and_then(Entry::into_value)
        .map(|value| value.to_vec())
}

/// Length and size from a walk over every live key.
fn walked(buffer: &MemBuffer) -> (usize, usize) {
    buffer
        .range_with_flags::<&[u8]>(..)
        .fold((0, 0), |(len, size), (key, entry, _)| {
            let value = entry
                .and_then(Entry::into_value)
                .map_or(0, |value| value.len());
            (len + 1, size + key.len() + value)
        })
}

fn exact_at_rest(buffer: &MemBuffer) {
    let Stats { len, size, .. } = buffer.stats();
    assert_eq!((len, size), walked(buffer));
    assert_eq!((buffer.len(), buffer.size()), (len, size));
}

/// Sets the flag also if the thread panics, so that its partners end too.
struct Done<'f>(&'f AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn s1_counts_during_flag_updates_of_new_keys_are_before_or_after() {
    let seed = seed("S1");
    const KEYS: usize = 2_000;
    let buffer = MemBuffer::new();
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for key in shuffled_keys(KEYS, &mut rng(seed, 0)) {
                begun.fetch_add(1, SeqCst);
                buffer.update_flags(key, [FlagOp::SetNeedLocked]).unwrap();
                ended.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(SeqCst) {
                    let low = ended.load(SeqCst);
                    let Stats { len, size, .. } = buffer.stats();
                    let high = begun.load(SeqCst);
                    assert!(low <= len && len <= high, "{low} <= {len} <= {high}");
                    assert!(len >= last, "{len} keys after {last}");
                    assert_eq!(size, len * "key-000000".len());
                    last = len;
                    let low = ended.load(SeqCst);
                    let (len, size) = (buffer.len(), buffer.size());
                    let high = begun.load(SeqCst);
                    assert!(low <= len && len <= high, "{low} <= {len} <= {high}");
                    assert!(size >= low * 10 && size <= high * 10);
                }
            });
        }
    });
    assert_eq!(buffer.len(), KEYS);
    exact_at_rest(&buffer);
}

#[test]
fn s2_settled_keys_are_found_during_flag_updates_of_new_ones() {
    let seed = seed("S2");
    let buffer = MemBuffer::new();
    let keys = shuffled_keys(1_500, &mut rng(seed, 0));
    let (settled, new) = keys.split_at(300);
    for key in settled {
        buffer
            .set_with_flags(key, key, [FlagOp::SetReadable])
            .unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for key in new {
                buffer.update_flags(key, [FlagOp::SetLocked]).unwrap();
            }
        });
        for reader in 1..3 {
            let (buffer, done) = (&buffer, &done);
            scope.spawn(move || {
                let mut rng = rng(seed, reader);
                while !done.load(SeqCst) {
                    let key = &settled[rng.random_range(0..settled.len())];
                    assert_eq!(value_of(buffer, key).as_deref(), Some(key.as_bytes()));
                    assert_eq!(buffer.get_flags(key), Some(KeyFlags::READABLE));
                }
            });
        }
    });
    exact_at_rest(&buffer);
}

#[test]
fn s3_the_flags_of_a_new_key_come_with_it_or_not_at_all() {
    let seed = seed("S3");
    let buffer = MemBuffer::new();
    let keys = shuffled_keys(1_500, &mut rng(seed, 0));
    let next = AtomicUsize::new(0);
    let ops = [FlagOp::SetLocked, FlagOp::SetReadable];
    let whole = KeyFlags::LOCKED | KeyFlags::READABLE;
    thread::scope(|scope| {
        scope.spawn(|| {
            for (place, key) in keys.iter().enumerate() {
                next.store(place, SeqCst);
                buffer.set_with_flags(key, key, ops).unwrap();
            }
            next.store(keys.len(), SeqCst);
        });
        scope.spawn(|| {
            while let Some(key) = keys.get(next.load(SeqCst)) {
                if let Some(flags) = buffer.get_flags(key) {
                    assert_eq!(flags, whole);
                    assert_eq!(value_of(&buffer, key).as_deref(), Some(key.as_bytes()));
                }
            }
        });
    });
    exact_at_rest(&buffer);
}

#[test]
fn s4_a_reader_of_an_overwritten_key_sees_whole_values_and_never_goes_back() {
    let seed = seed("S4");
    for equal_length in [true, false] {
        let buffer = MemBuffer::new();
        let done = AtomicBool::new(false);
        buffer.set("key", 0u64.to_be_bytes()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _done = Done(&done);
                let mut rng = rng(seed, 0);
                for round in 1..3_000u64 {
                    let copies = if equal_length {
                        4
                    } else {
                        rng.random_range(1..60)
                    };
                    buffer
                        .set("key", round.to_be_bytes().repeat(copies))
                        .unwrap();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(SeqCst) {
                        let value = value_of(&buffer, "key").expect("never absent");
                        let round = u64::from_be_bytes(value[..8].try_into().unwrap());
                        assert!(value.chunks(8).all(|part| part == round.to_be_bytes()));
                        assert!(round >= last, "{round} after {last}");
                        last = round;
                    }
                });
            }
        });
        exact_at_rest(&buffer);
    }
}

#[test]
fn s5_bytes_held_across_overwrites_and_rollbacks_stay_the_same() {
    let seed = seed("S5");
    let buffer = MemBuffer::new();
    let done = AtomicBool::new(false);
    buffer.set("key", vec![1; 64]).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            let mut rng = rng(seed, 0);
            for _ in 0..1_500 {
                let stage = buffer.stage();
                let byte = rng.random_range(1..=255u8);
                buffer.set("key", vec![byte; usize::from(byte)]).unwrap();
                if rng.random_bool(0.5) {
                    stage.release().unwrap();
                } else {
                    stage.cleanup().unwrap();
                }
            }
        });
        scope.spawn(|| {
            let mut held = std::collections::VecDeque::new();
            while !done.load(SeqCst) {
                held.push_back(buffer.get("key").and_then(Entry::into_value).unwrap());
                if held.len() > 200 {
                    let oldest = held.pop_front().unwrap();
                    assert!(oldest.iter().all(|byte| *byte == oldest[0]));
                    assert!(oldest.len() == 64 || oldest.len() == usize::from(oldest[0]));
                }
            }
        });
    });
    exact_at_rest(&buffer);
}

#[test]
fn s6_two_inserts_of_one_new_key_make_one_entry() {
    let seed = seed("S6");
    const ROUNDS: usize = 500;
    let keys = shuffled_keys(ROUNDS, &mut rng(seed, 0));
    let buffer = MemBuffer::new();
    let barrier = Barrier::new(2);
    // Counted, not asserted, between the barriers: the partner must not wait for ever.
    let wrong = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in [&b"one"[..], b"three"] {
            let (buffer, barrier, keys, wrong) = (&buffer, &barrier, &keys, &wrong);
            scope.spawn(move || {
                for (round, key) in keys.iter().enumerate() {
                    barrier.wait();
                    buffer.set(key, writer).unwrap();
                    barrier.wait();
                    let whole =
                        matches!(value_of(buffer, key), Some(v) if v == b"one" || v == b"three");
                    if buffer.stats().len != round + 1 || !whole {
                        wrong.fetch_add(1, SeqCst);
                    }
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!(wrong.load(SeqCst), 0);
    assert_eq!(buffer.len(), ROUNDS);
    exact_at_rest(&buffer);
}

#[test]
fn s7_two_flag_updates_of_one_key_both_take_effect() {
    let seed = seed("S7");
    let keys = shuffled_keys(500, &mut rng(seed, 0));
    let buffer = MemBuffer::new();
    let barrier = Barrier::new(3);
    let writers = [
        [FlagOp::SetNewlyInserted, FlagOp::SetLockedShared],
        [FlagOp::SetReadable, FlagOp::SetAssertExist],
        [FlagOp::SetPrewriteOnly, FlagOp::SetNeedConstraintCheck],
    ];
    thread::scope(|scope| {
        for ops in &writers {
            let (buffer, barrier, keys) = (&buffer, &barrier, &keys);
            scope.spawn(move || {
                for key in keys {
                    barrier.wait();
                    buffer.update_flags(key, ops).unwrap();
                }
            });
        }
    });
    let all = KeyFlags::empty().apply(&writers.concat());
    for key in &keys {
        assert_eq!(buffer.get_flags(key), Some(all));
    }
    exact_at_rest(&buffer);
}

#[test]
fn s8_scans_during_inserts_are_ordered_and_show_every_settled_key_once() {
    let seed = seed("S8");
    let keys = shuffled_keys(1_200, &mut rng(seed, 0));
    let (settled, new) = keys.split_at(150);
    let buffer = MemBuffer::new();
    for key in settled {
        buffer.set(key, "settled").unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for key in new {
                buffer.set(key, "new").unwrap();
            }
        });
        for reverse in [false, true] {
            let (buffer, done) = (&buffer, &done);
            scope.spawn(move || {
                loop {
                    let last_round = done.load(SeqCst);
                    let scan = buffer.range::<&[u8]>(..);
                    let mut seen: Vec<_> = if reverse {
                        scan.rev().collect()
                    } else {
                        scan.collect()
                    };
                    if reverse {
                        seen.reverse();
                    }
                    assert!(seen.is_sorted_by(|left, right| left.0 < right.0));
                    let old = seen
                        .iter()
                        .filter(|(_, entry)| *entry == Entry::Value("settled".into()));
                    assert_eq!(old.count(), settled.len());
                    if last_round {
                        assert_eq!(seen.len(), settled.len() + new.len());
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn s9_scans_survive_rollbacks_of_the_keys_under_them() {
    let seed = seed("S9");
    let keys = shuffled_keys(120, &mut rng(seed, 0));
    let (settled, staged) = keys.split_at(60);
    let buffer = MemBuffer::new();
    for key in settled {
        buffer.set(key, key).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for _ in 0..150 {
                let stage = buffer.stage();
                for key in staged {
                    buffer.set(key, key).unwrap();
                }
                stage.cleanup().unwrap();
            }
        });
        for reverse in [false, true] {
            let (buffer, done) = (&buffer, &done);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let scan = buffer.range::<&[u8]>(..);
                    let seen: Vec<_> = if reverse {
                        scan.rev().collect()
                    } else {
                        scan.collect()
                    };
                    let strict = |left: &bytes::Bytes, right: &bytes::Bytes| {
                        if reverse { left > right } else { left < right }
                    };
                    assert!(seen.is_sorted_by(|left, right| strict(&left.0, &right.0)));
                    let whole =
                        |(key, entry): &(bytes::Bytes, Entry)| *entry == Entry::Value(key.clone());
                    assert!(seen.iter().all(whole), "a key with a value of another");
                    let old = |key: &[u8]| settled.iter().any(|name| name.as_bytes() == key);
                    assert_eq!(
                        seen.iter().filter(|(key, _)| old(key)).count(),
                        settled.len()
                    );
                }
            });
        }
    });
    assert_eq!(buffer.len(), settled.len());
    exact_at_rest(&buffer);
}

#[test]
fn s10_cleanup_is_one_instant_for_counts_gets_and_snapshots() {
    let seed = seed("S10");
    const STAGED: usize = 8;
    const BASE: usize = 20;
    let keys = shuffled_keys(BASE + STAGED, &mut rng(seed, 0));
    let (base, staged) = keys.split_at(BASE);
    let buffer = MemBuffer::new();
    for key in base {
        buffer.set(key, "base").unwrap();
    }
    let entry_size = keys[0].len() + "base".len();
    // 3r: writing; 3r+1: all written, cleanup may be under way; 3r+2: cleaned up.
    let phase = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    // Reads that fell wholly between the last write of a round and the first of the next.
    let judged = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            let mut round = 0;
            while !done.load(SeqCst) && (round < 200 || judged.load(SeqCst) < 300) {
                phase.store(3 * round, SeqCst);
                let stage = buffer.stage();
                for key in staged {
                    buffer.set(key, "new!").unwrap();
                }
                buffer.set(&base[0], "over").unwrap();
                phase.store(3 * round + 1, SeqCst);
                thread::yield_now();
                stage.cleanup().unwrap();
                phase.store(3 * round + 2, SeqCst);
                thread::yield_now();
                round += 1;
            }
        });
        for kind in 0..3 {
            let (buffer, phase, done, judged) = (&buffer, &phase, &done, &judged);
            scope.spawn(move || {
                let _done = Done(done);
                while !done.load(SeqCst) {
                    let before = phase.load(SeqCst);
                    let (count, sizes) = match kind {
                        0 => {
                            let Stats { len, size, .. } = buffer.stats();
                            (len, Some(size))
                        }
                        1 => {
                            let seen: Vec<_> = buffer.snapshot_now().range::<&[u8]>(..).collect();
                            let over = (bytes::Bytes::from(base[0].clone()), "over".into());
                            let over = seen.contains(&(over.0, Entry::Value(over.1)));
                            let after = phase.load(SeqCst);
                            if after - before <= 1 && before % 3 == 1 && after % 3 != 0 {
                                assert_eq!(over, seen.len() > BASE, "half a stage");
                            }
                            (seen.len(), None)
                        }
                        _ => {
                            // Present in this order: once one is gone, all are.
                            let found = staged.iter().map(|key| buffer.get(key).is_some());
                            let found: Vec<_> = found.collect();
                            let after = phase.load(SeqCst);
                            if before % 3 == 1 && after / 3 == before / 3 {
                                assert!(found.is_sorted_by(|left, right| left >= right));
                            }
                            continue;
                        }
                    };
                    let after = phase.load(SeqCst);
                    if before % 3 == 0 || after / 3 != before / 3 {
                        continue;
                    }
                    judged.fetch_add(1, SeqCst);
                    let all = count == BASE + STAGED;
                    assert!(all || count == BASE, "{count} keys");
                    assert!(!(all && before % 3 == 2), "back after its cleanup");
                    if let Some(size) = sizes {
                        assert_eq!(size, count * entry_size);
                    }
                }
            });
        }
    });
    assert_eq!(buffer.len(), BASE);
    exact_at_rest(&buffer);
}

#[test]
fn s12_the_view_before_the_stages_is_constant_while_staged_writes_go_on() {
    let seed = seed("S12");
    let keys = shuffled_keys(200, &mut rng(seed, 0));
    let buffer = MemBuffer::new();
    for key in &keys[..100] {
        buffer.set(key, "before").unwrap();
    }
    let base: Vec<_> = buffer.range::<&[u8]>(..).collect();
    let outer = buffer.stage();
    let held = buffer.snapshot();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            let mut rng = rng(seed, 1);
            for _ in 0..100 {
                let inner = buffer.stage();
                for _ in 0..20 {
                    let key = &keys[rng.random_range(0..keys.len())];
                    match rng.random_range(0..3) {
                        0 => buffer.delete(key).unwrap(),
                        1 => buffer.set(key, "staged").unwrap(),
                        _ => buffer.update_flags(key, [FlagOp::SetReadable]).unwrap(),
                    }
                }
                if rng.random_bool(0.5) {
                    inner.release().unwrap();
                } else {
                    inner.cleanup().unwrap();
                }
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let fresh = buffer.snapshot();
                assert_eq!(fresh.range::<&[u8]>(..).collect::<Vec<_>>(), base);
                let mut back: Vec<_> = held.range::<&[u8]>(..).rev().collect();
                back.reverse();
                assert_eq!(back, base);
            }
        });
    });
    outer.release().unwrap();
    assert_eq!(held.range::<&[u8]>(..).collect::<Vec<_>>(), base);
    exact_at_rest(&buffer);
}

#[test]
fn s15_who_sees_a_write_sees_the_buffer_dirty() {
    let _ = seed("S15");
    let barrier = Barrier::new(2);
    let rounds: Vec<MemBuffer> = (0..300).map(|_| MemBuffer::new()).collect();
    let (early, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for buffer in &rounds {
                barrier.wait();
                buffer.set("key", "value").unwrap();
            }
        });
        scope.spawn(|| {
            for buffer in &rounds {
                barrier.wait();
                loop {
                    let dirty = buffer.is_dirty();
                    let seen = buffer.get("key").is_some();
                    if dirty && !seen {
                        early.fetch_add(1, SeqCst);
                    }
                    if seen {
                        break;
                    }
                }
                if !buffer.is_dirty() {
                    late.fetch_add(1, SeqCst);
                }
            }
        });
    });
    assert_eq!(early.load(SeqCst), 0, "dirty without a write");
    assert_eq!(late.load(SeqCst), 0, "clean with a write in sight");
}

#[test]
fn s15_staged_writes_that_are_cleaned_up_never_dirty() {
    let _ = seed("S15 staged");
    let buffer = MemBuffer::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            for _ in 0..300 {
                let outer = buffer.stage();
                let inner = buffer.stage();
                buffer.set("key", "value").unwrap();
                inner.cleanup().unwrap();
                outer.release().unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                assert!(!buffer.is_dirty());
            }
        });
    });
    assert!(!buffer.is_dirty());
    assert_eq!(buffer.len(), 0);
}

#[test]
fn s21_counts_stay_sane_under_random_writes_and_stages_and_are_exact_at_rest() {
    let seed = seed("S21");
    const LONGEST: usize = 40;
    let keys = shuffled_keys(64, &mut rng(seed, 0));
    let buffer = MemBuffer::new();
    let done = AtomicBool::new(false);
    let writing = AtomicUsize::new(3);
    thread::scope(|scope| {
        for writer in 1..4 {
            let (buffer, keys, writing) = (&buffer, &keys, &writing);
            scope.spawn(move || {
                let mut rng = rng(seed, writer);
                for _ in 0..2_000 {
                    let key = &keys[rng.random_range(0..keys.len())];
                    match rng.random_range(0..6) {
                        0 => buffer.delete(key).unwrap(),
                        1 => buffer.update_flags(key, [FlagOp::SetLocked]).unwrap(),
                        2 => buffer.update_flags(key, [FlagOp::ClearLocked]).unwrap(),
                        _ => {
                            let value = vec![7; rng.random_range(1..=LONGEST)];
                            buffer.set(key, value).unwrap();
                        }
                    }
                }
                writing.fetch_sub(1, SeqCst);
            });
        }
        scope.spawn(|| {
            let _done = Done(&done);
            let mut rng = rng(seed, 4);
            while writing.load(SeqCst) > 0 && !done.load(SeqCst) {
                let stage = buffer.stage();
                let inner = rng.random_bool(0.5).then(|| buffer.stage());
                thread::yield_now();
                if let Some(inner) = inner {
                    inner.release().unwrap();
                }
                if rng.random_bool(0.5) {
                    stage.cleanup().unwrap();
                } else {
                    stage.release().unwrap();
                }
            }
        });
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let Stats { len, size, .. } = buffer.stats();
                assert!(len <= keys.len());
                assert!(size >= len * keys[0].len());
                assert!(size <= len * (keys[0].len() + LONGEST));
                assert!(buffer.len() <= keys.len());
                assert!(buffer.size() <= keys.len() * (keys[0].len() + LONGEST));
            }
        });
    });
    assert_eq!(buffer.open_stages(), 0);
    exact_at_rest(&buffer);
}

#[test]
fn s22_the_buffer_limit_is_never_passed() {
    let seed = seed("S22");
    const LIMIT: usize = 1_000;
    let keys = shuffled_keys(64, &mut rng(seed, 0));
    let buffer = MemBuffer::builder().buffer_limit(LIMIT).build();
    let done = AtomicBool::new(false);
    let writing = AtomicUsize::new(4);
    let (taken, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 1..5 {
            let (buffer, keys, done, writing) = (&buffer, &keys, &done, &writing);
            let (taken, refused) = (&taken, &refused);
            scope.spawn(move || {
                let mut rng = rng(seed, writer);
                for _ in 0..1_500 {
                    let key = &keys[rng.random_range(0..keys.len())];
                    let answer = match rng.random_range(0..8) {
                        0 => buffer.delete(key),
                        1 => buffer.update_flags(key, [FlagOp::SetReadable]),
                        2 => {
                            let stage = buffer.stage();
                            let answer = buffer.set(key, vec![3; 30]);
                            // Another writer's stage may lie inside: then the drop dooms this one.
                            drop(stage);
                            answer
                        }
                        _ => buffer.set(key, vec![7; rng.random_range(1..80)]),
                    };
                    match answer {
                        Ok(()) => taken.fetch_add(1, SeqCst),
                        Err(Error::TxnTooLarge { size, limit }) => {
                            assert!(size > limit && limit == LIMIT);
                            refused.fetch_add(1, SeqCst)
                        }
                        Err(other) => panic!("{other}"),
                    };
                }
                if writing.fetch_sub(1, SeqCst) == 1 {
                    done.store(true, SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(SeqCst) {
                assert!(buffer.stats().size <= LIMIT);
                assert!(buffer.size() <= LIMIT);
            }
        });
    });
    assert!(taken.load(SeqCst) > 0 && refused.load(SeqCst) > 0);
    assert_eq!(buffer.open_stages(), 0);
    exact_at_rest(&buffer);
    // What is left can be used to the last byte, and no further.
    let room = LIMIT - buffer.size();
    for (number, _) in (0..room / 2).enumerate() {
        let key = [
            0,
            u8::try_from(number % 256).unwrap(),
            u8::try_from(number / 256).unwrap(),
        ];
        if buffer.size() + key.len() <= LIMIT {
            buffer.update_flags(key, []).unwrap();
        }
    }
    let rest = LIMIT - buffer.size();
    assert!(rest < 3);
    buffer.set([255, 255], vec![1; 200]).unwrap_err();
}

#[test]
fn s22_writes_that_fit_together_are_never_refused() {
    let _ = seed("S22 fit");
    const THREADS: usize = 4;
    const VALUE: usize = 50;
    // Each thread's key shrinks and grows; at their largest all fit exactly.
    let buffer = MemBuffer::builder()
        .buffer_limit(THREADS * (1 + VALUE))
        .build();
    let done = AtomicBool::new(false);
    let writing = AtomicUsize::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (buffer, done, writing) = (&buffer, &done, &writing);
            scope.spawn(move || {
                let key = [thread as u8];
                for length in (1..=VALUE).rev().cycle().take(800) {
                    buffer.set(key, vec![1; length]).unwrap();
                }
                if writing.fetch_sub(1, SeqCst) == 1 {
                    done.store(true, SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(SeqCst) {
                assert!(buffer.size() <= THREADS * (1 + VALUE));
            }
        });
    });
    exact_at_rest(&buffer);
}

#[test]
fn s22_room_that_a_shrink_freed_is_seen_by_whoever_sees_the_shrink() {
    let _ = seed("S22 shrink");
    let barrier = Barrier::new(2);
    let rounds: Vec<MemBuffer> = (0..300)
        .map(|_| {
            let buffer = MemBuffer::builder().buffer_limit(100).build();
            buffer.set("a", vec![0; 99]).unwrap();
            buffer
        })
        .collect();
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for buffer in &rounds {
                barrier.wait();
                buffer.delete("a").unwrap();
            }
        });
        scope.spawn(|| {
            for buffer in &rounds {
                barrier.wait();
                while buffer.get("a") != Some(Entry::Tombstone) {
                    std::hint::spin_loop();
                }
                if buffer.set("b", vec![0; 98]).is_err() {
                    refused.fetch_add(1, SeqCst);
                }
            }
        });
    });
    assert_eq!(refused.load(SeqCst), 0);
}

#[test]
fn resets_under_writes_stages_and_scans_leave_a_sound_buffer() {
    let seed = seed("reset");
    let keys = shuffled_keys(40, &mut rng(seed, 0));
    let buffer = MemBuffer::builder().buffer_limit(2_000).build();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 1..3 {
            let (buffer, keys, done) = (&buffer, &keys, &done);
            scope.spawn(move || {
                let _done = Done(done);
                let mut rng = rng(seed, writer);
                while !done.load(SeqCst) {
                    let stage = rng.random_bool(0.3).then(|| buffer.stage());
                    let key = &keys[rng.random_range(0..keys.len())];
                    // Refused where the buffer is full: the reset makes room.
                    let answer = buffer.set_with_flags(key, key, [FlagOp::SetLocked]);
                    assert!(matches!(answer, Ok(()) | Err(Error::TxnTooLarge { .. })));
                    // Closed by a reset or with another writer's stage inside: both are refused.
                    drop(stage.map(|stage| stage.release()));
                }
            });
        }
        scope.spawn(|| {
            let _done = Done(&done);
            while !done.load(SeqCst) {
                let seen: Vec<_> = buffer.range::<&[u8]>(..).collect();
                assert!(seen.is_sorted_by(|left, right| left.0 < right.0));
                assert!(
                    seen.iter()
                        .all(|(key, entry)| *entry == Entry::Value(key.clone()))
                );
            }
        });
        let _done = Done(&done);
        for _ in 0..200 {
            buffer.reset().unwrap();
            thread::yield_now();
        }
    });
    exact_at_rest(&buffer);
    buffer.reset().unwrap();
    assert_eq!(
        (buffer.len(), buffer.size(), buffer.open_stages()),
        (0, 0, 0)
    );
    assert!(!buffer.is_dirty());
}
