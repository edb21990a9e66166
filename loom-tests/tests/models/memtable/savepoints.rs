//! S10: rollbacks to a savepoint, under readers, writers and each other.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Memtable, RollbackError, Savepoint, Stats, Update};

use super::{assert_exact, stats, table};

const BEFORE: [(&str, &str); 1] = [("a", "0")];
const AFTER: [(&str, &str); 2] = [("a", "1"), ("b", "22")];

type Own = Savepoint<std::sync::Arc<Memtable>>;

/// A settled key that was overwritten behind a savepoint by a value of the same length, and a new one.
fn written() -> (std::sync::Arc<Memtable>, Own) {
    let table = std::sync::Arc::new(Memtable::new());
    table.insert("a", "0").unwrap();
    let savepoint = Savepoint::new(table.clone());
    for (key, value) in AFTER {
        assert!(table.insert(key, value).unwrap().staged);
    }
    (table, savepoint)
}

/// S10. A rollback against two gets: once one write is gone, all are.
#[test]
fn s10_rollback_with_gets() {
    model("s10_rollback_with_gets", 6, 2700, || {
        let (table, savepoint) = written();
        let roller = spawn(move || savepoint.roll_back().unwrap());
        let a = table.get("a").expect("the settled value is below");
        let b = table.get("b");
        assert!(&*a == b"1" || (&*a == b"0" && b.is_none()), "{a:?} {b:?}");
        roller.join().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A rollback against the counters.
#[test]
fn s10_rollback_with_stats() {
    model("s10_rollback_with_stats", 7, 11000, || {
        let (table, savepoint) = written();
        let roller = spawn(move || savepoint.roll_back().unwrap());
        let gone = table.get("b").is_none();
        let seen: Stats = table.stats();
        let after = stats(&BEFORE);
        assert!(
            seen == after || (!gone && seen == stats(&AFTER)),
            "{seen:?}, gone: {gone}"
        );
        roller.join().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A read-modify-write of what a rollback takes back: computed from the newer value and gone with it, or computed from the
/// settled one and there to stay.
#[test]
fn s10_rollback_with_update() {
    model("s10_rollback_with_update", 5, 4800, || {
        let (table, savepoint) = written();
        let roller = spawn(move || {
            savepoint.roll_back().unwrap();
            savepoint
        });
        table
            .update("a", |found| {
                let mut value = found.expect("never absent").value.to_vec();
                value.push(b'x');
                Update::Put {
                    value: value.into(),
                    tag: 0,
                }
            })
            .unwrap();
        let savepoint = roller.join().unwrap();
        let a = table.get("a").unwrap();
        assert!(&*a == b"0" || &*a == b"0x", "{a:?}");
        // Whatever is left was written behind the savepoint as it is now.
        savepoint.roll_back().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. Two rollbacks, to an older and to a younger savepoint: the younger one is first, or it is stale.
#[test]
fn s10_rollback_under_a_rollback() {
    model("s10_rollback_under_a_rollback", 4, 1800, || {
        let (table, older) = written();
        let younger = Savepoint::new(table.clone());
        table.insert("a", "2").unwrap();
        let roller = spawn(move || older.roll_back().unwrap());
        let first = younger.roll_back();
        assert!(matches!(first, Ok(()) | Err(RollbackError::Stale)));
        roller.join().unwrap();
        assert_eq!(younger.roll_back(), Err(RollbackError::Stale));
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A rollback to an older savepoint, while a younger one is let go and its key is written.
#[test]
fn s10_rollback_while_a_savepoint_is_let_go() {
    model("s10_rollback_while_a_savepoint_is_let_go", 4, 20000, || {
        let (table, older) = written();
        let younger = Savepoint::new(table.clone());
        let there = table.clone();
        let writer = spawn(move || {
            drop(younger);
            there.insert("a", "2").unwrap();
        });
        older.roll_back().unwrap();
        let a = table.get("a").unwrap();
        assert!(&*a == b"0" || &*a == b"2", "{a:?}");
        writer.join().unwrap();
        older.roll_back().unwrap();
        assert_exact(&table, &BEFORE);
    });
}

/// S10. A stage is released while a savepoint that was made in it is rolled back to: the stage's own writes stay.
#[test]
fn s10_rollback_within_a_stage_that_is_released() {
    model(
        "s10_rollback_within_a_stage_that_is_released",
        3,
        100,
        || {
            let table: Arc<Memtable> = table(&BEFORE);
            let stage = table.open_stage();
            table.insert("a", "1").unwrap();
            let savepoint = table.savepoint();
            table.insert("b", "22").unwrap();
            let there = Arc::clone(&table);
            let releaser = spawn(move || assert!(there.release_stage(stage).unwrap().outermost));
            savepoint.roll_back().unwrap();
            releaser.join().unwrap();
            drop(savepoint);
            assert_exact(&table, &[("a", "1")]);
        },
    );
}

/// S10. Savepoints lapse, the older one under the younger, while a key that both keep is written: the writes stay, and what was
/// kept for them goes.
#[test]
fn s10_lapsed_marks_are_swept_under_a_write() {
    model("s10_lapsed_marks_are_swept_under_a_write", 3, 100, || {
        let (table, older) = written();
        let younger = Savepoint::new(table.clone());
        let sweeper = spawn(move || {
            drop(older);
            drop(younger);
        });
        table.insert("a", "2").unwrap();
        sweeper.join().unwrap();
        table.insert("c", "3").unwrap();
        assert_exact(&table, &[("a", "2"), ("b", "22"), ("c", "3")]);
        assert_eq!(table.history("a").len(), 1);
        assert!(!table.insert("d", "4").unwrap().staged);
    });
}

/// S10. A savepoint is made and rolled back to while an older one lapses: it is not swept along.
#[test]
fn s10_savepoint_over_one_that_lapses() {
    model("s10_savepoint_over_one_that_lapses", 3, 100, || {
        let (table, older) = written();
        let sweeper = spawn(move || drop(older));
        let younger = Savepoint::new(table.clone());
        table.insert("a", "2").unwrap();
        younger.roll_back().unwrap();
        sweeper.join().unwrap();
        assert_exact(&table, &AFTER);
    });
}

/// S10. A savepoint is returned to and let go, while who writes behind it still has the view of before: what came back is not taken
/// for hidden.
#[test]
fn s10_returned_to_and_let_go_under_a_write() {
    model("s10_returned_to_and_let_go_under_a_write", 4, 16000, || {
        let table = std::sync::Arc::new(Memtable::new());
        table.insert("a", "0").unwrap();
        let savepoint = Savepoint::new(table.clone());
        let there = table.clone();
        let writer = spawn(move || {
            there.insert("a", "1").unwrap();
        });
        savepoint.roll_back().unwrap();
        drop(savepoint);
        writer.join().unwrap();
        let a = table.get("a").expect("it was there before");
        let a = std::str::from_utf8(&a).unwrap();
        assert!(a == "0" || a == "1", "{a}");
        assert_exact(&table, &[("a", a)]);
    });
}

/// S10. A writer goes by a savepoint that lapsed between two that live, and sweeps it, while the younger one is rolled back: the older one
/// still brings back what was there.
#[test]
fn s10_savepoint_that_is_gone_by_is_swept_under_a_rollback() {
    model(
        "s10_savepoint_that_is_gone_by_is_swept_under_a_rollback",
        4,
        40000,
        || {
            let (table, older) = written();
            let gone = Savepoint::new(table.clone());
            table.insert("a", "2").unwrap();
            let younger = Savepoint::new(table.clone());
            drop(gone);
            let there = table.clone();
            let writer = spawn(move || {
                there.insert("a", "3").unwrap();
            });
            younger.roll_back().unwrap();
            writer.join().unwrap();
            let a = table.get("a").unwrap();
            assert!(&*a == b"2" || &*a == b"3", "{a:?}");
            older.roll_back().unwrap();
            assert_exact(&table, &BEFORE);
            assert_eq!(younger.roll_back(), Err(RollbackError::Stale));
        },
    );
}
