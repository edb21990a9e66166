//! The limits of a set of tables, and what is done where room is short.

#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untorn_memtable::{Error, Limits, MemtableSet, Room, SetSnapshot, WriteBatch};

const LIMITS: Limits = Limits {
    table: 10_000,
    soft: 20_000,
    hard: 20_000,
};

/// A batch of a hundred keys of one byte with this value.
fn hundred_of<const LEN: usize>(value: [u8; LEN]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for key in 0..100u8 {
        batch.put([key], value);
    }
    batch
}

#[test]
fn a_batch_fits_whole_or_not_at_all() {
    let set = MemtableSet::new(LIMITS);
    let batch = hundred_of([0; 100]);
    let refused = Error::WriteTooLarge {
        size: 100 * (1 + 100 + 128),
        limit: LIMITS.hard,
    };
    assert_eq!(set.apply(&batch), Err(refused));
    let far = Instant::now() + Duration::from_secs(600);
    assert_eq!(set.wait_for_room(&batch, far), Err(refused));
    assert_eq!(set.reserved_bytes(), 0);
    assert_eq!(set.snapshot().range::<&[u8]>(..).count(), 0);
    assert_eq!(set.frozen_tables(), 0);
}

#[test]
fn over_the_hard_limit_writes_are_refused_until_a_flush_is_complete() {
    let limits = Limits {
        table: 2000,
        soft: 3000,
        hard: 10_000,
    };
    let set = MemtableSet::new(limits);
    let mut written = 0u32;
    let refused = loop {
        match set.insert(written.to_be_bytes(), [0; 100]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(set.reserved_bytes() <= limits.hard);
    };
    assert_eq!(refused, Error::MemoryLimit { limit: limits.hard });
    assert_eq!(set.entry(written.to_be_bytes()), None);
    assert_eq!(set.snapshot().range::<&[u8]>(..).count(), written as usize);
    assert!(set.is_over_soft_limit());
    assert_eq!(set.wait_for_room(100, Instant::now()), Err(refused));
    let never = set.insert("k", vec![0; 10_000]).unwrap_err();
    assert!(matches!(never, Error::WriteTooLarge { size: 10_129, .. }));

    let far = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| set.wait_for_room(100, far));
        set.next_flush().unwrap().complete();
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    set.insert("k", "v").unwrap();
}

/// A table that never fills, as it would not be full before the hard limit refuses writes.
const NEVER_FULL: Limits = Limits {
    table: u64::MAX,
    soft: 1000,
    hard: 1000,
};
const REFUSED: Error = Error::MemoryLimit { limit: 1000 };

#[test]
fn a_write_that_finds_no_room_leaves_something_to_flush() {
    let set = MemtableSet::new(NEVER_FULL);
    set.insert("k", [0; 500]).unwrap();
    assert_eq!(set.frozen_tables(), 0);
    assert_eq!(set.insert("l", [0; 500]), Err(REFUSED));
    assert_eq!(set.frozen_tables(), 1);
    // There is one already, and nothing in the other.
    assert_eq!(set.insert("l", [0; 500]), Err(REFUSED));
    assert_eq!(set.frozen_tables(), 1);
    set.next_flush().unwrap().complete();
    let written = set.insert("l", [0; 500]).unwrap();
    assert_eq!(written.table, 1);

    // Who waits does the same.
    assert_eq!(set.wait_for_room(500, Instant::now()), Err(REFUSED));
    set.next_flush().unwrap().complete();
    assert_eq!(set.wait_for_room(500, Instant::now()), Ok(()));
}

#[test]
fn a_snapshot_that_holds_the_memory_makes_no_tables_of_a_few_writes() {
    for (held, frozen) in [(40_000, 1), (97_000, 0)] {
        let limits = Limits {
            hard: 100_000,
            ..NEVER_FULL
        };
        let set = MemtableSet::new(limits);
        set.insert("k", vec![0; held]).unwrap();
        set.rotate();
        let snapshot = set.snapshot();
        set.next_flush().unwrap().complete();
        while set.insert("l", [0; 800]).is_ok() {}
        assert_eq!(set.frozen_tables(), frozen, "{held} bytes held");
        drop(snapshot);
        assert!(set.insert("l", [0; 800]).is_ok());
    }
}

/// What stopped a writer must not freeze the table of the next one who finds room again.
#[test]
fn a_table_is_filled_anew_after_room_was_short() {
    let (set, snapshot) = held_by_a_snapshot();
    assert_eq!(set.insert("l", [0; 800]), Err(REFUSED));
    drop(snapshot);
    for key in ["l", "m", "n"] {
        set.insert(key, "v").unwrap();
    }
    assert_eq!(set.frozen_tables(), 0);
}

