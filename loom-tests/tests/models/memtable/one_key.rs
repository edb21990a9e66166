//! S3, S4, S6, S7: two operations on one key.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Kind, Update};

use super::{assert_counts, assert_exact, table};
use untorn_memtable::Stats;

/// S4. An overwrite of another length against a get and its borrowed form: the whole old or the whole new value,
/// and the key is never absent.
#[test]
fn s4_overwrite_with_get() {
    model("s4_overwrite_with_get", 6, 560, || {
        let table = table(&[("k", "old")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "newer").unwrap();
        });
        let first = table.get("k").expect("an overwritten key is never absent");
        assert!(&*first == b"old" || &*first == b"newer", "{first:?}");
        {
            let pinned = table.pin();
            let second = pinned.get("k").expect("an overwritten key is never absent");
            assert!(
                second == b"newer" || (second == b"old" && &*first == b"old"),
                "{second:?}"
            );
        }
        writer.join().unwrap();
        assert_exact(&table, &[("k", "newer")]);
    });
}

/// S4 with two overwrites behind one reader: what was superseded is freed, not under the reader.
#[test]
fn s4_two_overwrites_with_a_held_value() {
    model("s4_two_overwrites_with_a_held_value", 6, 1400, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "11").unwrap();
            there.insert("k", "222").unwrap();
        });
        {
            let pinned = table.pin();
            let held = pinned.get("k").unwrap();
            let before = held.to_vec();
            let again = pinned.get("k").unwrap();
            assert!(again.len() >= held.len());
            assert_eq!(held, before);
        }
        writer.join().unwrap();
        assert_exact(&table, &[("k", "222")]);
    });
}

/// Two overwrites of one key at once: one of them stays, counted once.
#[test]
fn s4_two_writers_of_one_settled_key() {
    model("s4_two_writers_of_one_settled_key", 3, 2600, || {
        let table = table(&[("k", "0")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "1").unwrap();
        });
        table.insert("k", "22").unwrap();
        writer.join().unwrap();
        let last = table.get("k").unwrap();
        assert!(&*last == b"1" || &*last == b"22", "{last:?}");
        assert_counts(
            &table,
            Stats {
                len: 1,
                size: 1 + last.len(),
            },
        );
    });
}

/// S6. Two inserts of one new key: one entry, counted once.
#[test]
fn s6_two_inserts_of_one_new_key() {
    model("s6_two_inserts_of_one_new_key", 4, 4200, || {
        let table = table(&[]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("k", "1").unwrap();
        });
        table.insert("k", "22").unwrap();
        assert!(table.get("k").is_some(), "an own write is seen");
        writer.join().unwrap();
        let last = table.get("k").unwrap();
        let content = if &*last == b"1" {
            [("k", "1")]
        } else {
            [("k", "22")]
        };
        assert_exact(&table, &content);
    });
}

/// S3. A value and a tag of one new key: none, or one, or both, and in the end both.
#[test]
fn s3_value_and_tag_of_one_new_key() {
    model("s3_value_and_tag_of_one_new_key", 4, 1300, || {
        let table = table(&[]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there
                .update("k", |found| Update::Put {
                    value: b"v".as_slice().into(),
                    tag: found.map_or(0, |item| item.tag) | 1,
                })
                .unwrap();
        });
        table
            .update("k", |found| {
                Update::Tag(found.map_or(0, |item| item.tag) | 2)
            })
            .unwrap();
        writer.join().unwrap();
        let entry = table.entry("k").unwrap();
        assert_eq!(
            (entry.kind, entry.tag, &*entry.value),
            (Kind::Value, 3, &b"v"[..])
        );
        assert_counts(&table, Stats { len: 1, size: 2 });
    });
}

/// S7. Two tag updates of one settled key: neither is lost.
#[test]
fn s7_two_tags_of_one_key() {
    model("s7_two_tags_of_one_key", 3, 2600, || {
        let table = table(&[("k", "v")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there
                .update("k", |found| Update::Tag(found.unwrap().tag | 1))
                .unwrap();
        });
        table
            .update("k", |found| Update::Tag(found.unwrap().tag | 2))
            .unwrap();
        writer.join().unwrap();
        assert_eq!(table.entry("k").unwrap().tag, 3);
        assert_exact(&table, &[("k", "v")]);
    });
}
