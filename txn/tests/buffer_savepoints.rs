//! Savepoints: rolled back to, independent of stages.
#![allow(clippy::unwrap_used)]

use untorn_txn::buffer::Stats;
use untorn_txn::{BeginOptions, Db, Entry, Error, FlagOp, KeyFlags, LockOptions, MemBuffer};

fn value(text: &'static str) -> Option<Entry> {
    Some(Entry::Value(text.into()))
}

fn two_keys() -> MemBuffer {
    let buffer = MemBuffer::new();
    buffer.set("a", "old").unwrap();
    buffer
        .set_with_flags("b", "old", [FlagOp::SetReadable])
        .unwrap();
    buffer
}

#[test]
fn a_rollback_undoes_overwrites_deletions_new_keys_and_flags() {
    let buffer = two_keys();
    let before = buffer.stats();
    let savepoint = buffer.savepoint();
    buffer.set("a", "new").unwrap();
    buffer.delete("b").unwrap();
    buffer.update_flags("b", [FlagOp::SetPrewriteOnly]).unwrap();
    buffer.set("c", "new").unwrap();
    buffer.update_flags("d", [FlagOp::SetNeedLocked]).unwrap();
    buffer.rollback_to(&savepoint).unwrap();
    assert_eq!(
        [buffer.get("a"), buffer.get("b")],
        [value("old"), value("old")]
    );
    assert_eq!(buffer.get_flags("b"), Some(KeyFlags::READABLE));
    assert_eq!([buffer.get_flags("c"), buffer.get_flags("d")], [None, None]);
    assert_eq!(buffer.stats(), before);
}

/// Rule 11.
#[test]
fn a_savepoint_may_be_rolled_back_to_again_and_again() {
    let buffer = two_keys();
    let savepoint = buffer.savepoint();
    for round in 0..100_u8 {
        buffer.set("a", [round; 3]).unwrap();
        buffer.set([round], "new").unwrap();
        buffer.rollback_to(&savepoint).unwrap();
        assert_eq!((buffer.get("a"), buffer.len()), (value("old"), 2));
    }
}

/// Rule 11.
#[test]
fn rolling_back_to_an_older_savepoint_makes_the_younger_ones_stale() {
    let buffer = two_keys();
    let older = buffer.savepoint();
    let younger = buffer.savepoint();
    buffer.rollback_to(&older).unwrap();
    let again = buffer.rollback_to(&younger.clone());
    assert!(matches!(again, Err(Error::StaleSavepoint)));
    buffer.rollback_to(&older).unwrap();
}

#[test]
fn rolling_back_to_a_younger_savepoint_leaves_the_older_ones() {
    let buffer = two_keys();
    let older = buffer.savepoint();
    buffer.set("a", "1").unwrap();
    let younger = buffer.savepoint();
    buffer.set("a", "2").unwrap();
    buffer.rollback_to(&younger).unwrap();
    assert_eq!(buffer.get("a"), value("1"));
    buffer.rollback_to(&older).unwrap();
    assert_eq!(buffer.get("a"), value("old"));
}

/// Rule 11.
#[test]
fn a_stage_that_was_opened_since_and_is_open_stands_in_the_way() {
    let buffer = two_keys();
    let savepoint = buffer.savepoint();
    let stage = buffer.stage();
    buffer.set("a", "staged").unwrap();
    assert!(matches!(
        buffer.rollback_to(&savepoint),
        Err(Error::StageOpen)
    ));
    assert_eq!(
        buffer.get("a"),
        value("staged"),
        "nothing is changed by an error"
    );
    stage.release().unwrap();
    buffer.rollback_to(&savepoint).unwrap();
    assert_eq!(buffer.get("a"), value("old"));
}

/// Rule 11.
#[test]
fn a_savepoint_outlives_the_release_of_the_stage_around_it() {
    let buffer = two_keys();
    let stage = buffer.stage();
    buffer.set("a", "staged").unwrap();
    let savepoint = buffer.savepoint();
    buffer.set("a", "later").unwrap();
    stage.release().unwrap();
    buffer.set("a", "last").unwrap();
    buffer.rollback_to(&savepoint).unwrap();
    assert_eq!(buffer.get("a"), value("staged"));
}

#[test]
fn a_savepoint_goes_with_the_cleanup_of_the_stage_around_it_even_if_nothing_was_written() {
    let buffer = two_keys();
    let stage = buffer.stage();
    let savepoint = buffer.savepoint();
    stage.cleanup().unwrap();
    assert!(matches!(
        buffer.rollback_to(&savepoint),
        Err(Error::StaleSavepoint)
    ));
}

/// Rule 11.
#[test]
fn a_savepoint_of_another_buffer_or_from_before_a_reset_is_stale() {
    let buffer = two_keys();
    let foreign = MemBuffer::new().savepoint();
    assert!(matches!(
        buffer.rollback_to(&foreign),
        Err(Error::StaleSavepoint)
    ));
    let before = buffer.savepoint();
    buffer.reset().unwrap();
    assert!(matches!(
        buffer.rollback_to(&before),
        Err(Error::StaleSavepoint)
    ));
    assert_eq!(buffer.stats(), Stats::default());
}

