//! What a set reserves is as much as the allocator gives out, and comes back to it where it should.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};
use untorn_memtable::{Limits, MemtableSet, SetSnapshot, reclaim_garbage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The heap is the process's, so these tests look at it one at a time.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much more was freed than allocated.
fn freed(region: &Region<'_, System>) -> i64 {
    let change = region.change();
    change.bytes_deallocated as i64 - change.bytes_allocated as i64
}

#[test]
fn reserved_bytes_cover_what_is_allocated() {
    let _turn = one_at_a_time();
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
                let held = -freed(&region);
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

const ROWS: u32 = 20_000;
/// Keys and values alone.
const PAYLOAD: i64 = ROWS as i64 * (4 + 100);
/// Beside a table's entries.
const SMALL: i64 = 10_000;

/// A set whose only table is flushed, and a snapshot that still holds that.
fn flushed_and_held() -> (MemtableSet, SetSnapshot) {
    let set = MemtableSet::new(Limits::default());
    for row in 0..ROWS {
        set.insert(row.to_be_bytes(), [0; 100]).unwrap();
    }
    set.rotate();
    let snapshot = set.snapshot();
    let region = Region::new(ALLOCATOR);
    set.next_flush().unwrap().complete();
    assert!(freed(&region) < SMALL, "a snapshot shows it");
    (set, snapshot)
}

#[test]
fn dropping_the_last_snapshot_leaves_the_table_to_who_flushes() {
    let _turn = one_at_a_time();
    let (set, snapshot) = flushed_and_held();
    let region = Region::new(ALLOCATOR);
    drop(snapshot);
    let at_once = freed(&region);
    assert!(at_once < SMALL, "{at_once} bytes freed on the spot");
    assert!(set.reserved_bytes() > PAYLOAD as u64);
    assert!(set.next_flush().is_none());
    assert_eq!(set.reserved_bytes(), 0);
    assert!(freed(&region) > PAYLOAD);
}

#[test]
fn a_set_that_goes_frees_what_was_let_go_and_leaves_nothing_behind() {
    let _turn = one_at_a_time();
    let (set, snapshot) = flushed_and_held();
    let region = Region::new(ALLOCATOR);
    drop(snapshot);
    drop(set);
    assert!(freed(&region) > PAYLOAD);

    let (set, snapshot) = flushed_and_held();
    let other = snapshot.clone();
    let region = Region::new(ALLOCATOR);
    drop(set);
    assert_eq!(other.range::<&[u8]>(..).count(), ROWS as usize);
    drop(other);
    assert!(freed(&region) < SMALL);
    // Nobody is left who could flush.
    drop(snapshot);
    assert!(freed(&region) > PAYLOAD);
}
