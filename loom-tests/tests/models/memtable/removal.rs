//! S9, S27: keys that go.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};

use super::{assert_exact, forward, table};

/// Two removers of one key: one of them gets it.
#[test]
fn s27_two_removers_of_one_key() {
    model("s27_two_removers_of_one_key", 3, 1000, || {
        let table = table(&[("k", "v")]);
        let there = Arc::clone(&table);
        let other = spawn(move || there.remove("k").unwrap());
        let mine = table.remove("k").unwrap();
        let theirs = other.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "one remover wins");
        assert_eq!(&*mine.or(theirs).unwrap().value, b"v");
        assert_exact(&table, &[]);
    });
}

/// S27. Insert, remove, insert of one key against a remove of it: what was removed was there, what was not removed stays.
#[test]
fn s27_insert_remove_insert_with_remove() {
    model("s27_insert_remove_insert_with_remove", 2, 700, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let other = spawn(move || there.remove("k").unwrap());
        let mine = table.remove("k").unwrap();
        table.insert("k", "1").unwrap();
        let theirs = other.join().unwrap();
        let value = |entry: &untorn_memtable::Entry| entry.value[0];
        match (mine.as_ref().map(value), theirs.as_ref().map(value)) {
            (Some(b'0'), None) | (None, Some(b'0')) => assert_exact(&table, &[("k", "1")]),
            (Some(b'0'), Some(b'1')) => assert_exact(&table, &[]),
            impossible => panic!("{impossible:?}"),
        }
    });
}

/// S27. Insert, remove, insert of one key against an insert of it.
#[test]
fn s27_insert_remove_insert_with_insert() {
    model("s27_insert_remove_insert_with_insert", 2, 500, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let other = spawn(move || {
            there.insert("k", "2").unwrap();
        });
        let mine = table.remove("k").unwrap().expect("nobody else removes it");
        table.insert("k", "1").unwrap();
        other.join().unwrap();
        let last = table.get("k").unwrap();
        match (&*mine.value, &*last) {
            (b"2", b"1") | (b"0", b"1" | b"2") => {}
            impossible => panic!("{impossible:?}"),
        }
        let last = String::from_utf8(last.to_vec()).unwrap();
        assert_exact(&table, &[("k", &last)]);
    });
}

/// S9. A removal under a scan: the neighbours are seen, the key is seen whole or not at all.
#[test]
fn s9_remove_under_a_scan() {
    model("s9_remove_under_a_scan", 6, 290, || {
        let table = table(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = Arc::clone(&table);
        let other = spawn(move || there.remove("b").unwrap().is_some());
        let seen = forward(&table);
        let keys: String = seen
            .iter()
            .map(|(key, value)| format!("{key}{value}"))
            .collect();
        assert!(keys == "a1b2c3" || keys == "a1c3", "{keys}");
        assert!(other.join().unwrap());
        assert_exact(&table, &[("a", "1"), ("c", "3")]);
    });
}

/// A removal in one leaf and an insert in the same one: neither is lost.
#[test]
fn s9_remove_with_insert_beside() {
    model("s9_remove_with_insert_beside", 4, 940, || {
        let table = table(&[("b", "2")]);
        let there = Arc::clone(&table);
        let other = spawn(move || there.remove("b").unwrap().is_some());
        table.insert("a", "1").unwrap();
        assert!(other.join().unwrap());
        assert_exact(&table, &[("a", "1")]);
    });
}

/// S27. A get while the key goes and comes back: what was there, nothing, or what is there now.
#[test]
fn s27_remove_and_insert_with_get() {
    model("s27_remove_and_insert_with_get", 4, 1700, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let other = spawn(move || {
            assert_eq!(&*there.remove("k").unwrap().unwrap().value, b"0");
            there.insert("k", "1").unwrap();
        });
        let first = table.get("k");
        let second = table.get("k");
        let step = |seen: Option<&[u8]>| match seen {
            Some(b"0") => 0,
            None => 1,
            Some(b"1") => 2,
            impossible => panic!("{impossible:?}"),
        };
        assert!(
            step(first.as_deref()) <= step(second.as_deref()),
            "{first:?} {second:?}"
        );
        other.join().unwrap();
        assert_exact(&table, &[("k", "1")]);
    });
}

/// A removal while a snapshot needs the key, and the snapshot's end while writes clear away.
#[test]
fn s27_remove_under_a_snapshot() {
    model("s27_remove_under_a_snapshot", 4, 1100, || {
        let table = table(&[("k", "0")]);
        let snapshot = table.snapshot();
        let there = Arc::clone(&table);
        let other = spawn(move || {
            assert!(there.remove("k").unwrap().is_some());
            there.insert("l", "1").unwrap();
        });
        assert_eq!(snapshot.get("k").as_deref(), Some(&b"0"[..]));
        drop(snapshot);
        other.join().unwrap();
        assert_exact(&table, &[("l", "1")]);
        table.insert("k", "2").unwrap();
        assert_exact(&table, &[("k", "2"), ("l", "1")]);
    });
}
