//! What a transaction keeps of its reads takes no more memory than the bound says: small values, absent keys, and small
//! values that came as parts of large answers (rule 54).
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use txn_held_store::HeldStore;
use untorn_txn::{BeginOptions, Db};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: usize = 5_000;

/// Bytes that are held after each of the keys was read, the values let go.
fn held_after_reading(value: Option<&[u8]>, block: usize, limit: usize) -> usize {
    let db = Db::new(Arc::new(HeldStore::keeping(limit, block)));
    let writer = db.blocking().begin(BeginOptions::default()).unwrap();
    for key in 0..KEYS {
        if let Some(value) = value {
            writer.put(format!("{key:06}"), value).unwrap();
        }
    }
    writer.blocking().commit().unwrap();
    drop(writer);
    let read = || {
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        for key in 0..KEYS {
            // Twice: what is handed out is shared with what is kept.
            for _ in 0..2 {
                txn.blocking().get(format!("{key:06}")).unwrap();
            }
        }
        txn
    };
    // What the store and its counters take for all these reads is there before.
    drop(read());
    let region = Region::new(ALLOCATOR);
    let txn = read();
    let change = region.change();
    let stats = txn.read_cache();
    assert!(stats.bytes <= limit, "{stats:?}");
    change.bytes_allocated - change.bytes_deallocated
}

#[test]
fn reads_that_are_kept_take_no_more_than_the_bound() {
    for (value, block) in [
        (None, 0),
        (Some(&b"v"[..]), 0),
        (Some(&[7; 100][..]), 0),
        (Some(&[7; 1_000][..]), 0),
        (Some(&[7; 30][..]), 4 << 10),
    ] {
        let length = value.map(<[u8]>::len);
        let without = held_after_reading(value, block, 0);
        // Among them some with tables that have just doubled.
        for limit in [100_000, 430_000, 860_000] {
            let with = held_after_reading(value, block, limit);
            let kept = with.saturating_sub(without);
            println!("values of {length:?} in blocks of {block}: {kept} bytes of {limit}");
            assert!(kept <= limit, "{kept}");
            assert!(kept > limit / 4, "hardly anything is kept: {kept}");
        }
    }
}
