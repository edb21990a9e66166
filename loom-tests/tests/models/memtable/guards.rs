//! S5, S20: what a guard has lent stays as it is, and the guard may outlive whoever wrote.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Snapshot, Stats};

use super::{assert_counts, assert_exact, table};

/// S5. Bytes lent under a guard, across an overwrite, a removal, and an insert that makes the entry anew.
#[test]
fn s5_lent_bytes_across_overwrite_and_removal() {
    model("s5_lent_bytes_across_overwrite_and_removal", 6, 50, || {
        let table = table(&[("k", "old")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "newer").unwrap();
            there.remove("k").unwrap().expect("nobody else removes");
            there.insert("k", "newest").unwrap();
        });
        {
            let pinned = table.pin();
            let lent = pinned.entry("k");
            let held = lent.map(|item| item.to_entry());
            writer.join().unwrap();
            // All that could be freed is freed by now, but for what this guard holds back.
            let now = lent.map(|item| item.to_entry());
            assert_eq!(now, held);
            let values = [&b"old"[..], b"newer", b"newest"];
            assert!(held.is_none_or(|entry| values.contains(&&entry.value[..])));
        }
        assert_exact(&table, &[("k", "newest")]);
    });
}

/// S20. A thread leaves a snapshot behind that another one drops; what it held back is freed, and nothing sooner.
#[test]
fn s20_snapshot_outlives_its_thread() {
    model("s20_snapshot_outlives_its_thread", 3, 100, || {
        let table = table(&[("k", "1")]);
        let there = Arc::clone(&table);
        let taker = spawn(move || {
            let snapshot = Snapshot::new(there);
            let seen = snapshot.get("k").expect("never absent");
            (snapshot, seen)
        });
        table.insert("k", "22").unwrap();
        let (snapshot, seen) = taker.join().unwrap();
        table.insert("k", "333").unwrap();
        assert_eq!(snapshot.get("k"), Some(seen));
        drop(snapshot);
        table.insert("k", "4444").unwrap();
        assert_counts(&table, Stats { len: 1, size: 5 });
        assert_exact(&table, &[("k", "4444")]);
    });
}

/// S20. A guard that stands still holds back all that is retired after it began, and what it lends is not freed under it.
#[test]
fn s20_guard_held_over_the_end_of_the_writer() {
    model("s20_guard_held_over_the_end_of_the_writer", 6, 20, || {
        let table = table(&[("a", "1"), ("b", "2")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.remove("a").unwrap().expect("nobody else removes");
            there.remove("b").unwrap().expect("nobody else removes");
        });
        let pinned = table.pin();
        let lent = pinned.get("a");
        assert!(lent.is_none_or(|value| value == b"1"));
        writer.join().unwrap();
        assert!(lent.is_none_or(|value| value == b"1"));
        assert_eq!(pinned.get("a"), None);
        drop(pinned);
        assert_exact(&table, &[]);
    });
}
