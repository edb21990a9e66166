//! S19: the end of a table's writes. A write that returned before is in, one that was refused is not, and nothing comes after.

use loom::sync::Arc;
use untorn_loom_tests::{model, spawn};
use untorn_memtable::{Error, FreezeError, Memtable, Stats};

use super::{assert_exact, forward, owned, stats, table};

/// Freezes under `write`, and checks that what was there when it returned is all there ever is.
fn freeze_under(
    before: &[(&str, &str)],
    after: &[(&str, &str)],
    write: impl FnOnce(&Memtable) -> Result<(), Error> + 'static,
) {
    let table = table(before);
    let there = Arc::clone(&table);
    let writer = spawn(move || write(&there));
    let frozen = table.freeze().expect("no stage is open");
    assert!(!frozen.__any_pending(), "a writer is not done");
    let (counted, seen) = (frozen.stats(), forward(&frozen));
    let content = match writer.join().unwrap() {
        Ok(()) => after,
        Err(Error::Frozen) => before,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(seen, owned(content));
    assert_eq!(counted, stats(content));
    assert_exact(&table, content);
}

/// S19. A new key.
#[test]
fn s19_freeze_with_insert() {
    model("s19_freeze_with_insert", 8, 18000, || {
        freeze_under(&[("a", "1")], &[("a", "1"), ("b", "2")], |table| {
            table.insert("b", "2").map(|_| ())
        });
    });
}

/// S19. An overwrite, which never touches the run.
#[test]
fn s19_freeze_with_overwrite() {
    model("s19_freeze_with_overwrite", 8, 18000, || {
        freeze_under(&[("a", "1")], &[("a", "22")], |table| {
            table.insert("a", "22").map(|_| ())
        });
    });
}

/// S19. A removal.
#[test]
fn s19_freeze_with_remove() {
    model("s19_freeze_with_remove", 6, 20000, || {
        freeze_under(&[("a", "1"), ("b", "2")], &[("a", "1")], |table| {
            table.remove("b").map(|_| ())
        });
    });
}

/// S19. Two freeze, and one reads: both see the same.
#[test]
fn s19_two_freeze() {
    model("s19_two_freeze", 5, 420, || {
        let table = table(&[("a", "1")]);
        let there = Arc::clone(&table);
        let other = spawn(move || {
            let written = there.insert("b", "2").is_ok();
            (written, there.freeze().unwrap().stats())
        });
        let mine = table.freeze().unwrap().stats();
        let (written, theirs) = other.join().unwrap();
        assert_eq!(mine, theirs);
        let len = 1 + usize::from(written);
        assert_eq!(mine, Stats { len, size: 2 * len });
    });
}

/// S19. A stage is opened: it is refused to freeze, or the stage takes no write.
#[test]
fn s19_freeze_with_stage() {
    model("s19_freeze_with_stage", 5, 590, || {
        let table = table(&[("a", "1")]);
        let there = Arc::clone(&table);
        let other = spawn(move || {
            let stage = there.open_stage();
            let written = there.insert("a", "22").is_ok();
            there.cleanup_stage(stage).unwrap();
            written
        });
        let frozen = table.freeze().map(|frozen| frozen.stats());
        let written = other.join().unwrap();
        match frozen {
            Ok(counted) => assert_eq!(counted, stats(&[("a", "1")])),
            Err(FreezeError::StageOpen) => assert!(written),
            Err(other) => panic!("{other}"),
        }
        assert_exact(&table, &[("a", "1")]);
    });
}

/// S19. Somebody sees that the table is frozen while another is still freezing it: from then on nothing changes, for him either.
#[test]
fn s19_seen_frozen_while_freezing() {
    model("s19_seen_frozen_while_freezing", 3, 1000, || {
        let table = table(&[("a", "1")]);
        let there = Arc::clone(&table);
        let writer = spawn(move || there.insert("a", "22").is_ok());
        let there = Arc::clone(&table);
        let freezer = spawn(move || drop(there.freeze().unwrap()));
        let frozen = table.is_frozen();
        let seen = table.get("a");
        let written = writer.join().unwrap();
        freezer.join().unwrap();
        let last = table.get("a");
        if frozen {
            assert_eq!(seen, last);
            assert_eq!(last.as_deref() == Some(b"22"), written);
        }
        let last = if written { "22" } else { "1" };
        assert_exact(&table, &[("a", last)]);
    });
}
