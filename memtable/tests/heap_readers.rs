//! A reader frees nothing of what writers have left: it is theirs, bit by bit, as they go on.
//!
//! In a process of its own, since the heap's figures are those of all threads.

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use untorn_memtable::{Memtable, garbage_bytes};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VALUE: usize = 1000;
const OVERWRITES: usize = 4_000;
const LEFT: usize = VALUE * OVERWRITES;

fn overwrite(table: &Memtable, times: usize) {
    for n in 0..times {
        table.insert("key", [n as u8; VALUE]).unwrap();
    }
}

#[test]
fn what_waited_for_a_guard_is_freed_by_writers_alone() {
    let table = Memtable::new();
    table.insert("key", "value").unwrap();
    let pinned = table.pin();
    overwrite(&table, OVERWRITES);
    let left = garbage_bytes();
    assert!(left as usize > LEFT, "{left}");
    drop(pinned);

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let region = Region::new(ALLOCATOR);
            for _ in 0..100_000 {
                assert_eq!(table.pin().get("key").unwrap().len(), VALUE);
            }
            let freed = region.change().bytes_deallocated;
            println!("the reader freed {freed} of {left} bytes");
            assert!(freed < LEFT / 10, "{freed} of {left} bytes");
        });
        reader.join().unwrap();
    });

    let region = Region::new(ALLOCATOR);
    overwrite(&table, OVERWRITES);
    let change = region.change();
    let fewer = change.bytes_deallocated - change.bytes_allocated;
    println!("{OVERWRITES} overwrites later there are {fewer} bytes fewer");
    assert!(fewer > LEFT / 10 * 9, "{fewer} of {left} bytes");
}
