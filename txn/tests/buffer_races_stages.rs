//! Stages, snapshots, the dirty mark, counts and reset under several threads: S5, S9 to S21.
#![allow(clippy::unwrap_used)]

mod scenario;

use rand::RngExt;
use scenario::{Done, exact_at_rest, rng, seed, shuffled_keys};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, Error, FlagOp, MemBuffer};

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

/// Rule 9.
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
