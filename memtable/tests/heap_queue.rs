//! A queue, inserts at the tail and removals at the head, keeps memory and scan time flat.
//!
//! `UNTORN_OPERATIONS` sets how many operations there are, 400,000 if it is not given:
//!
//! ```sh
//! UNTORN_OPERATIONS=100000000 cargo test --release -p untorn-memtable --test heap_queue -- --nocapture
//! ```

#![allow(clippy::unwrap_used)]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Instant;
use untorn_memtable::Memtable;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LENGTH: u64 = 10_000;
const PARTS: u64 = 10;

#[test]
fn a_queue_holds_no_more_memory_than_its_entries_need() {
    let operations: u64 = match std::env::var("UNTORN_OPERATIONS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => 400_000,
    };
    let region = Region::new(ALLOCATOR);
    let held = || {
        let change = region.change();
        change.bytes_allocated - change.bytes_deallocated
    };
    let table = Memtable::new();
    for n in 0..LENGTH {
        table.insert(n.to_be_bytes(), n.to_be_bytes()).unwrap();
    }
    let full = held();
    let rounds = operations / 2 / PARTS;
    for part in 0..PARTS {
        for n in part * rounds..(part + 1) * rounds {
            let (tail, head) = (n + LENGTH, n);
            table
                .insert(tail.to_be_bytes(), tail.to_be_bytes())
                .unwrap();
            let removed = table.remove(head.to_be_bytes()).unwrap().unwrap();
            assert_eq!(*removed.value, head.to_be_bytes());
        }
        let start = Instant::now();
        let pinned = table.pin();
        let first = pinned
            .range::<&[u8]>(..)
            .next()
            .map(|(key, _)| key.to_vec());
        assert_eq!(pinned.range::<&[u8]>(..).count() as u64, LENGTH);
        let scan = start.elapsed();
        drop(pinned);
        assert_eq!(first.unwrap(), ((part + 1) * rounds).to_be_bytes());
        println!(
            "{:>10} operations: {} bytes held, {full} at first; scan of {LENGTH} in {scan:?}",
            (part + 1) * rounds * 2,
            held()
        );
        // Garbage of two threads' batches, and half-full leaves at both ends.
        assert!(
            held() < full + (1 << 20),
            "{} bytes, {full} at first",
            held()
        );
    }
}
