//! Versions under an engine's numbers: a read beside a pruner finds what its number sees, or is refused; a write beside one is seen
//! as if it had come first, or is refused.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Error, SequencedMemtable, WriteBatch};

#[test]
fn read_beside_prune() {
    model("read_beside_prune", 9, 1300, || {
        let table = Arc::new(SequencedMemtable::new());
        table.insert_at(1, "k", "old").unwrap();
        table.insert_at(2, "k", "new").unwrap();
        let there = Arc::clone(&table);
        let pruner = spawn(move || there.prune(2).unwrap());
        match table.get_at(1, "k") {
            Ok(value) => assert_eq!(value.as_deref(), Some(&b"old"[..])),
            Err(error) => assert_eq!(error, Error::Pruned { oldest: 2 }),
        }
        assert_eq!(pruner.join().unwrap(), 1);
        assert_eq!(table.get_at(2, "k").unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(table.stats().len, 1);
    });
}

/// A version comes into the tail of a leaf while its key is looked for there, at a number that does not see it (E4).
#[test]
fn read_beside_a_write_above_it() {
    model("read_beside_a_write_above_it", 9, 70, || {
        let table = Arc::new(SequencedMemtable::new());
        for key in ["a", "b", "c"] {
            table.insert_at(9, key, "nine").unwrap();
        }
        let there = Arc::clone(&table);
        let writer = spawn(move || there.insert_at(9, "d", "nine").unwrap());
        assert_eq!(table.version_at(5, "d"), Ok(None));
        writer.join().unwrap();
        assert!(table.get_at(9, "d").unwrap().is_some());
    });
}

#[test]
fn write_beside_prune() {
    model("write_beside_prune", 5, 2500, || {
        let table = Arc::new(SequencedMemtable::new());
        table.insert_at(1, "k", "old").unwrap();
        let there = Arc::clone(&table);
        let pruner = spawn(move || there.prune(3).unwrap());
        let written = table.insert_at(2, "k", "new");
        let refused = Err(Error::Pruned { oldest: 3 });
        let expected = match written {
            Ok(()) => "new",
            Err(_) => {
                assert_eq!(written, refused);
                "old"
            }
        };
        let removed = pruner.join().unwrap();
        assert_eq!(table.insert_at(2, "k", "late"), refused);
        assert_eq!(
            table.get_at(3, "k").unwrap().as_deref(),
            Some(expected.as_bytes())
        );
        assert_eq!(
            removed + table.stats().len,
            1 + usize::from(written.is_ok())
        );
    });
}

/// A version of a batch that is not closed yet is none for the pruner: what lies below it stays.
#[test]
fn batch_beside_prune() {
    model("batch_beside_prune", 3, 4500, || {
        let table = Arc::new(SequencedMemtable::new());
        table.insert_at(1, "k", "old").unwrap();
        let there = Arc::clone(&table);
        let writer = spawn(move || {
            let mut batch = WriteBatch::new();
            batch.put("k", "new").put("l", "new");
            there.apply_at(2, &batch)
        });
        let removed = table.prune(3).unwrap();
        let later = table.get_at(3, "l").unwrap();
        let found = table.get_at(3, "k").unwrap().expect("never absent");
        if later.is_some() {
            assert_eq!(found, "new");
        }
        let written = writer.join().unwrap();
        let expected = match written {
            Ok(()) => "new",
            Err(error) => {
                assert_eq!(error, Error::Pruned { oldest: 3 });
                "old"
            }
        };
        assert_eq!(table.get_at(3, "k").unwrap().unwrap(), expected);
        assert_eq!(table.get_at(3, "l").unwrap().is_some(), written.is_ok());
        assert_eq!(
            removed + table.stats().len,
            1 + 2 * usize::from(written.is_ok())
        );
    });
}
