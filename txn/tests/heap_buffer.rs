//! What a buffer takes of the heap: nothing before it is written, and no more after many rounds than after few.
#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_txn::{Error, FlagOp, MemBuffer};

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

/// Scans and views of a buffer that was never used.
fn scans_show_nothing(buffer: &MemBuffer) {
    assert_eq!(buffer.range("a".."z").count(), 0);
    assert_eq!(buffer.range("a".."z").rev().count(), 0);
    assert_eq!(buffer.range_with_flags("a"..).count(), 0);
    for view in [buffer.snapshot(), buffer.snapshot_now().clone()] {
        assert_eq!(view.get("k"), None);
        assert_eq!(view.range("a"..="z").rev().count(), 0);
    }
}

/// What a buffer that was never used refuses.
fn refusals_change_nothing(buffer: &MemBuffer) {
    assert!(matches!(buffer.set("k", ""), Err(Error::EmptyValue)));
    static LONG: [u8; 65_536] = [0; 65_536];
    let refused = [
        buffer.set(LONG, "v"),
        buffer.delete(LONG),
        buffer.update_flags(LONG, [FlagOp::SetLocked]),
    ];
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(Error::KeyTooLarge { .. })))
    );
}

/// A buffer that is made, asked for everything, and dropped.
fn make_and_drop() {
    let buffer = MemBuffer::new();
    assert_eq!((buffer.get("k"), buffer.get_flags("k")), (None, None));
    assert_eq!(
        (buffer.len(), buffer.size(), buffer.is_dirty()),
        (0, 0, false)
    );
    assert_eq!(buffer.batch_get(["k", "l"]).len(), 0);
    assert_eq!(buffer.history("k").len(), 0);
    assert_eq!((buffer.memory().total(), buffer.open_stages()), (0, 0));
    scans_show_nothing(&buffer);
    refusals_change_nothing(&buffer);
    buffer.reset().unwrap();
    buffer.clear_memory_hook();
    buffer.compact();
    assert_eq!(buffer.limits().buffer, usize::MAX);
}

/// One test, since the allocator counts for all threads of the process.
#[test]
fn a_buffer_takes_no_more_than_it_needs() {
    // The test harness has a thread, too, which may be at its own affairs in one round but not in all.
    let touched = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        make_and_drop();
        let change = region.change();
        change.allocations + change.deallocations + change.reallocations
    });
    assert_eq!(touched.min(), Some(0), "never written");

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
