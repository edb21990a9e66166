//! Three threads, one operation each or little more: what two cannot show. The bounds are lower, since the number of
//! interleavings is what limits these.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Memtable, Stats};

use super::{assert_counts, assert_exact, forward, table};

/// S4. Two overwrites of one key and a reader, who never goes back.
#[test]
fn s4_two_writers_and_a_reader() {
    model("s4_two_writers_and_a_reader", 2, 1500, || {
        let table = table(&[("k", "0")]);
        let writers = ["1", "22"].map(|value| {
            let there = Arc::clone(&table);
            spawn(move || {
                there.insert("k", value).unwrap();
            })
        });
        let first = table.get("k").expect("never absent");
        let second = table.get("k").expect("never absent");
        assert!(&*second != b"0" || &*first == b"0", "{first:?} {second:?}");
        for writer in writers {
            writer.join().unwrap();
        }
        let last = table.get("k").unwrap();
        let last = String::from_utf8(last.to_vec()).unwrap();
        assert_exact(&table, &[("k", &last)]);
    });
}

/// S1. The counters while two writers fight over one key: the loser's version is announced and never published.
#[test]
fn s1_two_writers_of_one_key_with_stats() {
    model("s1_two_writers_of_one_key_with_stats", 1, 100, || {
        let table = table(&[("k", "0")]);
        let writers = ["1", "22"].map(|value| {
            let there = Arc::clone(&table);
            spawn(move || {
                there.insert("k", value).unwrap();
            })
        });
        let seen = table.stats();
        assert!(seen.len == 1 && [2, 3].contains(&seen.size), "{seen:?}");
        for writer in writers {
            writer.join().unwrap();
        }
        let last = table.get("k").unwrap();
        assert_counts(
            &table,
            Stats {
                len: 1,
                size: 1 + last.len(),
            },
        );
    });
}

/// S27. A removal, an insert of the same key, and a get.
#[test]
fn s27_remove_insert_get() {
    model("s27_remove_insert_get", 2, 1000, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("k").unwrap());
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "1").unwrap();
        });
        let seen = table.get("k");
        assert!(
            matches!(seen.as_deref(), None | Some(b"0" | b"1")),
            "{seen:?}"
        );
        writer.join().unwrap();
        let removed = remover
            .join()
            .unwrap()
            .expect("the key is there at any time");
        match &*removed.value {
            b"0" => assert_exact(&table, &[("k", "1")]),
            b"1" => assert_exact(&table, &[]),
            impossible => panic!("{impossible:?}"),
        }
    });
}

/// S12. A snapshot while two threads write a key each: it sees the same of both later on.
#[test]
fn s12_snapshot_under_two_writers() {
    model("s12_snapshot_under_two_writers", 2, 1000, || {
        let table = table(&[("a", "0"), ("b", "0")]);
        let writers = ["a", "b"].map(|key| {
            let there = Arc::clone(&table);
            spawn(move || {
                there.insert(key, "1").unwrap();
            })
        });
        let snapshot = table.snapshot();
        let seen = [snapshot.get("a").unwrap(), snapshot.get("b").unwrap()];
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(
            [snapshot.get("a").unwrap(), snapshot.get("b").unwrap()],
            seen
        );
        drop(snapshot);
        assert_exact(&table, &[("a", "1"), ("b", "1")]);
    });
}

/// S10. A cleanup, a write into the stage's key, and a reader of both.
#[test]
fn s10_cleanup_with_writer_and_reader() {
    model("s10_cleanup_with_writer_and_reader", 3, 5000, || {
        let table = table(&[("a", "0")]);
        let stage = table.open_stage();
        table.insert("a", "11").unwrap();
        let there = Arc::clone(&table);
        let cleaner = spawn(move || there.cleanup_stage(stage).unwrap());
        let there = Arc::clone(&table);
        let writer = spawn(move || there.insert("a", "222").unwrap().staged);
        let seen = table.get("a").expect("never absent");
        let size = table.stats().size;
        assert!([2, 3, 4].contains(&size), "{size}");
        cleaner.join().unwrap();
        let staged = writer.join().unwrap();
        assert!(
            &*seen != b"0" || size != 3,
            "what was taken back is counted again"
        );
        assert_exact(&table, &[("a", if staged { "0" } else { "222" })]);
    });
}

/// S26. Two splits of one leaf under a scan.
#[test]
fn s26_two_splits_under_a_scan() {
    model("s26_two_splits_under_a_scan", 2, 1000, || {
        let table = table(&[("b", "2"), ("d", "4")]);
        let writers = [("a", "1"), ("c", "3")].map(|(key, value)| {
            let there: Arc<Memtable> = Arc::clone(&table);
            spawn(move || {
                there.insert(key, value).unwrap();
            })
        });
        let keys: String = forward(&table).into_iter().map(|(key, _)| key).collect();
        assert!(
            ["bd", "abd", "bcd", "abcd"].contains(&keys.as_str()),
            "{keys}"
        );
        for writer in writers {
            writer.join().unwrap();
        }
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    });
}
