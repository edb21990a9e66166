//! S9, S25, S27: leaves that die. With two entries to a leaf, `a b c` makes the leaves `[a b] [c]`, and without `c` they are one.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::Memtable;

use super::{assert_exact, backward, forward, table};

const ABC: [(&str, &str); 3] = [("a", "1"), ("b", "2"), ("c", "3")];
const AB: [(&str, &str); 2] = [("a", "1"), ("b", "2")];

/// S25. A leaf dies while a key comes into its range, and who put it there finds it, through whichever lane.
#[test]
fn s25_merge_with_insert_and_get() {
    model("s25_merge_with_insert_and_get", 4, 6500, || {
        let table = table(&ABC);
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        table.insert("d", "4").unwrap();
        assert_eq!(table.get("d").as_deref(), Some(&b"4"[..]));
        assert!(remover.join().unwrap());
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("d", "4")]);
    });
}

/// S25. As before, where the leaf on the left has room for the key: no other leaf begins with it, so that the lane leads to the dead one
/// until its item is taken out.
#[test]
fn s25_get_turns_round_at_a_dead_leaf() {
    model("s25_get_turns_round_at_a_dead_leaf", 4, 6500, || {
        let table = table(&ABC);
        assert!(table.remove("b").unwrap().is_some());
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        table.insert("d", "4").unwrap();
        assert_eq!(table.get("d").as_deref(), Some(&b"4"[..]));
        assert!(remover.join().unwrap());
        assert_exact(&table, &[("a", "1"), ("d", "4")]);
    });
}

fn merge_under(scan: impl Fn(&Memtable) -> Vec<(String, String)>) {
    let table = table(&ABC);
    let there = Arc::clone(&table);
    let remover = spawn(move || there.remove("c").unwrap().is_some());
    let seen = scan(&table);
    let keys: String = seen.iter().map(|(key, _)| key.as_str()).collect();
    assert!(keys == "abc" || keys == "ab", "{keys}");
    assert!(remover.join().unwrap());
    assert_exact(&table, &AB);
}

/// S9. A leaf dies under a scan, forward.
#[test]
fn s9_merge_with_forward_scan() {
    model("s9_merge_with_forward_scan", 7, 2800, || {
        merge_under(forward);
    });
}

/// S9. A leaf dies under a scan, backward.
#[test]
fn s9_merge_with_reverse_scan() {
    model("s9_merge_with_reverse_scan", 7, 2600, || {
        merge_under(backward);
    });
}

/// S25. A leaf dies while its left neighbour splits, so that it does not fit there any more.
#[test]
fn s25_merge_into_a_leaf_that_splits() {
    model("s25_merge_into_a_leaf_that_splits", 3, 4500, || {
        let table = table(&ABC);
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        table.insert("aa", "5").unwrap();
        assert!(remover.join().unwrap());
        assert_exact(&table, &[("a", "1"), ("aa", "5"), ("b", "2")]);
    });
}

/// S9. Two neighbours die at once: the left one goes first.
#[test]
fn s9_two_neighbours_die() {
    model("s9_two_neighbours_die", 3, 7500, || {
        let table = table(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]);
        assert!(table.remove("d").unwrap().is_some());
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        assert!(table.remove("e").unwrap().is_some());
        assert!(remover.join().unwrap());
        assert_exact(&table, &AB);
    });
}

/// S27. A leaf dies before it is listed in its lane, or not at all: its maker stands between the two steps of the split.
#[test]
fn s27_leaf_dies_while_it_is_listed() {
    model("s27_leaf_dies_while_it_is_listed", 3, 5000, || {
        let table = table(&AB);
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        table.insert("c", "3").unwrap();
        remover.join().unwrap();
        // Splits again, at the same key: the cell comes back, and so does the item.
        table.insert("c", "6").unwrap();
        table.insert("d", "4").unwrap();
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("c", "6"), ("d", "4")]);
    });
}

/// S9. A cell comes back in another place while a scan stands on the leaf before.
#[test]
fn s9_cell_comes_back_under_a_scan() {
    model("s9_cell_comes_back_under_a_scan", 6, 8000, || {
        let table = table(&ABC);
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            assert!(there.remove("c").unwrap().is_some());
            there.insert("aa", "5").unwrap();
        });
        let keys: String = forward(&table).into_iter().map(|(key, _)| key).collect();
        assert!(["abc", "ab", "aaab"].contains(&keys.as_str()), "{keys}");
        writer.join().unwrap();
        assert_exact(&table, &[("a", "1"), ("aa", "5"), ("b", "2")]);
    });
}

/// S25. The last leaf, to which ascending inserts have a hint, has died, and its cell comes back in a split that may be given up: an
/// insert by the hint does not end in what was never published.
#[test]
fn s25_cell_of_the_last_leaf_comes_back_under_an_append() {
    let name = "s25_cell_of_the_last_leaf_comes_back_under_an_append";
    model(name, 3, 12_000, || {
        let table = table(&ABC);
        assert!(table.remove("c").unwrap().is_some());
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("aa", "5").unwrap();
        });
        table.insert("d", "4").unwrap();
        assert!(table.remove("a").unwrap().is_some());
        writer.join().unwrap();
        assert_exact(&table, &[("aa", "5"), ("b", "2"), ("d", "4")]);
    });
}

/// S9. A leaf dies under an insert into it and a get from it.
#[test]
fn s9_merge_with_insert_and_get_of_three() {
    model("s9_merge_with_insert_and_get_of_three", 2, 1200, || {
        let table = table(&ABC);
        let there = Arc::clone(&table);
        let remover = spawn(move || there.remove("c").unwrap().is_some());
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            there.insert("d", "4").unwrap();
        });
        let first = table.get("d").is_some();
        let second = table.get("d").is_some();
        assert!(!first || second, "d was there and is gone");
        writer.join().unwrap();
        assert!(remover.join().unwrap());
        assert_exact(&table, &[("a", "1"), ("b", "2"), ("d", "4")]);
    });
}
