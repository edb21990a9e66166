//! A snapshot of the set stays what it was, whatever is frozen and flushed (T2).

use super::set;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::SetSnapshot;

fn rows(snapshot: &SetSnapshot) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let entries = snapshot.range::<&str>(..);
    entries
        .map(|entry| (text(&entry.key), text(&entry.value)))
        .collect()
}

/// T2. It shows each key once, and what the set held at one instant.
#[test]
fn snapshot_beside_rotate_and_complete() {
    model("set_snapshot_beside_rotate_and_complete", 4, 5000, || {
        let set = set(10_000);
        set.insert("k", "1").unwrap();
        set.insert("l", "1").unwrap();
        let there = set.clone();
        let writer = spawn(move || {
            there.rotate();
            there.insert("k", "2").unwrap();
            there.next_flush().unwrap().complete();
        });
        let snapshot = set.snapshot();
        let shown = rows(&snapshot);
        let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let instants = [
            vec![row("k", "1"), row("l", "1")],
            vec![row("k", "2"), row("l", "1")],
            vec![row("k", "2")],
        ];
        assert!(instants.contains(&shown), "{shown:?}");
        writer.join().unwrap();
        assert_eq!(rows(&snapshot), shown);
        assert_eq!(rows(&set.snapshot()), instants[2]);
    });
}

/// T2. Two writes, one to each of two tables: who is shown the later one is shown the earlier one.
#[test]
fn snapshot_beside_writes_to_two_tables() {
    model("set_snapshot_beside_writes_to_two_tables", 3, 14000, || {
        let set = set(10_000);
        let there = set.clone();
        let writer = spawn(move || {
            there.insert("k", "1").unwrap();
            there.rotate();
            there.insert("l", "1").unwrap();
        });
        let before = set.get("k").is_some();
        let snapshot = set.snapshot();
        let (k, l) = (snapshot.get("k").is_some(), snapshot.get("l").is_some());
        let after = set.get("l").is_some();
        assert!(k >= l && k >= before && after >= l);
        writer.join().unwrap();
        assert_eq!(snapshot.get("l").is_some(), l);
    });
}
