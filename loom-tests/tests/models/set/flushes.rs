//! Flushed tables leave the set (T4).

use super::{set, text};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use untorn_loom_tests::{model, spawn};

/// T4. Two tables are complete at once: the newer value is in the set or in its file as long as the older one is found, and both leave.
#[test]
fn two_complete() {
    model("set_two_complete", 3, 3500, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        set.rotate();
        set.insert("k", "2").unwrap();
        set.rotate();
        let older = set.next_flush().unwrap();
        let newer = set.next_flush().unwrap();
        let file = Arc::new(AtomicBool::new(false));
        let written = file.clone();
        let other = spawn(move || {
            written.store(true, Ordering::Relaxed);
            newer.complete();
        });
        assert_eq!(text(set.get("k")).as_deref(), Some("2"));
        older.complete();
        if set.get("k").is_none() {
            assert!(file.load(Ordering::Relaxed), "it is nowhere");
        }
        other.join().unwrap();
        assert_eq!((set.oldest_table(), set.frozen_tables()), (2, 0));
    });
}

/// A table is in one hand at a time.
#[test]
fn two_take_a_flush() {
    model("set_two_take_a_flush", 8, 60, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        set.rotate();
        let there = set.clone();
        let other = spawn(move || there.next_flush());
        let mine = set.next_flush();
        let theirs = other.join().unwrap();
        assert!(mine.is_some() != theirs.is_some());
    });
}

/// T1, T4. A table that has left does not come back with the one that is put in front meanwhile.
#[test]
fn complete_beside_rotate() {
    model("set_complete_beside_rotate", 4, 9000, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        set.rotate();
        set.insert("k", "2").unwrap();
        let flush = set.next_flush().unwrap();
        let there = set.clone();
        let rotator = spawn(move || there.rotate());
        flush.complete();
        assert_eq!(text(set.get("k")).unwrap(), "2");
        assert_eq!(rotator.join().unwrap(), Some(1));
        assert_eq!((set.oldest_table(), set.frozen_tables()), (1, 1));
    });
}
