//! A stage of a million writes vanishes at one instant, while readers and a poller look on.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, MemBuffer};

const SETTLED: u32 = 1_000;
const READERS: u32 = 4;

fn writes() -> u32 {
    if cfg!(debug_assertions) {
        50_000
    } else {
        1_000_000
    }
}

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn fill(buffer: &MemBuffer, keys: u32, byte: u8) {
    for n in 0..keys {
        buffer.set(key(n), [byte; 16]).unwrap();
    }
}

/// The time is printed, not judged: the machine may be busy.
fn vanishes_at_once(name: &str, open_and_roll_back: impl FnOnce(&MemBuffer, &dyn Fn()) -> u128) {
    let buffer = MemBuffer::new();
    fill(&buffer, SETTLED, 1);
    let before = buffer.stats();
    let all = writes();
    let full = Stats {
        len: all as usize,
        size: all as usize * 20,
    };
    let (filled, done, looks) = (
        AtomicBool::new(false),
        AtomicBool::new(false),
        AtomicU64::new(0),
    );
    std::thread::scope(|scope| {
        let (buffer, filled, done, looks) = (&buffer, &filled, &done, &looks);
        // Each reader looks at a settled key that was overwritten, then at a new one: once the first is back the second is gone.
        for reader in 0..READERS {
            scope.spawn(move || {
                let (old, new) = (key(reader), key(all - 1 - reader));
                while !done.load(Ordering::Acquire) {
                    let ready = filled.load(Ordering::Acquire);
                    let Some(Entry::Value(value)) = buffer.get(old) else {
                        panic!("a settled key is always there");
                    };
                    let rolled_back = ready && value[0] == 1;
                    assert!(value.iter().all(|byte| *byte == value[0]), "torn");
                    assert!(
                        !(rolled_back && buffer.get(new).is_some()),
                        "half a rollback"
                    );
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                if filled.load(Ordering::Acquire) {
                    let stats = buffer.stats();
                    assert!(stats == full || stats == before, "{stats:?}");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let fill_all = || {
            fill(buffer, all, 2);
            filled.store(true, Ordering::Release);
            let seen = looks.load(Ordering::Relaxed);
            while looks.load(Ordering::Relaxed) < seen + 10 {
                std::thread::yield_now();
            }
        };
        let nanos = open_and_roll_back(buffer, &fill_all);
        let seen = looks.load(Ordering::Relaxed);
        while looks.load(Ordering::Relaxed) < seen + 10 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
        let looks = looks.load(Ordering::Relaxed);
        println!(
            "{name} of {all} writes: {:.1} us, {looks} looks beside it",
            nanos as f64 / 1e3
        );
    });
    assert_eq!(buffer.stats(), before);
    assert_eq!(buffer.range::<&[u8]>(..).count(), SETTLED as usize);
}

#[test]
fn a_large_stage_is_cleaned_up_at_one_instant() {
    vanishes_at_once("cleanup", |buffer, fill| {
        let stage = buffer.stage();
        fill();
        let start = Instant::now();
        stage.cleanup().unwrap();
        start.elapsed().as_nanos()
    });
}

#[test]
fn a_large_rollback_to_a_savepoint_is_one_instant() {
    vanishes_at_once("rollback", |buffer, fill| {
        let savepoint = buffer.savepoint();
        fill();
        let start = Instant::now();
        buffer.rollback_to(&savepoint).unwrap();
        start.elapsed().as_nanos()
    });
}
