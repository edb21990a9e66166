//! What merging leaves behind.

#![allow(clippy::unwrap_used)]

use super::{Level, Side};
use crate::memtable::Memtable;
use crate::reclaim;
use crate::run::{RunRef, Slot};
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
fn the_hint_to_the_last_leaf_is_of_no_use_once_that_was_split_in_the_middle() {
    let even = |n: u32| key(2 * n);
    let table = Memtable::new().with_leaf_capacity(4);
    for n in 0..100 {
        table.insert(even(n), b"v").unwrap();
    }
    let leads_to = || {
        let guard = reclaim::pin();
        let leaves = table.table().leaves();
        let low = |run: RunRef<'_, _>| run.low().map(<[u8]>::to_vec);
        let (hinted, last) = (
            leaves.last_leaf(&guard).map(|(_, run)| low(run)),
            leaves.find(&[], Side::Last, &guard).1.map(low),
        );
        (hinted, last)
    };
    let (hinted, last) = leads_to();
    assert!(hinted.is_some() && hinted == last, "{hinted:?} {last:?}");
    // Into the last leaf, below its last key.
    table.insert(key(2 * 99 - 1), b"v").unwrap();
    table.insert(key(2 * 98 - 1), b"v").unwrap();
    table.insert(key(2 * 97 - 1), b"v").unwrap();
    let (_, split) = leads_to();
    assert_ne!(split, last, "it was not split");
    assert_eq!(leads_to().0, None);
    for n in 100..110 {
        table.insert(even(n), b"v").unwrap();
    }
    let (hinted, last) = leads_to();
    assert!(hinted.is_some() && hinted == last, "{hinted:?} {last:?}");
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

#[test]
fn ascending_keys_leave_full_leaves_and_one_that_grows() {
    for (capacity, count) in [(2, 100), (16, 1000), (48, 1000)] {
        let table = filled(capacity, count);
        let (leaves, entries) = check(table.table());
        assert_eq!(entries, count as usize);
        assert_eq!(leaves, (count as usize).div_ceil(capacity), "{capacity}");
    }
}

/// Keys of one length, then of another, with other beginnings, so that tails end in the middle.
#[test]
fn ascending_keys_of_changing_shape_are_all_there_in_order() {
    let table = Memtable::new().with_leaf_capacity(16);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for table in 0..20u8 {
        for row in 0..50u32 {
            let prefix = [b't', table].repeat(usize::from(table) + 1);
            keys.push([&prefix[..], &row.to_be_bytes()[..]].concat());
            keys.push([&prefix[..], &row.to_be_bytes()[..], &[0]].concat());
        }
    }
    for key in &keys {
        table.insert(key, key).unwrap();
    }
    keys.sort();
    let pinned = table.pin();
    let found = pinned.range::<&[u8]>(..).map(|(key, _)| key.to_vec());
    assert!(found.eq(keys.iter().cloned()));
    for key in &keys {
        assert_eq!(pinned.get(key), Some(&key[..]));
    }
    check(table.table());
}

/// Four threads write ascending keys to the same tail while each takes out what it wrote a little before.
#[test]
fn a_tail_that_many_write_and_that_is_copied_all_the_time_loses_nothing() {
    const THREADS: u32 = 4;
    const EACH: u32 = 5000;
    for capacity in [4, 48] {
        let table = Memtable::new().with_leaf_capacity(capacity);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let table = &table;
                scope.spawn(move || {
                    let nth = |n: u32| n * THREADS + thread;
                    for n in 0..EACH {
                        assert!(table.insert(key(nth(n)), key(n)).unwrap().changed);
                        if n % 4 == 3 {
                            let removed = table.remove(key(nth(n - 2))).unwrap();
                            assert!(removed.is_some(), "{n} of {thread}");
                        }
                    }
                });
            }
        });
        let left = (0..EACH * THREADS).filter(|n| (n / THREADS) % 4 != 1);
        let pinned = table.pin();
        let found = pinned.range::<&[u8]>(..).map(|(key, _)| key.to_vec());
        assert!(found.eq(left.clone().map(|n| key(n).to_vec())));
        assert_eq!(table.len(), left.count());
        check(table.table());
    }
}
