//! A table that is dropped by a thread of its own is freed when that ends.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::{Memtable, reclaim_garbage};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ENTRIES: u32 = 5000;

#[test]
fn a_teardown_in_the_background_has_freed_all_when_its_thread_ends() {
    let table = Memtable::new();
    for n in 0..ENTRIES {
        table.insert(n.to_be_bytes(), "value").unwrap();
    }
    (0..16).for_each(|_| reclaim_garbage());
    let region = Region::new(ALLOCATOR);
    let thread = table.teardown().in_background().unwrap();
    assert_eq!(thread.thread().name(), Some("untorn-teardown"));
    thread.join().unwrap();
    // Keys and values alone; what the thread itself had is small beside that.
    let change = region.change();
    let freed = change.bytes_deallocated as i64 - change.bytes_allocated as i64;
    assert!(freed > i64::from(ENTRIES) * (4 + 5), "{freed} bytes");
}
