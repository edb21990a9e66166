//! S1, S3, S7, S15, S21: writes of values and flags, under readers, counters and each other.

use super::{buffer, stats, value};
use untorn_loom_tests::{model, spawn};
use untorn_txn::{Entry, FlagOp, KeyFlags};

/// S1. A key that gets flags, twice, is counted once, and never half.
#[test]
fn s1_flags_of_a_new_key_with_stats() {
    model("buffer_s1_flags_of_a_new_key_with_stats", 2, 100, || {
        let buffer = buffer(&[]);
        let there = buffer.clone();
        let writer = spawn(move || {
            there.update_flags("k", [FlagOp::SetNeedLocked]).unwrap();
            there.update_flags("k", [FlagOp::SetPrewriteOnly]).unwrap();
        });
        let seen = buffer.stats();
        assert!(seen == stats(0, 0) || seen == stats(1, 1), "{seen:?}");
        writer.join().unwrap();
        assert_eq!(buffer.stats(), stats(1, 1));
        assert_eq!((buffer.len(), buffer.size()), (1, 1));
    });
}

/// S3. Value and flags of one write are there both or not at all.
#[test]
fn s3_value_and_flags_are_one() {
    model("buffer_s3_value_and_flags_are_one", 5, 15, || {
        let buffer = buffer(&[]);
        let there = buffer.clone();
        let writer = spawn(move || {
            let ops = [FlagOp::SetPresumeNotExists];
            there.set_with_flags("k", "v", ops).unwrap();
        });
        if let Some(flags) = buffer.get_flags("k") {
            let both = KeyFlags::PRESUME_NOT_EXISTS | KeyFlags::NEED_CHECK_EXISTS;
            assert_eq!(flags, both);
            assert_eq!(buffer.get("k"), value("v"));
        }
        writer.join().unwrap();
    });
}

/// S7. Of two updates of the flags of one key both take effect, beside a value.
#[test]
fn s7_two_flag_updates_and_both_take_effect() {
    model("buffer_s7_two_flag_updates", 2, 100, || {
        let buffer = buffer(&[("k", "v")]);
        let there = buffer.clone();
        let writer = spawn(move || there.update_flags("k", [FlagOp::SetLocked]).unwrap());
        let ops = [FlagOp::SetReadable];
        buffer.update_flags("k", ops).unwrap();
        writer.join().unwrap();
        let both = KeyFlags::LOCKED | KeyFlags::READABLE;
        assert_eq!(buffer.get_flags("k"), Some(both));
        assert_eq!(buffer.get("k"), value("v"));
    });
}

/// S15. Who sees a write is told that the buffer is dirty.
#[test]
fn s15_dirty_with_set() {
    model("buffer_s15_dirty_with_set", 5, 150, || {
        let buffer = buffer(&[]);
        let there = buffer.clone();
        let writer = spawn(move || there.set("k", "v").unwrap());
        let seen = buffer.get("k").is_some();
        let dirty = buffer.is_dirty();
        assert!(dirty || !seen, "seen and not dirty");
        writer.join().unwrap();
        assert!(buffer.is_dirty());
    });
}

/// S21. Counters beside two writers of one key and a third key: of an instant, and exact at rest.
#[test]
fn s21_set_and_delete_with_stats() {
    model("buffer_s21_set_and_delete_with_stats", 2, 100, || {
        let buffer = buffer(&[("a", "1")]);
        let there = buffer.clone();
        let writer = spawn(move || {
            there.set("b", "22").unwrap();
            there.delete("a").unwrap();
        });
        let instants = [stats(1, 2), stats(2, 5), stats(2, 4)];
        let seen = [buffer.stats(), buffer.stats()];
        let places = seen.map(|seen| instants.iter().position(|instant| *instant == seen));
        assert!(places[0].is_some() && places[0] <= places[1], "{seen:?}");
        writer.join().unwrap();
        assert_eq!(buffer.stats(), instants[2]);
        assert_eq!(buffer.get("a"), Some(Entry::Tombstone));
    });
}
