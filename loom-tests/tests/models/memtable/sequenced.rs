//! Versions under an engine's numbers: a read beside a pruner finds what its number sees, or is refused.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Error, SequencedMemtable};

#[test]
fn read_beside_prune() {
    model("read_beside_prune", 9, 1300, || {
        let table = Arc::new(SequencedMemtable::new());
        table.insert_at(1, "k", "old").unwrap();
        table.insert_at(2, "k", "new").unwrap();
        let there = Arc::clone(&table);
        let pruner = spawn(move || there.prune(2));
        match table.get_at(1, "k") {
            Ok(value) => assert_eq!(value.as_deref(), Some(&b"old"[..])),
            Err(error) => assert_eq!(error, Error::Pruned { oldest: 2 }),
        }
        assert_eq!(pruner.join().unwrap(), 1);
        assert_eq!(table.get_at(2, "k").unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(table.stats().len, 1);
    });
}
