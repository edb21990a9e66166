//! `memory()` tells what the allocator gave out, within 5%.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::{Memory, Memtable, reclaim_garbage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the table says, after comparing it with what the allocator says.
fn checked(table: &Memtable, region: &Region<'_, System>, what: &str) -> Memory {
    (0..64).for_each(|_| reclaim_garbage());
    let change = region.change();
    let held = (change.bytes_allocated - change.bytes_deallocated) as f64;
    let memory = table.memory();
    let told = memory.requested() as f64;
    assert!(
        (told / held - 1.0).abs() < 0.05,
        "{what}: {told} told, {held} held, {memory:?}"
    );
    memory
}

fn key(random: &mut StdRng, len: usize) -> Vec<u8> {
    let mut key = vec![0; len];
    random.fill_bytes(&mut key);
    key
}

/// One after the other, since they count the same heap.
#[test]
fn memory_is_what_the_allocator_gave_out() {
    entries_of_all_kinds();
    stages_in_each_other();
}

fn entries_of_all_kinds() {
    let mut random = StdRng::seed_from_u64(3);
    // The thread's participant in the collector is the process's, not the table's.
    Memtable::new().insert("k", "v").unwrap();
    for (keys, key_len, value_len) in [
        (40_000, 16, 16),
        (40_000, 8, 0),
        (20_000, 40, 500),
        (2000, 3000, 10),
    ] {
        let keys: Vec<_> = (0..keys).map(|_| key(&mut random, key_len)).collect();
        (0..64).for_each(|_| reclaim_garbage());
        let region = Region::new(ALLOCATOR);
        let table = Memtable::new();
        for key in &keys {
            table.insert(key, vec![1; value_len]).unwrap();
        }
        let filled = checked(&table, &region, "filled");
        assert_eq!(filled.payload as usize, table.size());
        assert_eq!(filled.superseded, 0);

        let snapshot = table.snapshot();
        for key in &keys {
            table
                .insert(key, vec![2; random.random_range(0..=2 * value_len)])
                .unwrap();
        }
        let overwritten = checked(&table, &region, "overwritten under a snapshot");
        assert_eq!(overwritten.payload as usize, table.size());
        assert!(overwritten.superseded as usize >= keys.len() * value_len);
        drop(snapshot);

        for key in &keys[keys.len() / 5..] {
            table.remove(key).unwrap();
        }
        let removed = checked(&table, &region, "four fifths removed");
        assert!(removed.payload < filled.payload);

        let stage = table.open_stage();
        for key in &keys {
            table.insert(key, vec![3; value_len]).unwrap();
        }
        checked(&table, &region, "written in a stage");
        table.release_stage(stage).unwrap();
        checked(&table, &region, "released");
        let snapshot = table.snapshot();
        for key in &keys {
            table.remove(key).unwrap();
        }
        checked(&table, &region, "removed under a snapshot");
        drop(snapshot);
    }
}

/// Each keeps a version, its name and a sum.
fn stages_in_each_other() {
    const STAGES: u32 = 20_000;
    let mut stages = Vec::with_capacity(STAGES as usize);
    (0..64).for_each(|_| reclaim_garbage());
    let region = Region::new(ALLOCATOR);
    let table = Memtable::new();
    table.insert("k", "v").unwrap();
    for number in 0..STAGES {
        stages.push(table.open_stage());
        table.insert("k", vec![1; number as usize % 7]).unwrap();
    }
    checked(&table, &region, "stages in each other");
    while let Some(stage) = stages.pop() {
        table.release_stage(stage).unwrap();
    }
    table.compact();
    (0..64).for_each(|_| reclaim_garbage());
    let change = region.change();
    let held = change.bytes_allocated - change.bytes_deallocated;
    assert!(held < 20_000, "{held} are left");
}
