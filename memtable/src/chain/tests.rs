//! What merging leaves behind.

#![allow(clippy::unwrap_used)]

use super::Level;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::run::Slot;
use crate::table::Table;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Leaves of a chain, and slots in them.
fn census<S: Slot>(level: &Level<'_, S>) -> (usize, usize) {
    let guard = reclaim::pin();
    let (mut leaves, mut slots) = (0, 0);
    let mut cell = Some(level.first);
    while let Some(run) = cell.and_then(|cell| cell.load(&guard)) {
        assert!(!run.is_dead(), "a dead leaf stays behind");
        leaves += 1;
        slots += run.len();
        // SAFETY: cells live as long as the table (I3).
        cell = unsafe { run.range().next.as_ref() };
    }
    (leaves, slots)
}

/// Checks that each level lists exactly the leaves of the one below; answers how many leaves and entries there are.
fn check(table: &Table) -> (usize, usize) {
    let (leaves, entries) = census(&table.leaves());
    let mut below = leaves;
    for number in 0.. {
        let Some(lane) = table.lanes.above(number) else {
            break;
        };
        let (runs, items) = census(&lane);
        // The first leaf of a level is in no lane.
        assert_eq!(items, below.saturating_sub(1), "lane {number}");
        below = runs;
    }
    (leaves, entries)
}

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn filled(capacity: usize, count: u32) -> Memtable {
    let table = Memtable::new().with_leaf_capacity(capacity);
    for n in 0..count {
        table.insert(key(n), b"v").unwrap();
    }
    table
}

#[test]
fn what_is_emptied_is_one_leaf_again() {
    const COUNT: u32 = 3000;
    let orders: [fn(&mut Vec<u32>); 3] = [
        |_| {},
        |numbers| numbers.reverse(),
        |numbers| numbers.shuffle(&mut SmallRng::seed_from_u64(1)),
    ];
    for capacity in [2, 4, 48] {
        for order in orders {
            let table = filled(capacity, COUNT);
            let (leaves, entries) = check(table.table());
            assert!(leaves > COUNT as usize / capacity - 2);
            assert_eq!(entries, COUNT as usize);
            let mut numbers: Vec<u32> = (0..COUNT).collect();
            order(&mut numbers);
            for n in numbers {
                assert!(table.remove(key(n)).unwrap().is_some());
            }
            assert_eq!(check(table.table()), (1, 0));
        }
    }
}

#[test]
fn small_leaves_are_joined() {
    let table = filled(48, 48_000);
    for n in (0..48_000).filter(|n| n % 48 != 0) {
        assert!(table.remove(key(n)).unwrap().is_some());
    }
    let (leaves, entries) = check(table.table());
    assert_eq!(entries, 1000);
    assert!(leaves < 200, "{leaves} leaves for 1000 entries");
}

#[test]
fn a_queue_stays_short() {
    const LENGTH: u32 = 500;
    for capacity in [2, 48] {
        let table = filled(capacity, LENGTH);
        for n in LENGTH..20_000 {
            table.insert(key(n), b"v").unwrap();
            assert!(table.remove(key(n - LENGTH)).unwrap().is_some());
        }
        let (leaves, entries) = check(table.table());
        assert_eq!(entries, LENGTH as usize);
        assert!(leaves <= LENGTH as usize / capacity + 3, "{leaves} leaves");
    }
}

#[test]
fn random_inserts_and_removals_from_four_threads_leave_whole_levels() {
    for capacity in [2, 4, 48] {
        let table = Memtable::new().with_leaf_capacity(capacity);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    let mut random = SmallRng::seed_from_u64(seed);
                    for _ in 0..8000 {
                        let key = key(random.random_range(0..200));
                        if random.random() {
                            table.insert(key, b"v").unwrap();
                        } else {
                            table.remove(key).unwrap();
                        }
                    }
                });
            }
        });
        let (_, entries) = check(table.table());
        assert_eq!(entries, table.pin().range::<&[u8]>(..).count());
        for n in 0..200 {
            table.remove(key(n)).unwrap();
        }
        assert_eq!(check(table.table()), (1, 0));
    }
}
