//! Single keys and scans under several threads: S1 to S8.
#![allow(clippy::unwrap_used)]

mod scenario;

use rand::RngExt;
use scenario::{Done, exact_at_rest, rng, seed, shuffled_keys, value_of};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, FlagOp, KeyFlags, MemBuffer};

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

/// Rule 7.
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
fn no_scan_shows_an_older_value_than_was_returned_before() {
    let seed = seed("scans");
    const KEYS: usize = 40;
    const ROUNDS: u32 = 150;
    let keys = shuffled_keys(KEYS, &mut rng(seed, 0));
    let buffer = MemBuffer::new();
    let write = |round: u32| {
        for key in &keys {
            buffer.set(key, round.to_be_bytes()).unwrap();
        }
    };
    write(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = Done(&done);
            (1..ROUNDS).for_each(write);
        });
        for reader in 1..3 {
            let (buffer, done, keys) = (&buffer, &done, &keys);
            scope.spawn(move || {
                let mut rng = rng(seed, reader);
                let mut newest = std::collections::BTreeMap::new();
                let mut shown = |key: &[u8], entry: &Entry| {
                    let value = entry.value().unwrap()[..].try_into().unwrap();
                    let round = u32::from_be_bytes(value);
                    let before = newest.insert(key.to_vec(), round).unwrap_or(0);
                    assert!(before <= round, "round {round} after {before}");
                };
                while !done.load(SeqCst) {
                    let mut scan = buffer.range::<&[u8]>(..);
                    for asked in keys {
                        let from_front = rng.random_bool(0.5);
                        let step = if from_front {
                            scan.next()
                        } else {
                            scan.next_back()
                        };
                        let (key, entry) = step.expect("every key is there for the whole scan");
                        shown(&key, &entry);
                        shown(asked.as_bytes(), &buffer.get(asked).unwrap());
                    }
                    assert!(scan.next().is_none());
                }
            });
        }
    });
    exact_at_rest(&buffer);
}
