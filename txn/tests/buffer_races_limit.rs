//! The buffer limit under several threads: S22.
#![allow(clippy::unwrap_used)]

mod scenario;

use rand::RngExt;
use scenario::{exact_at_rest, rng, seed, shuffled_keys};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use untorn_txn::{Entry, Error, FlagOp, MemBuffer};

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

/// Rule 4.
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

/// Rule 3.
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
