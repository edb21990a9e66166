//! S8: inserts under scans.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};

use super::{assert_exact, backward, forward, owned, table};

const BEFORE: [(&str, &str); 2] = [("a", "1"), ("c", "3")];
const AFTER: [(&str, &str); 3] = [("a", "1"), ("b", "2"), ("c", "3")];

fn insert_under(scan: impl Fn(&untorn_memtable::Memtable) -> Vec<(String, String)>) {
    let table = table(&BEFORE);
    let there = Arc::clone(&table);
    let writer = spawn(move || {
        there.insert("b", "2").unwrap();
    });
    let seen = scan(&table);
    assert!(seen == owned(&BEFORE) || seen == owned(&AFTER), "{seen:?}");
    writer.join().unwrap();
    assert_exact(&table, &AFTER);
}

/// S8, forward: the insert splits the leaf.
#[test]
fn s8_insert_with_forward_scan() {
    model("s8_insert_with_forward_scan", 6, 120, || {
        insert_under(forward)
    });
}

/// S8, backward.
#[test]
fn s8_insert_with_reverse_scan() {
    model("s8_insert_with_reverse_scan", 6, 320, || {
        insert_under(backward)
    });
}
