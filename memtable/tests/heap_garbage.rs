//! What overwrites leave behind follows the bytes, not the pins: 100 MB of superseded values hold back little of the heap.
//!
//! In a process of its own, since a guard anywhere in it holds the garbage of all tables.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::Memtable;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_hundred_megabytes_of_overwrites_hold_back_less_than_one() {
    let table = Memtable::new();
    let region = Region::new(ALLOCATOR);
    let mut most = 0;
    for n in 0..100_000u32 {
        table.insert("key", [n as u8; 1000]).unwrap();
        let change = region.change();
        most = most.max(change.bytes_allocated - change.bytes_deallocated);
    }
    println!("{most} bytes at most");
    assert!(most < 1 << 20, "{most} bytes held at once");
    assert_eq!(*table.get("key").unwrap(), [(99_999u32 % 256) as u8; 1000]);
}
