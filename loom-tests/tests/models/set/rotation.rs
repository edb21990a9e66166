//! A table is frozen and another takes its place, while somebody writes or reads (T1, T3, T6).

use super::{set, text};
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Limits, MemtableSet, WriteBatch};

/// T1. A write is in the table whose number it answers, and in no other.
#[test]
fn write_beside_rotate() {
    model("set_write_beside_rotate", 3, 19000, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        let there = set.clone();
        let rotator = spawn(move || {
            assert_eq!(there.rotate(), Some(0));
            let flush = there.next_flush().unwrap();
            let found = flush.get("k");
            (flush, found)
        });
        let written = set.insert("k", "2").unwrap();
        assert_eq!(text(set.get("k")).unwrap(), "2");
        let (flush, found) = rotator.join().unwrap();
        assert_eq!(flush.number(), 0);
        assert_eq!(found, flush.get("k"));
        let expected = match written.table {
            0 => "2",
            1 => "1",
            other => panic!("there is no table {other}"),
        };
        assert_eq!(text(found).unwrap(), expected);
        assert_eq!(text(set.get("k")).unwrap(), "2");
        assert_eq!((set.oldest_table(), set.frozen_tables()), (0, 1));
    });
}

/// T3. A reader sees the key all the time, and never goes back.
#[test]
fn gets_beside_rotate() {
    model("set_gets_beside_rotate", 3, 7000, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        let there = set.clone();
        let writer = spawn(move || {
            there.rotate();
            there.insert("k", "2").unwrap();
            there.next_flush().unwrap().complete();
        });
        let mut before = "1".to_owned();
        for _ in 0..3 {
            let now = text(set.get("k")).expect("never absent");
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
        writer.join().unwrap();
        assert_eq!(text(set.get("k")).unwrap(), "2");
    });
}

/// T1. Two rotate at once: one table is put in front.
#[test]
fn two_rotate() {
    model("set_two_rotate", 4, 5500, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        let there = set.clone();
        let other = spawn(move || there.rotate());
        let numbers = [set.rotate(), other.join().unwrap()];
        assert!(numbers.contains(&Some(0)), "{numbers:?}");
        assert_eq!((set.oldest_table(), set.frozen_tables()), (0, 1));
        assert_eq!(text(set.get("k")).unwrap(), "1");
    });
}

/// T1, T2. What is behind the active table in the list takes no write any more, and a snapshot shows all of it.
#[test]
fn what_is_behind_is_final() {
    model("set_what_is_behind_is_final", 2, 8000, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        let [one, other] = [set.clone(), set.clone()];
        let rotator = spawn(move || one.rotate());
        let reader = spawn(move || {
            let is_behind = other.frozen_tables() > 0;
            is_behind.then(|| other.snapshot())
        });
        let written = set.insert("k", "2").unwrap();
        rotator.join().unwrap();
        if let Some(seen) = reader.join().unwrap()
            && written.table == 0
        {
            assert_eq!(text(seen.get("k")).unwrap(), "2");
        }
    });
}

/// T6. A large batch is older than all writes to newer tables and newer than all others, and seen as a whole.
#[test]
fn batch_beside_write() {
    model("set_batch_beside_write", 3, 8000, || {
        let set = MemtableSet::new(Limits {
            table: 500,
            ..Limits::default()
        });
        let there = set.clone();
        let applier = spawn(move || {
            let mut batch = WriteBatch::new();
            batch.put("k", "1").put("l", "1");
            let applied = there.apply(&batch).unwrap();
            (applied.table, there.get("m"))
        });
        let written = set.insert("m", "2").unwrap();
        let seen = set.snapshot();
        assert_eq!(seen.get("k"), seen.get("l"));
        let (batch, found) = applier.join().unwrap();
        assert_ne!(batch, written.table);
        if written.table < batch {
            assert_eq!(text(found).as_deref(), Some("2"));
        }
    });
}
