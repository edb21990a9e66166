//! Who waits for room or for a table to flush is woken once there is one (T5, T7, T8).

use super::{far, set};
use untorn_loom_tests::{model, spawn};
use untorn_memtable::__model::live_records;
use untorn_memtable::Error;

/// T8. The bytes of the completed table do not come back, since a snapshot holds it: only the active one can be flushed.
#[test]
fn wait_beside_complete() {
    model("set_wait_beside_complete", 3, 5000, || {
        let set = set(1000);
        set.insert("k", [0; 300]).unwrap();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let snapshot = set.snapshot();
        set.insert("l", [0; 300]).unwrap();
        let there = set.clone();
        let waiter = spawn(move || there.wait_for_room(700, far()));
        flush.complete();
        set.wait_flush(far()).expect("the active one").complete();
        drop(snapshot);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(set.reserved_bytes(), 0);
    });
}

/// T8. A write that was on its way when the waiter looked leaves its table frozen.
#[test]
fn wait_beside_write() {
    model("set_wait_beside_write", 3, 9000, || {
        let set = set(1000);
        set.insert("k", [0; 300]).unwrap();
        let snapshot = set.snapshot();
        set.rotate();
        set.next_flush().unwrap().complete();
        let there = set.clone();
        let waiter = spawn(move || there.wait_for_room(700, far()));
        set.insert("l", [0; 300]).unwrap();
        set.wait_flush(far()).expect("the active one").complete();
        drop(snapshot);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// T8. The writer, who waits for room and who waits for a table are three.
#[test]
fn wait_beside_write_and_flush() {
    model("set_wait_beside_write_and_flush", 2, 3000, || {
        let set = set(1000);
        set.insert("k", [0; 300]).unwrap();
        let snapshot = set.snapshot();
        set.rotate();
        set.next_flush().unwrap().complete();
        let [one, other] = [set.clone(), set.clone()];
        let waiter = spawn(move || one.wait_for_room(700, far()));
        let writer = spawn(move || other.insert("l", [0; 300]).map(drop));
        set.wait_flush(far()).expect("the active one").complete();
        drop(snapshot);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(writer.join().unwrap(), Ok(()));
    });
}

/// T8. As with two, but what wakes the waiter does not take back what he says right after.
#[test]
fn wait_beside_complete_and_write() {
    model("set_wait_beside_complete_and_write", 3, 16000, || {
        let set = set(1000);
        set.insert("k", [0; 300]).unwrap();
        let snapshot = set.snapshot();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let there = set.clone();
        let waiter = spawn(move || there.wait_for_room(700, far()));
        flush.complete();
        set.insert("l", [0; 300]).unwrap();
        set.wait_flush(far()).expect("the active one").complete();
        drop(snapshot);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// T5. The bytes of a flushed table wake who waits for them, once it is freed.
#[test]
fn wait_beside_flush() {
    model("set_wait_beside_flush", 4, 4500, || {
        let set = set(600);
        let empty = live_records();
        set.insert("k", [0; 300]).unwrap();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let there = set.clone();
        let waiter = spawn(move || {
            assert_eq!(there.wait_for_room(300, far()), Ok(()));
            assert_eq!(live_records(), empty);
        });
        flush.complete();
        waiter.join().unwrap();
        assert_eq!(set.reserved_bytes(), 0);
    });
}

/// A table that is given up goes to who waits for one.
#[test]
fn wait_beside_a_flush_that_is_given_up() {
    model("set_wait_beside_a_flush_that_is_given_up", 6, 480, || {
        let set = set(600);
        set.insert("k", [0; 300]).unwrap();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let there = set.clone();
        let waiter = spawn(move || there.wait_flush(far()).map(|flush| flush.number()));
        drop(flush);
        assert_eq!(waiter.join().unwrap(), Some(0));
    });
}

/// T7. The last reader of a flushed table lets go of it while a writer waits for its bytes, and nobody flushes.
#[test]
fn wait_beside_the_end_of_a_snapshot() {
    model("set_wait_beside_the_end_of_a_snapshot", 8, 110, || {
        let set = set(600);
        set.insert("k", [0; 300]).unwrap();
        let snapshot = set.snapshot();
        set.rotate();
        set.next_flush().unwrap().complete();
        let there = set.clone();
        let reader = spawn(move || {
            drop(snapshot);
            drop(there);
        });
        assert_eq!(set.wait_for_room(300, far()), Ok(()));
        assert_eq!(set.reserved_bytes(), 0);
        reader.join().unwrap();
    });
}

/// T5, T7. A snapshot and a flush let go of a table at once: its bytes come back, once.
#[test]
fn complete_beside_the_end_of_a_snapshot() {
    model("set_complete_beside_the_end_of_a_snapshot", 8, 60, || {
        let set = set(600);
        set.insert("k", [0; 300]).unwrap();
        let snapshot = set.snapshot();
        set.rotate();
        let flush = set.next_flush().unwrap();
        let reader = spawn(move || drop(snapshot));
        flush.complete();
        reader.join().unwrap();
        assert!(set.next_flush().is_none());
        assert_eq!(set.reserved_bytes(), 0);
    });
}

/// T7. The set goes while the last reader of a table does: that is freed, though another table is still read.
#[test]
fn end_of_the_set_beside_the_end_of_a_snapshot() {
    model("set_end_beside_the_end_of_a_snapshot", 8, 80, || {
        let set = set(1000);
        set.insert("k", [0; 300]).unwrap();
        let older = set.snapshot();
        set.rotate();
        set.next_flush().unwrap().complete();
        let one_table = live_records();
        set.insert("k", [0; 300]).unwrap();
        let newer = set.snapshot();
        let reader = spawn(move || drop(older));
        drop(set);
        reader.join().unwrap();
        assert_eq!(live_records(), one_table);
        drop(newer);
    });
}

/// T5. There is room for one of two writes.
#[test]
fn room_for_one_of_two() {
    model("set_room_for_one_of_two", 4, 2500, || {
        let set = set(600);
        let there = set.clone();
        let other = spawn(move || there.insert("k", [0; 300]).map(drop));
        let mine = set.insert("l", [0; 300]).map(drop);
        let theirs = other.join().unwrap();
        let refused = Err(Error::MemoryLimit { limit: 600 });
        assert!([mine, theirs].contains(&Ok(())));
        assert!([mine, theirs].contains(&refused));
        assert_eq!(set.reserved_bytes(), 429);
    });
}
