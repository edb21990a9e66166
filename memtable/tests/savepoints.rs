//! Savepoints that are returned to and let go while others write.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use untorn_memtable::Memtable;

/// Overwrites the keys until it is told to stop, while `round` goes on beside it.
fn beside_overwrites(keys: &[[u8; 1]], rounds: usize, mut round: impl FnMut(&Memtable)) {
    let table = Memtable::new();
    for key in keys {
        table.insert(key, "settled").unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for key in keys.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                table.insert(key, "overwritten").unwrap();
            }
        });
        for _ in 0..rounds {
            round(&table);
            let there = keys.iter().filter(|key| table.contains(key)).count();
            if (there, table.len()) != (keys.len(), keys.len()) {
                stop.store(true, Ordering::Relaxed);
                panic!("{there} of {} keys, len {}", keys.len(), table.len());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn return_once(table: &Memtable) {
    let savepoint = table.savepoint();
    thread::yield_now();
    savepoint.roll_back().unwrap();
}

#[test]
fn a_key_that_was_there_before_is_there_after_a_rollback_and_the_drop() {
    beside_overwrites(&[[0]], 1_500, return_once);
}

#[test]
fn so_it_is_with_many_keys() {
    let keys: Vec<_> = (0..50).map(|key| [key]).collect();
    beside_overwrites(&keys, 500, return_once);
}

#[test]
fn so_it_is_with_savepoints_inside_of_others() {
    let keys: Vec<_> = (0..5).map(|key| [key]).collect();
    beside_overwrites(&keys, 700, |table| {
        let outer = table.savepoint();
        thread::yield_now();
        let inner = table.savepoint();
        thread::yield_now();
        inner.roll_back().unwrap();
        drop(inner);
        outer.roll_back().unwrap();
    });
}
