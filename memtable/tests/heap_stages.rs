//! Rounds of stage and clean-up leave nothing behind.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::Memtable;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most bytes held after any of the rounds.
fn most_after(rounds: u32, mut round: impl FnMut(u32)) -> usize {
    let region = Region::new(ALLOCATOR);
    (0..rounds)
        .map(|n| {
            round(n);
            let change = region.change();
            change
                .bytes_allocated
                .saturating_sub(change.bytes_deallocated)
        })
        .max()
        .unwrap()
}

#[test]
fn ten_thousand_rounds_hold_no_more_than_a_hundred() {
    let table = Memtable::new();
    let new_keys = |n: u32| {
        let stage = table.open_stage();
        for key in 0..100 {
            table.insert(format!("{n}/{key}"), [0; 64]).unwrap();
        }
        table.cleanup_stage(stage).unwrap();
        assert_eq!(table.len(), 0);
    };
    let few = most_after(100, new_keys);
    let many = most_after(10_000, new_keys);
    println!(
        "100 rounds of 100 new keys: {few} bytes at most; 10,000 more rounds: {many} bytes more at most"
    );
    assert!(
        many < few.max(1 << 20),
        "{many} bytes after 10,000 rounds, {few} after 100"
    );

    table.insert("hot", [0; 64]).unwrap();
    let one_key = |_| {
        let stage = table.open_stage();
        for _ in 0..100 {
            table.insert("hot", [1; 64]).unwrap();
        }
        table.cleanup_stage(stage).unwrap();
        assert_eq!(table.get("hot").as_deref(), Some(&[0; 64][..]));
    };
    let few = most_after(100, one_key);
    let many = most_after(10_000, one_key);
    println!("the same with 100 writes of one key: {few}, then {many} bytes more at most");
    assert!(
        many < few.max(1 << 20),
        "{many} bytes after 10,000 rounds, {few} after 100"
    );
}
