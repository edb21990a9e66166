//! A table that is dropped in steps leaves nothing behind. To the byte, so it is the only test of its process: the start of another
//! one's thread would be counted, too.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::{Memtable, reclaim_garbage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A sealed bag in the queue of `crossbeam-epoch` 0.9. It retires its own nodes, so that a few are on their way for ever: each call of
/// [`reclaim_garbage`] adds one, takes some out, or both.
const BAG: i64 = 2072;
const BAGS_ON_THEIR_WAY: i64 = 2;

fn held(region: &Region<'_, System>) -> i64 {
    let change = region.change();
    change.bytes_allocated as i64 - change.bytes_deallocated as i64
}

fn filled() -> Memtable {
    let table = Memtable::new();
    for n in 0..5000u32 {
        let value = vec![0; n as usize % 300];
        table.insert(n.to_be_bytes(), value).unwrap();
        table.insert((n / 2).to_be_bytes(), "again").unwrap();
    }
    table
}

fn reclaim() {
    (0..16).for_each(|_| reclaim_garbage());
}

#[test]
fn a_teardown_frees_all_whether_or_not_it_is_finished() {
    // The thread's participant in the collector, and its room for what is retired, are the process's and not the table's.
    drop(filled());
    reclaim();
    for steps in [0, 1, 5, usize::MAX] {
        let region = Region::new(ALLOCATOR);
        let mut teardown = filled().teardown();
        let full = held(&region);
        let mut taken = 0;
        while taken < steps && teardown.step(500) {
            taken += 1;
        }
        if steps > 0 {
            assert!(held(&region) < full);
        }
        drop(teardown);
        reclaim();
        let left = held(&region);
        let bags = left / BAG;
        assert_eq!(left - bags * BAG, 0, "{left} bytes after {taken} steps");
        assert!(
            bags.abs() <= BAGS_ON_THEIR_WAY,
            "{bags} bags after {taken} steps"
        );
    }
}
