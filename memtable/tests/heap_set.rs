//! What a set reserves is as much as the allocator gives out.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::{Limits, MemtableSet, reclaim_garbage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn reserved_bytes_cover_what_is_allocated() {
    let mut random = StdRng::seed_from_u64(7);
    for (keys, key_len, value_len) in [
        (u64::MAX, 8, 0),
        (u64::MAX, 16, 100),
        (1000, 8, 300),
        (u64::MAX, 40, 1000),
    ] {
        let set = MemtableSet::new(Limits::default());
        (0..4).for_each(|_| reclaim_garbage());
        let region = Region::new(ALLOCATOR);
        let mut next = 0;
        for n in 1..=40_000u32 {
            let number = match n % 2 {
                0 => next,
                _ => random.next_u64() % keys,
            };
            next = number.wrapping_add(1);
            let mut key = vec![b'k'; key_len];
            key[..8].copy_from_slice(&number.to_be_bytes());
            let value = vec![0; random.random_range(0..=value_len)];
            set.insert(&key, &value).unwrap();
            drop((key, value));
            if n % 1000 == 0 {
                let change = region.change();
                let held = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
                // What a thread retired last and the collector still holds is no table's.
                const IN_FLIGHT: i64 = 1 << 20;
                let reserved = set.reserved_bytes() as i64;
                assert!(
                    held < reserved + IN_FLIGHT,
                    "{held} held, {reserved} reserved after {n}"
                );
            }
        }
    }
}
