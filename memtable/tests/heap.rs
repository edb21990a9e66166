//! What a table holds on the heap.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::Memtable;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A table that is made, asked and dropped.
fn make_and_drop() {
    let table = Memtable::new();
    assert_eq!(table.len(), 0);
    assert_eq!(table.get("k"), None);
    assert_eq!(table.pin().range::<&[u8]>(..).next(), None);
    assert_eq!(table.pin().range::<&[u8]>(..).next_back(), None);
    assert_eq!(table.remove("k").unwrap(), None);
}

#[test]
fn an_empty_table_owns_no_heap() {
    // The thread's participant in the collector is the process's, not the table's.
    untorn_memtable::reclaim_garbage();
    // The test harness has a thread, too, which may be at its own affairs in one round but not in all.
    let touched = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        make_and_drop();
        let change = region.change();
        change.allocations + change.deallocations + change.reallocations
    });
    assert_eq!(touched.min(), Some(0));
}
