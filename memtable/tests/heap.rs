//! What a table holds on the heap.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::Memtable;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn an_empty_table_owns_no_heap() {
    // The thread's participant in the collector is the process's, not the table's.
    untorn_memtable::reclaim_garbage();
    let region = Region::new(ALLOCATOR);
    let table = Memtable::new();
    assert_eq!(table.len(), 0);
    assert_eq!(table.get("k"), None);
    assert_eq!(table.pin().range::<&[u8]>(..).next(), None);
    assert_eq!(table.pin().range::<&[u8]>(..).next_back(), None);
    assert_eq!(table.remove("k").unwrap(), None);
    assert_eq!(region.change().allocations, 0);
    drop(table);
    assert_eq!(region.change().deallocations, 0);
}
