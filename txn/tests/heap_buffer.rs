//! What a buffer takes of the heap: no more after many rounds than after few.
#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_txn::MemBuffer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most bytes held after any of the rounds.
fn most_after(rounds: u32, mut round: impl FnMut(u32)) -> usize {
    let region = Region::new(ALLOCATOR);
    let held = |n| {
        round(n);
        let change = region.change();
        change
            .bytes_allocated
            .saturating_sub(change.bytes_deallocated)
    };
    (0..rounds).map(held).max().unwrap()
}

fn is_flat(name: &str, mut round: impl FnMut(u32)) {
    let few = most_after(100, &mut round);
    let many = most_after(10_000, &mut round);
    println!("{name}: {few} bytes at most in 100 rounds, {many} more in 10,000");
    assert!(many < few.max(1 << 20), "{name}: {many} after {few}");
}

/// One test, since the allocator counts for all threads of the process.
#[test]
fn a_buffer_takes_no_more_than_it_needs() {
    let buffer = MemBuffer::new();
    let region = Region::new(ALLOCATOR);
    let clone = buffer.clone();
    let shared = region.change();
    println!(
        "a clone of a buffer never written: {} allocations, {} bytes",
        shared.allocations, shared.bytes_allocated
    );
    assert!(shared.allocations <= 2 && shared.bytes_allocated <= 1_500);
    assert_eq!((clone.memory().total(), buffer.memory().total()), (0, 0));
    let region = Region::new(ALLOCATOR);
    drop((buffer.clone(), clone));
    assert_eq!(region.change().allocations, 0, "cloned before");

    is_flat("stage, 100 new keys, cleanup", |n| {
        let stage = buffer.stage();
        for key in 0..100_u32 {
            buffer
                .set([n.to_be_bytes(), key.to_be_bytes()].concat(), [7; 64])
                .unwrap();
        }
        stage.cleanup().unwrap();
        assert_eq!(buffer.len(), 0);
    });
    buffer.set("hot", [0; 64]).unwrap();
    is_flat("stage, 100 writes of one key, cleanup", |_| {
        let stage = buffer.stage();
        (0..100).for_each(|_| buffer.set("hot", [1; 64]).unwrap());
        stage.cleanup().unwrap();
    });
    let savepoint = buffer.savepoint();
    is_flat("100 writes, rollback to one savepoint", |n| {
        for key in 0..100_u32 {
            buffer
                .set([n.to_be_bytes(), key.to_be_bytes()].concat(), [7; 64])
                .unwrap();
        }
        buffer.rollback_to(&savepoint).unwrap();
        assert_eq!(buffer.len(), 1);
    });
    drop(savepoint);
    let mut older = buffer.savepoint();
    is_flat("two savepoints, the older one dropped", |_| {
        let newer = buffer.savepoint();
        (0..10).for_each(|_| buffer.set("hot", [2; 64]).unwrap());
        older = newer;
    });
    assert_eq!(buffer.size(), 67);
}
