//! What the race scenarios share. Each test prints its seed; `UNTORN_SEED=<number>` runs it again
//! with that one. Threads wait for each other through barriers and counters, never by the clock.
#![allow(dead_code)] // each test file uses a part

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, MemBuffer};

pub fn seed(scenario: &str) -> u64 {
    let seed = match std::env::var("UNTORN_SEED") {
        Ok(given) => given.parse().expect("UNTORN_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{scenario}: UNTORN_SEED={seed}");
    seed
}

pub fn rng(seed: u64, thread: usize) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ (thread as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Keys of equal length in an order that the seed chooses.
pub fn shuffled_keys(count: usize, rng: &mut SmallRng) -> Vec<String> {
    let mut keys: Vec<String> = (0..count)
        .map(|number| format!("key-{number:06}"))
        .collect();
    for place in (1..count).rev() {
        keys.swap(place, rng.random_range(0..=place));
    }
    keys
}

pub fn value_of(buffer: &MemBuffer, key: &str) -> Option<Vec<u8>> {
    buffer
        .get(key)
        .and_then(Entry::into_value)
        .map(|value| value.to_vec())
}

/// Length and size from a walk over every live key.
pub fn walked(buffer: &MemBuffer) -> (usize, usize) {
    buffer
        .range_with_flags::<&[u8]>(..)
        .fold((0, 0), |(len, size), (key, entry, _)| {
            let value = entry
                .and_then(Entry::into_value)
                .map_or(0, |value| value.len());
            (len + 1, size + key.len() + value)
        })
}

pub fn exact_at_rest(buffer: &MemBuffer) {
    let Stats { len, size, .. } = buffer.stats();
    assert_eq!((len, size), walked(buffer));
    assert_eq!((buffer.len(), buffer.size()), (len, size));
}

/// Sets the flag also if the thread panics, so that its partners end too.
pub struct Done<'f>(pub &'f AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
