//! A set under an engine's numbers: a read passes a table over only if it knows the table's highest number (T9).

use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Limits, SequencedSet};

fn number(set: &SequencedSet) -> u64 {
    set.version_at(9, "k").expect("never absent").sequence
}

/// T9. The higher number may land in the older table, beside the freeze of that: who has seen it there finds it.
#[test]
fn reads_beside_late_write_and_rotate() {
    model("set_reads_beside_late_write_and_rotate", 2, 11_000, || {
        let set = SequencedSet::new(Limits::default());
        set.insert_at(1, "k", "1").unwrap();
        let there = set.clone();
        let writer = spawn(move || there.insert_at(5, "k", "5").unwrap().table);
        let before = number(&set);
        assert_eq!(set.rotate(), Some(0));
        assert_eq!(set.insert_at(3, "k", "3").unwrap().table, 1);
        let after = number(&set);
        assert!(
            after == 5 || (after == 3 && before == 1),
            "{after} after {before}"
        );
        assert!(writer.join().unwrap() <= 1);
        assert_eq!(number(&set), 5);
    });
}