#[test]
fn room_for_a_batch_is_what_it_takes() {
    let set = MemtableSet::new(LIMITS);
    let batch = hundred_of([0; 10]);
    assert_eq!(Room::from(&batch).bytes(), 100 * (1 + 10 + 128));
    set.apply(&batch).unwrap();
    assert_eq!(set.reserved_bytes(), Room::from(&batch).bytes());
    // Its keys and values would find room, with the overhead of one write.
    assert_eq!(set.wait_for_room(batch.size(), Instant::now()), Ok(()));

    let far = Instant::now() + Duration::from_secs(60);
    let turns = AtomicU32::new(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while let Err(error) = set.apply(&batch) {
                assert_eq!(error, Error::MemoryLimit { limit: LIMITS.hard });
                turns.fetch_add(1, Ordering::Release);
                set.wait_for_room(&batch, far).unwrap();
            }
        });
        while turns.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        // It is woken each time, and there is not enough room yet.
        for key in 0..10u8 {
            set.insert([key], "v").unwrap();
            set.rotate();
        }
        set.next_flush().unwrap().complete();
        writer.join().unwrap();
    });
    assert_eq!(turns.into_inner(), 1);
}

/// A set in which all is flushed and nothing free, since a snapshot holds it.
fn held_by_a_snapshot() -> (MemtableSet, SetSnapshot) {
    let set = MemtableSet::new(NEVER_FULL);
    set.insert("k", [0; 800]).unwrap();
    set.rotate();
    let snapshot = set.snapshot();
    set.next_flush().unwrap().complete();
    assert_eq!(set.wait_for_room(800, Instant::now()), Err(REFUSED));
    (set, snapshot)
}

#[test]
fn a_writer_frees_what_the_last_snapshot_let_go() {
    let (set, snapshot) = held_by_a_snapshot();
    assert_eq!(set.insert("l", [0; 800]), Err(REFUSED));
    drop(snapshot);
    assert!(set.reserved_bytes() > 800);
    set.insert("l", [0; 800]).unwrap();
    assert_eq!(set.reserved_bytes(), Room::from(801).bytes());
}

#[test]
fn who_waits_for_room_frees_what_the_last_snapshot_let_go() {
    let (set, snapshot) = held_by_a_snapshot();
    let far = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        // Nobody flushes any more.
        let waiter = scope.spawn(|| set.wait_for_room(800, far));
        drop(snapshot);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    assert_eq!(set.reserved_bytes(), 0);
}

#[test]
fn who_waits_for_a_flush_frees_what_the_last_snapshot_let_go() {
    let (set, snapshot) = held_by_a_snapshot();
    let far = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        let flusher = scope.spawn(|| set.wait_flush(far).is_some());
        drop(snapshot);
        while set.reserved_bytes() > 0 && Instant::now() < far {
            thread::yield_now();
        }
        assert_eq!(set.reserved_bytes(), 0);
        set.insert("l", "v").unwrap();
        set.rotate();
        assert!(flusher.join().unwrap());
    });
}

/// The bytes of the completed table do not come back, since a snapshot holds it: only the active one can be flushed.
#[test]
fn who_waits_for_room_offers_the_active_table_once_the_frozen_one_is_flushed() {
    let far = Instant::now() + Duration::from_secs(60);
    for _ in 0..500 {
        let set = MemtableSet::new(NEVER_FULL);
        set.insert("k", [0; 300]).unwrap();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let snapshot = set.snapshot();
        set.insert("l", [0; 300]).unwrap();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                start.wait();
                set.wait_for_room(700, far)
            });
            start.wait();
            thread::yield_now();
            flush.complete();
            set.wait_flush(far).expect("the active one").complete();
            drop(snapshot);
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn who_waits_for_room_is_woken_by_a_higher_limit() {
    let set = MemtableSet::new(NEVER_FULL);
    set.insert("k", [0; 300]).unwrap();
    let far = Instant::now() + Duration::from_secs(60);
    let room = Room::from(NEVER_FULL.hard as usize - 128);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| set.wait_for_room(room, far));
        while set.frozen_tables() == 0 && Instant::now() < far {
            thread::yield_now(); // who waits offers the active table
        }
        let hard = 2 * NEVER_FULL.hard;
        set.set_limits(Limits { hard, ..NEVER_FULL });
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(set.limits().hard, hard);
    });
}

#[test]
fn lower_limits_hold_from_the_next_write_on() {
    let set = MemtableSet::new(LIMITS);
    for key in 0..10u8 {
        set.insert([key], [0; 100]).unwrap();
    }
    let before = set.reserved_bytes();
    assert_eq!((set.frozen_tables(), set.is_over_soft_limit()), (0, false));
    set.set_limits(Limits {
        table: 1000,
        soft: 2000,
        hard: 2000,
    });
    assert!(set.is_over_soft_limit());
    assert_eq!(
        set.insert("k", "v"),
        Err(Error::MemoryLimit { limit: 2000 })
    );
    assert_eq!((set.reserved_bytes(), set.entry("k")), (before, None));
    set.next_flush().expect("offered").complete();
    set.insert("k", [0; 1000]).unwrap();
    assert_eq!(set.frozen_tables(), 1);
}
