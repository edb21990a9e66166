//! S1, S2, S21: counters read while keys appear and disappear.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Kind, Update};

use super::{assert_counts, assert_exact, stats, table};
use untorn_memtable::Stats;

/// S1. A new tag-only key against the counters: before or after, never between.
#[test]
fn s1_new_tag_with_stats() {
    model("s1_new_tag_with_stats", 5, 1000, || {
        let table = table(&[("a", "1")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            let written = there.update("kk", |_| Update::Tag(4)).unwrap();
            assert!(written.changed);
        });
        let before = stats(&[("a", "1")]);
        let after = Stats { len: 2, size: 4 };
        let seen = table.stats();
        assert!(seen == before || seen == after, "{seen:?}");
        let len = table.len();
        assert!(len == 1 || len == 2, "{len}");
        writer.join().unwrap();
        let entry = table.entry("kk").unwrap();
        assert_eq!((entry.kind, entry.tag), (Kind::TagOnly, 4));
        assert_counts(&table, after);
    });
}

/// S1. What `stats` has shown once it does not take back, and a key that was got is counted.
#[test]
fn s1_a_key_that_was_seen_is_counted() {
    model("s1_a_key_that_was_seen_is_counted", 2, 100, || {
        let table = table(&[]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "v").unwrap();
        });
        let seen = table.get("k");
        let stats = table.stats();
        if seen.is_some() {
            assert_eq!(stats, Stats { len: 1, size: 2 });
        }
        writer.join().unwrap();
        assert_exact(&table, &[("k", "v")]);
    });
}

/// S2. A new tag-only key against a get of a settled one.
#[test]
fn s2_new_tag_with_get_of_another_key() {
    model("s2_new_tag_with_get_of_another_key", 6, 560, || {
        let table = table(&[("a", "1"), ("c", "3")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.update("b", |_| Update::Tag(1)).unwrap();
        });
        assert_eq!(table.get("a").as_deref(), Some(&b"1"[..]));
        assert_eq!(table.get("c").as_deref(), Some(&b"3"[..]));
        writer.join().unwrap();
        assert_eq!(table.get("b"), None);
        assert!(table.entry("b").is_some());
        assert_counts(&table, Stats { len: 3, size: 5 });
    });
}

/// Two new keys at once: both counted, whatever stripe they went to.
#[test]
fn s1_two_writers_of_two_keys() {
    model("s1_two_writers_of_two_keys", 2, 400, || {
        let table = table(&[]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("a", "1").unwrap();
        });
        table.insert("b", "22").unwrap();
        let seen = table.stats();
        assert!(
            seen == Stats { len: 1, size: 3 } || seen == Stats { len: 2, size: 5 },
            "{seen:?}"
        );
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "22")]);
    });
}

/// Two overwrites of one key, and the counters right after: the loser's version was announced and never published.
#[test]
fn s1_two_writers_of_one_key() {
    model("s1_two_writers_of_one_key", 3, 10000, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "1").unwrap();
        });
        table.insert("k", "22").unwrap();
        let seen = table.stats();
        assert!(seen.len == 1 && [2, 3].contains(&seen.size), "{seen:?}");
        writer.join().unwrap();
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

/// S21. A key comes in one stripe and goes in another: the counters are never below nothing, and exact in the end.
#[test]
fn s21_insert_and_remove_in_two_stripes_with_stats() {
    model(
        "s21_insert_and_remove_in_two_stripes_with_stats",
        2,
        1000,
        || {
            let table = table(&[]);
            let there = Arc::clone(&table);
            let remover = spawn(move || there.remove("k").unwrap().is_some());
            table.insert("k", "v").unwrap();
            let seen = table.stats();
            assert!(
                seen == Stats::default() || seen == Stats { len: 1, size: 2 },
                "{seen:?}"
            );
            let removed = remover.join().unwrap();
            let left: &[_] = if removed { &[] } else { &[("k", "v")] };
            assert_exact(&table, left);
        },
    );
}
