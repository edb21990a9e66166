//! S25, S26: leaves that split under everything else.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};

use super::{assert_exact, forward, table};

/// S25. A split against inserts into both halves.
#[test]
fn s25_split_with_inserts_into_both_halves() {
    model("s25_split_with_inserts_into_both_halves", 2, 2200, || {
        let table = table(&[("b", "2"), ("d", "4")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("c", "3").unwrap();
        });
        table.insert("a", "1").unwrap();
        table.insert("e", "5").unwrap();
        writer.join().unwrap();
        assert_exact(
            &table,
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")],
        );
    });
}

/// S25. A split against gets of keys on both sides.
#[test]
fn s25_split_with_gets_of_both_halves() {
    model("s25_split_with_gets_of_both_halves", 6, 560, || {
        let table = table(&[("a", "1"), ("c", "3")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("b", "2").unwrap();
        });
        assert_eq!(table.get("c").as_deref(), Some(&b"3"[..]));
        assert_eq!(table.get("a").as_deref(), Some(&b"1"[..]));
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("c", "3")]);
    });
}

/// S25. Two splits in a row, ascending, against a scan: what was there is seen, in order, once.
#[test]
fn s25_ascending_splits_with_scan() {
    model("s25_ascending_splits_with_scan", 6, 1500, || {
        let table = table(&[("a", "1"), ("b", "2")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("c", "3").unwrap();
            there.insert("d", "4").unwrap();
        });
        let keys: String = forward(&table).into_iter().map(|(key, _)| key).collect();
        // A scan shows each key as of its own step: `d` without `c` would mean that it went back.
        assert!(["ab", "abc", "abcd"].contains(&keys.as_str()), "{keys}");
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    });
}

/// S26. Two threads split one full leaf.
#[test]
fn s26_two_splits_of_one_leaf() {
    model("s26_two_splits_of_one_leaf", 3, 2100, || {
        let table = table(&[("b", "2"), ("d", "4")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("a", "1").unwrap();
        });
        table.insert("e", "5").unwrap();
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("d", "4"), ("e", "5")]);
    });
}

/// Two keys for the tail of one leaf, whichever comes first.
#[test]
fn s25_two_appends_to_one_leaf() {
    model("s25_two_appends_to_one_leaf", 3, 1200, || {
        let table = table(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("d", "4").unwrap();
        });
        table.insert("e", "5").unwrap();
        writer.join().unwrap();
        assert_exact(
            &table,
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")],
        );
    });
}

/// One key twice for the tail of one leaf: one of the two writes lies over the other.
#[test]
fn s25_append_of_one_key_twice() {
    model("s25_append_of_one_key_twice", 2, 1100, || {
        let table = table(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("d", "4").unwrap();
        });
        table.insert("d", "5").unwrap();
        writer.join().unwrap();
        let value = table.get("d").unwrap();
        let value = std::str::from_utf8(&value).unwrap();
        assert!(["4", "5"].contains(&value), "{value}");
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", value)]);
    });
}

/// A leaf is copied while its tail is written.
#[test]
fn s25_append_with_remove() {
    model("s25_append_with_remove", 3, 35000, || {
        let table = table(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("d", "4").unwrap();
        });
        assert!(table.remove("c").unwrap().is_some());
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("d", "4")]);
    });
}

/// A leaf is listed behind all others of its lane while somebody descends there, to a key that went with it.
#[test]
fn s25_listing_with_get() {
    model("s25_listing_with_get", 5, 220, || {
        let keys = ["a", "b", "c", "d", "e", "f", "g", "i"];
        let all = keys.map(|key| (key, key));
        let table = table(&all);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("h", "h").unwrap();
        });
        assert_eq!(table.get("i").as_deref(), Some(&b"i"[..]));
        writer.join().unwrap();
        assert_eq!(forward(&table).len(), 9);
    });
}
