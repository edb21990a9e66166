//! S28: batches. Whoever looks sees all of one or nothing of it, and who writes over one that is on its way completes it.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Error, Memtable, Stats, WriteBatch};

use super::{assert_exact, stats, table};

fn batch(writes: &[(&str, &str)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, value) in writes {
        batch.put(key, value);
    }
    batch
}

fn get(table: &Memtable, key: &str) -> Option<String> {
    let value = table.get(key)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// Applies `{a: 2, b: 2}` to `{a: 1}` beside `other`, and answers what that says and whether the batch was applied.
fn beside<T: 'static>(
    other: impl FnOnce(&Memtable) -> T + 'static,
) -> (Arc<Memtable>, T, Result<(), Error>) {
    let table = table(&[("a", "1")]);
    let there = Arc::clone(&table);
    let other = spawn(move || other(&there));
    let applied = table.apply(&batch(&[("a", "2"), ("b", "2")]));
    let told = other.join().unwrap();
    (table, told, applied.map(|_| ()))
}

/// S28. A snapshot shows both keys of the batch or none, and goes on doing so.
#[test]
fn s28_batch_with_snapshot() {
    model("s28_batch_with_snapshot", 3, 43000, || {
        let (table, (), applied) = beside(|table| {
            let snapshot = table.snapshot();
            let first = ["a", "b"].map(|key| snapshot.get(key).map(|value| value[0]));
            assert!(
                [[Some(b'1'), None], [Some(b'2'); 2]].contains(&first),
                "{first:?}"
            );
            let again = ["a", "b"].map(|key| snapshot.get(key).map(|value| value[0]));
            assert_eq!(again, first);
        });
        applied.unwrap();
        assert_exact(&table, &[("a", "2"), ("b", "2")]);
    });
}

/// S28. Who has seen one key of the batch sees the other, and never what was before again.
#[test]
fn s28_batch_with_gets() {
    model("s28_batch_with_gets", 4, 30000, || {
        let (table, (), applied) = beside(|table| {
            let later = get(table, "b");
            let earlier = get(table, "a");
            if later.is_some() {
                assert_eq!(earlier.as_deref(), Some("2"));
            }
            assert!(
                earlier.is_some(),
                "a key that is overwritten is never absent"
            );
        });
        applied.unwrap();
        assert_exact(&table, &[("a", "2"), ("b", "2")]);
    });
}

/// S28. A single write of a key that the batch writes: before or after, and if it is after, the batch was seen as a whole.
#[test]
fn s28_batch_with_insert() {
    model("s28_batch_with_insert", 2, 90000, || {
        let (table, seen, applied) = beside(|table| {
            table.insert("a", "x").unwrap();
            get(table, "b")
        });
        applied.unwrap();
        match get(&table, "a").as_deref() {
            Some("x") => {
                assert_eq!(seen.as_deref(), Some("2"), "it wrote over half a batch");
                assert_exact(&table, &[("a", "x"), ("b", "2")]);
            }
            _ => assert_exact(&table, &[("a", "2"), ("b", "2")]),
        }
    });
}

/// S28. Who completed a batch removes a key of it; the owner, who comes late, does not bring it back.
#[test]
fn s28_batch_with_remove() {
    model("s28_batch_with_remove", 2, 130000, || {
        let (table, (first, second), applied) = beside(|table| {
            let value = |key| table.remove(key).unwrap().map(|entry| entry.value[0]);
            (value("a"), value("b"))
        });
        applied.unwrap();
        match (first, second) {
            (Some(b'2'), Some(b'2')) => assert_exact(&table, &[]),
            (Some(b'1'), Some(b'2')) => assert_exact(&table, &[("a", "2")]),
            (Some(b'1'), None) => assert_exact(&table, &[("a", "2"), ("b", "2")]),
            other => panic!("{other:?}"),
        }
    });
}

/// S28. Two batches of the same two keys: one of them is last, on both.
#[test]
fn s28_two_batches() {
    model("s28_two_batches", 2, 200000, || {
        let (table, (), applied) = beside(|table| {
            table.apply(&batch(&[("b", "3"), ("a", "3")])).unwrap();
        });
        applied.unwrap();
        let last = get(&table, "a").unwrap();
        assert!(["2", "3"].contains(&&*last));
        assert_exact(&table, &[("a", &last), ("b", &last)]);
    });
}

/// S28. A batch is counted as a whole, and not before it can be seen.
#[test]
fn s28_batch_with_stats() {
    model("s28_batch_with_stats", 3, 2400, || {
        let (table, (), applied) = beside(|table| {
            let seen = get(table, "b").is_some();
            let counted = table.stats();
            let (before, after) = (stats(&[("a", "1")]), stats(&[("a", "2"), ("b", "2")]));
            assert!(
                counted == after || (counted == before && !seen),
                "{counted:?}"
            );
        });
        applied.unwrap();
        assert_exact(&table, &[("a", "2"), ("b", "2")]);
    });
}

/// S19, S28. A table that is frozen has all of the batch or nothing, and what is counted stays.
#[test]
fn s28_batch_with_freeze() {
    model("s28_batch_with_freeze", 4, 2900, || {
        let (table, (counted, seen), applied) = beside(|table| {
            let counted = table.freeze().unwrap().stats();
            (counted, get(table, "b"))
        });
        match applied {
            Ok(()) => {
                assert_eq!((counted.len, seen.as_deref()), (2, Some("2")));
                assert_exact(&table, &[("a", "2"), ("b", "2")]);
            }
            Err(Error::Frozen) => {
                assert_eq!((counted.len, seen), (1, None));
                assert_exact(&table, &[("a", "1")]);
            }
            Err(other) => panic!("{other}"),
        }
    });
}

/// S10, S28. A stage is cleaned up beside a batch, which is in it as a whole or comes after it.
#[test]
fn s28_batch_with_cleanup() {
    model("s28_batch_with_cleanup", 4, 23000, || {
        let table = table(&[("a", "1")]);
        let stage = table.open_stage();
        let there = Arc::clone(&table);
        let other = spawn(move || there.cleanup_stage(stage).unwrap());
        table.apply(&batch(&[("a", "2"), ("b", "2")])).unwrap();
        let seen = get(&table, "b");
        other.join().unwrap();
        match get(&table, "b") {
            Some(_) => {
                assert!(seen.is_some());
                assert_exact(&table, &[("a", "2"), ("b", "2")]);
            }
            None => assert_exact(&table, &[("a", "1")]),
        }
    });
}

/// S28. Three threads: two complete the batch of the third, each on its way to a write of its own.
#[test]
fn s28_two_help() {
    model("s28_two_help", 1, 10000, || {
        let table = table(&[]);
        let others = ["b", "a"].map(|key| {
            let there = Arc::clone(&table);
            spawn(move || there.remove(key).unwrap().is_some())
        });
        table.apply(&batch(&[("a", "2"), ("b", "2")])).unwrap();
        let removed = others.map(|other| other.join().unwrap());
        let left = removed.into_iter().filter(|removed| !removed).count();
        assert_eq!(
            table.stats(),
            Stats {
                len: left,
                size: 2 * left
            }
        );
    });
}
