//! S10, S11, S12: stages and savepoints that end under writers and readers.

use super::{assert_exact, buffer, stats, value};
use untorn_loom_tests::{model, spawn};
use untorn_txn::{Entry, Error, MemBuffer};

/// S10. A write beside a cleanup: taken back with the stage, or there to stay, and then the buffer is dirty.
#[test]
fn s10_cleanup_with_write() {
    model("buffer_s10_cleanup_with_write", 5, 12, || {
        let buffer = buffer(&[]);
        let stage = buffer.stage();
        let cleaner = spawn(move || stage.cleanup().unwrap());
        buffer.set("k", "v").unwrap();
        cleaner.join().unwrap();
        let stays = buffer.get("k").is_some();
        assert_eq!(buffer.is_dirty(), stays);
        assert_exact(&buffer, if stays { &[("k", "v")] } else { &[] });
    });
}

/// S10. A write beside a release: it is there, and the buffer is dirty, wherever it fell.
#[test]
fn s10_release_with_write() {
    model("buffer_s10_release_with_write", 5, 12, || {
        let buffer = buffer(&[]);
        let stage = buffer.stage();
        let releaser = spawn(move || stage.release().unwrap());
        buffer.set("k", "v").unwrap();
        releaser.join().unwrap();
        assert!(buffer.is_dirty());
        assert_exact(&buffer, &[("k", "v")]);
    });
}

/// Staged before, and a settled key overwritten by as many bytes.
fn overwritten() -> (MemBuffer, untorn_txn::buffer::Savepoint) {
    let buffer = buffer(&[("a", "0")]);
    let savepoint = buffer.savepoint();
    buffer.set("a", "1").unwrap();
    buffer.set("b", "22").unwrap();
    (buffer, savepoint)
}

/// S10. A rollback beside gets: once the one is gone the other is, an overwrite by as many bytes included.
#[test]
fn s10_rollback_with_gets() {
    model("buffer_s10_rollback_with_gets", 4, 50, || {
        let (buffer, savepoint) = overwritten();
        let there = buffer.clone();
        let roller = spawn(move || there.rollback_to(&savepoint).unwrap());
        let (a, b) = (buffer.get("a"), buffer.get("b"));
        assert!(
            a == value("1") || (a == value("0") && b.is_none()),
            "{a:?} {b:?}"
        );
        roller.join().unwrap();
        assert_exact(&buffer, &[("a", "0")]);
    });
}

/// S10. A rollback beside the counters.
#[test]
fn s10_rollback_with_stats() {
    model("buffer_s10_rollback_with_stats", 4, 50, || {
        let (buffer, savepoint) = overwritten();
        let there = buffer.clone();
        let roller = spawn(move || there.rollback_to(&savepoint).unwrap());
        let gone = buffer.get("b").is_none();
        let seen = buffer.stats();
        assert!(
            seen == stats(1, 2) || (!gone && seen == stats(2, 5)),
            "{seen:?}"
        );
        roller.join().unwrap();
        assert_exact(&buffer, &[("a", "0")]);
    });
}

/// S10. A write beside a rollback: taken back, or there to stay.
#[test]
fn s10_rollback_with_write() {
    model("buffer_s10_rollback_with_write", 5, 33, || {
        let buffer = buffer(&[("a", "0")]);
        let savepoint = buffer.savepoint();
        let there = buffer.clone();
        let roller = spawn(move || there.rollback_to(&savepoint).unwrap());
        buffer.set("a", "1").unwrap();
        roller.join().unwrap();
        let a = buffer.get("a");
        assert!(a == value("0") || a == value("1"), "{a:?}");
        assert_eq!(buffer.stats(), stats(1, 2));
    });
}

/// S10. A rollback beside a reset: it comes first, or finds its savepoint stale; afterwards it does in any case.
#[test]
fn s10_rollback_with_reset() {
    model("buffer_s10_rollback_with_reset", 5, 5, || {
        let (buffer, savepoint) = overwritten();
        let (there, clone) = (buffer.clone(), savepoint.clone());
        let roller = spawn(move || there.rollback_to(&clone));
        buffer.reset().unwrap();
        let rolled_back = roller.join().unwrap();
        assert!(matches!(rolled_back, Ok(()) | Err(Error::StaleSavepoint)));
        let again = buffer.rollback_to(&savepoint);
        assert!(matches!(again, Err(Error::StaleSavepoint)));
        assert_exact(&buffer, &[]);
    });
}

/// S11. A snapshot beside a release: without the stage's write, or with it, and then from there on.
#[test]
fn s11_release_with_snapshots() {
    model("buffer_s11_release_with_snapshots", 4, 70, || {
        let buffer = buffer(&[]);
        let stage = buffer.stage();
        buffer.set("k", "v").unwrap();
        let releaser = spawn(move || stage.release().unwrap());
        let seen = [(); 2].map(|()| buffer.snapshot().get("k").is_some());
        assert!(seen[0] <= seen[1], "{seen:?}");
        releaser.join().unwrap();
        assert_eq!(buffer.snapshot().get("k"), value("v"));
    });
}

/// S12. A snapshot shows the same before and after a staged write and its end.
#[test]
fn s12_snapshot_with_a_staged_write() {
    model("buffer_s12_snapshot_with_a_staged_write", 2, 20, || {
        let buffer = buffer(&[("k", "0")]);
        let stage = buffer.stage();
        let there = buffer.clone();
        let writer = spawn(move || {
            there.delete("k").unwrap();
            stage.release().unwrap();
        });
        let snapshot = buffer.snapshot();
        let first = snapshot.get("k");
        assert!(first == value("0") || first == Some(Entry::Tombstone));
        assert_eq!(snapshot.get("k"), first);
        writer.join().unwrap();
        assert_eq!(snapshot.get("k"), first);
    });
}
