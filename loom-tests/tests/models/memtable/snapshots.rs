//! S12, S20: snapshots against writers and trimmers.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};

use super::{assert_exact, table};

/// A snapshot does not change, whatever is written.
#[test]
fn s12_snapshot_with_writes() {
    model("s12_snapshot_with_writes", 6, 2400, || {
        let table = table(&[("a", "0")]);
        let snapshot = table.snapshot();
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("a", "11").unwrap();
            there.insert("b", "22").unwrap();
        });
        assert_eq!(snapshot.get("a").as_deref(), Some(&b"0"[..]));
        assert_eq!(snapshot.get("b"), None);
        writer.join().unwrap();
        assert_eq!(snapshot.get("a").as_deref(), Some(&b"0"[..]));
        drop(snapshot);
        assert_exact(&table, &[("a", "11"), ("b", "22")]);
    });
}

/// A snapshot that is taken while keys are written: it sees a prefix of the writes, and the same one again.
#[test]
fn s12_snapshot_taken_under_writes() {
    model("s12_snapshot_taken_under_writes", 3, 1200, || {
        let table = table(&[("a", "0")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("a", "11").unwrap();
            there.insert("b", "22").unwrap();
        });
        let snapshot = table.snapshot();
        let b = snapshot.get("b");
        let a = snapshot.get("a").unwrap();
        assert!(
            b.is_none() || &*a == b"11",
            "a later write without an earlier one"
        );
        writer.join().unwrap();
        assert_eq!((snapshot.get("a").unwrap(), snapshot.get("b")), (a, b));
        drop(snapshot);
        assert_exact(&table, &[("a", "11"), ("b", "22")]);
    });
}

/// A snapshot that is taken while the versions that it needs are being trimmed.
#[test]
fn s12_snapshot_taken_under_overwrites() {
    model("s12_snapshot_taken_under_overwrites", 3, 1500, || {
        let table = table(&[("a", "0")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("a", "1").unwrap();
            there.insert("a", "2").unwrap();
        });
        let snapshot = table.snapshot();
        let first = snapshot.get("a").expect("never absent");
        writer.join().unwrap();
        assert_eq!(snapshot.get("a").expect("never absent"), first);
        drop(snapshot);
        assert_exact(&table, &[("a", "2")]);
    });
}

/// A snapshot that is taken while the clock moves and versions are trimmed: what it needs is not taken away between its
/// reading of the clock and its registration.
#[test]
fn s12_snapshot_taken_under_ticks_and_overwrites() {
    model(
        "s12_snapshot_taken_under_ticks_and_overwrites",
        6,
        5700,
        || {
            let table = table(&[("a", "0")]);
            let there = Arc::clone(&table);
            let writer = spawn(move || {
                drop(there.snapshot());
                there.insert("a", "1").unwrap();
            });
            let snapshot = table.snapshot();
            writer.join().unwrap();
            let first = snapshot.get("a").expect("never absent");
            table.insert("a", "2").unwrap();
            assert_eq!(snapshot.get("a").expect("never absent"), first);
            drop(snapshot);
            assert_exact(&table, &[("a", "2")]);
        },
    );
}

/// A writer goes by a snapshot that was let go between two that live, and has the clock forget it, while another one is taken: all show what
/// they showed.
#[test]
fn s12_snapshot_that_is_gone_by_is_forgotten_under_a_snapshot() {
    model(
        "s12_snapshot_that_is_gone_by_is_forgotten_under_a_snapshot",
        4,
        8000,
        || {
            let table = table(&[("a", "0")]);
            let below = table.snapshot();
            table.insert("a", "1").unwrap();
            let gone = table.snapshot();
            table.insert("a", "2").unwrap();
            let above = table.snapshot();
            drop(gone);
            let there = Arc::clone(&table);
            let writer = spawn(move || {
                there.insert("a", "3").unwrap();
            });
            let taken = table.snapshot();
            let first = taken.get("a").expect("never absent");
            writer.join().unwrap();
            table.insert("a", "4").unwrap();
            assert_eq!(taken.get("a").expect("never absent"), first);
            assert_eq!(below.get("a").as_deref(), Some(&b"0"[..]));
            assert_eq!(above.get("a").as_deref(), Some(&b"2"[..]));
            drop((below, above, taken));
            assert_exact(&table, &[("a", "4")]);
        },
    );
}