#[test]
fn persistent_flags_survive_and_keep_the_key_alive() {
    let buffer = MemBuffer::new();
    let savepoint = buffer.savepoint();
    let ops = [FlagOp::SetLocked, FlagOp::SetPresumeNotExists];
    buffer.set_with_flags("k", "v", ops).unwrap();
    buffer.rollback_to(&savepoint).unwrap();
    assert_eq!(buffer.get("k"), None);
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::LOCKED));
    assert_eq!((buffer.len(), buffer.size()), (1, 1));
}

/// C2.
#[test]
fn a_constraint_check_comes_back_with_the_write_that_had_it() {
    let buffer = MemBuffer::new();
    buffer
        .set_with_flags("k", "v", [FlagOp::SetNeedConstraintCheck])
        .unwrap();
    let savepoint = buffer.savepoint();
    buffer.set("k", "w").unwrap();
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::empty()));
    buffer.rollback_to(&savepoint).unwrap();
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::NEED_CONSTRAINT_CHECK));
}

#[test]
fn room_is_given_back_by_a_rollback() {
    let buffer = MemBuffer::builder().buffer_limit(10).build();
    buffer.set("a", "1234").unwrap();
    let savepoint = buffer.savepoint();
    buffer.set("b", "1234").unwrap();
    assert!(matches!(
        buffer.set("c", "1"),
        Err(Error::TxnTooLarge {
            size: 12,
            limit: 10
        })
    ));
    buffer.rollback_to(&savepoint).unwrap();
    buffer.set("c", "1234").unwrap();
    assert_eq!(buffer.size(), 10);
}

/// Rule 12.
#[test]
fn an_outermost_release_is_dirty_only_for_what_no_rollback_took_back() {
    for (before_the_savepoint, dirty) in [(false, false), (true, true)] {
        let buffer = MemBuffer::new();
        let stage = buffer.stage();
        if before_the_savepoint {
            buffer.set("a", "1").unwrap();
        }
        let savepoint = buffer.savepoint();
        let inner = buffer.stage();
        buffer.set("b", "2").unwrap();
        inner.release().unwrap();
        buffer.rollback_to(&savepoint).unwrap();
        stage.release().unwrap();
        assert_eq!(
            buffer.is_dirty(),
            dirty,
            "written before: {before_the_savepoint}"
        );
    }
}

/// C5.
#[test]
fn a_snapshot_goes_on_showing_what_a_rollback_took_back() {
    let buffer = two_keys();
    let savepoint = buffer.savepoint();
    buffer.set("a", "new").unwrap();
    let snapshot = buffer.snapshot_now();
    buffer.rollback_to(&savepoint).unwrap();
    for round in 0..100_u8 {
        buffer.set([round, 0], "more").unwrap();
    }
    buffer.compact();
    assert_eq!(
        (snapshot.get("a"), buffer.get("a")),
        (value("new"), value("old"))
    );
}

/// Rule 11.
#[test]
fn savepoints_dropped_in_any_order_let_go_of_what_they_kept() {
    let buffer = two_keys();
    let mut savepoints: Vec<_> = (0..1000)
        .map(|_| {
            let savepoint = buffer.savepoint();
            buffer.set("a", [1; 1000]).unwrap();
            savepoint
        })
        .collect();
    assert_eq!(buffer.history("a").len(), 1001);
    let last = savepoints.pop();
    // From the oldest to the youngest.
    drop(savepoints);
    assert_eq!(buffer.history("a").len(), 2);
    buffer.compact();
    assert!(buffer.memory().superseded < 2000, "{:?}", buffer.memory());
    drop(last);
    buffer.compact();
    assert_eq!(buffer.history("a").len(), 1);
}

#[test]
fn twenty_thousand_savepoints_of_one_key_are_dropped_from_the_oldest_on_or_rolled_back_to_one_by_one()
 {
    const DEEP: u32 = 20_000;
    let buffer = two_keys();
    let make = |n: u32| {
        let savepoint = buffer.savepoint();
        buffer.set("a", n.to_be_bytes()).unwrap();
        savepoint
    };
    drop((0..DEEP).map(make).collect::<Vec<_>>());
    let mut savepoints: Vec<_> = (0..DEEP).map(make).collect();
    while let Some(savepoint) = savepoints.pop() {
        buffer.rollback_to(&savepoint).unwrap();
        let before = match savepoints.len() as u32 {
            0 => DEEP - 1,
            n => n - 1,
        };
        let expected = Entry::Value(before.to_be_bytes().to_vec().into());
        assert_eq!(buffer.get("a"), Some(expected));
    }
    buffer.compact();
    // But for the version that is on top of what is left.
    assert!(buffer.memory().superseded < 100, "{:?}", buffer.memory());
}

#[test]
fn a_transaction_keeps_its_locks_over_a_rollback_and_commits_them() {
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("kept", "1").unwrap();
    let savepoint = txn.savepoint().unwrap();
    txn.blocking()
        .lock_keys(["row"], LockOptions::default())
        .unwrap();
    txn.put("row", "2").unwrap();
    txn.rollback_to(&savepoint).unwrap();
    assert_eq!((txn.len(), txn.held_locks()), (2, 1));
    let info = txn.blocking().commit().unwrap();
    assert_eq!(info.keys, 2);
    assert!(matches!(
        txn.savepoint(),
        Err(Error::TransactionClosed { .. })
    ));
    assert!(matches!(
        txn.rollback_to(&savepoint),
        Err(Error::TransactionClosed { .. })
    ));
    assert!(matches!(
        txn.buffer().rollback_to(&savepoint),
        Err(Error::TransactionClosed { .. })
    ));
}
