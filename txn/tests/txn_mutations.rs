//! What a commit carries: each row of the table, the filter, unlocked writes and assertions (C7, rules 17, 24 to 26).
#![allow(clippy::unwrap_used)]

use untorn_txn::{
    AssertionLevel, BeginOptions, CommitInfo, Db, Error, FlagOp, Keep, KeyFlags, LockOptions, Mode,
    MutationFilter, OnDrop, Transaction, UnlockedWrites,
};

fn begin(db: &Db, options: BeginOptions) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..options
    };
    db.blocking().begin(options).unwrap()
}

fn mode(mode: Mode) -> BeginOptions {
    BeginOptions {
        mode,
        ..BeginOptions::default()
    }
}

/// A database in which "there" has a value.
fn filled() -> Db {
    let db = Db::in_memory();
    put(&db, "there", "old");
    db
}

fn put(db: &Db, key: &str, value: &str) {
    let txn = begin(db, BeginOptions::default());
    txn.put(key, value).unwrap();
    txn.blocking().commit().unwrap();
}

fn lock(txn: &Transaction, key: &str, check_existence: bool) {
    let options = LockOptions {
        check_existence,
        ..LockOptions::default()
    };
    txn.blocking().lock_keys([key], options).unwrap();
}

fn newest(db: &Db, key: &str) -> Option<Vec<u8>> {
    let view = db.blocking().snapshot().unwrap();
    let value = view.blocking().get(key).unwrap();
    value.map(|value| value.to_vec())
}

fn commit(txn: &Transaction) -> Result<CommitInfo, Error> {
    txn.blocking().commit()
}

fn exists(result: Result<CommitInfo, Error>) -> bool {
    matches!(result, Err(Error::KeyExists { .. }))
}

#[test]
fn a_value_is_a_put_and_one_presumed_absent_an_insert() {
    for each in [Mode::Pessimistic, Mode::Optimistic] {
        let db = filled();
        let txn = begin(&db, mode(each));
        txn.put("there", "new").unwrap();
        txn.insert("free", "new").unwrap();
        assert_eq!(commit(&txn).unwrap().keys, 2);
        assert_eq!(newest(&db, "there").as_deref(), Some(&b"new"[..]));
        let txn = begin(&db, mode(each));
        txn.insert("free", "again").unwrap();
        assert!(exists(commit(&txn)));
    }
}

#[test]
fn a_tombstone_deletes() {
    let db = filled();
    let txn = begin(&db, BeginOptions::default());
    txn.delete("there").unwrap();
    txn.delete("never").unwrap();
    assert_eq!(commit(&txn).unwrap().keys, 2);
    assert_eq!(newest(&db, "there"), None);
}

/// C7 and C12.
#[test]
fn an_insert_deleted_again_is_only_checked_by_an_optimistic_transaction() {
    let db = filled();
    let checked = |key: &str| {
        let txn = begin(&db, mode(Mode::Optimistic));
        txn.insert(key, "x").unwrap();
        txn.delete(key).unwrap();
        commit(&txn)
    };
    assert_eq!(checked("free").unwrap().commit_ts, None);
    assert!(exists(checked("there")));
    assert_eq!(newest(&db, "there").as_deref(), Some(&b"old"[..]));
}

/// C7.
#[test]
fn an_insert_deleted_again_is_a_delete_unless_a_lock_knows_the_key_absent() {
    for (is_locked, is_asked) in [(false, false), (true, false), (true, true)] {
        let db = filled();
        let txn = begin(&db, BeginOptions::default());
        if is_locked {
            lock(&txn, "free", is_asked);
        }
        txn.insert("free", "x").unwrap();
        txn.delete("free").unwrap();
        let older = begin(&db, mode(Mode::Optimistic));
        assert_eq!(commit(&txn).unwrap().keys, 1);
        // Either way others that saw the key before conflict; nothing is there.
        older.put("free", "y").unwrap();
        assert!(matches!(commit(&older), Err(Error::WriteConflict { .. })));
        assert_eq!(newest(&db, "free"), None);
    }
}

#[test]
fn newly_inserted_then_deleted_is_a_lock_if_locked_and_else_nothing() {
    for is_locked in [false, true] {
        let db = filled();
        let txn = begin(&db, BeginOptions::default());
        if is_locked {
            lock(&txn, "there", false);
        }
        let newly = [FlagOp::SetNewlyInserted];
        txn.buffer().delete_with_flags("there", newly).unwrap();
        assert_eq!(commit(&txn).unwrap().keys, usize::from(is_locked));
        assert_eq!(newest(&db, "there").as_deref(), Some(&b"old"[..]));
    }
}

#[test]
fn flags_alone_and_what_is_ignored_are_a_lock_if_locked_and_else_nothing() {
    for is_locked in [false, true] {
        let db = filled();
        let txn = begin(&db, BeginOptions::default());
        for key in ["flags", "there"] {
            if is_locked {
                lock(&txn, key, false);
            }
        }
        let buffer = txn.buffer();
        buffer.update_flags("flags", [FlagOp::SetReadable]).unwrap();
        let ignored = [FlagOp::SetIgnoredIn2pc];
        buffer.set_with_flags("there", "new", ignored).unwrap();
        let info = commit(&txn).unwrap();
        assert_eq!(info.keys, if is_locked { 2 } else { 0 });
        assert_eq!(info.commit_ts.is_some(), is_locked);
        assert_eq!(newest(&db, "there").as_deref(), Some(&b"old"[..]));
    }
}

/// Rule 24.
#[test]
fn a_locked_flag_is_only_the_image_of_a_lock() {
    let db = filled();
    let txn = begin(&db, BeginOptions::default());
    lock(&txn, "there", false);
    let buffer = txn.buffer();
    buffer.update_flags("there", [FlagOp::ClearLocked]).unwrap();
    buffer.update_flags("free", [FlagOp::SetLocked]).unwrap();
    assert_eq!(txn.held_locks(), 1);
    assert!(matches!(buffer.reset(), Err(Error::OptionConflict { .. })));
    put(&db, "free", "x");
    // Set by hand it is checked like a write that was never locked.
    let failed = commit(&txn);
    assert!(matches!(failed, Err(Error::WriteConflict { key, .. }) if key == "free"));
}

/// Rule 17.
#[test]
fn what_the_filter_skips_is_a_lock_if_locked_and_else_nothing() {
    for is_locked in [false, true] {
        let db = filled();
        let filter = MutationFilter::new(|key, _, _| {
            if key == b"there" {
                Keep::Skip
            } else {
                Keep::Keep
            }
        });
        let options = BeginOptions {
            filter: Some(filter),
            ..BeginOptions::default()
        };
        let txn = begin(&db, options);
        if is_locked {
            lock(&txn, "there", false);
        }
        txn.put("there", "new").unwrap();
        txn.put("kept", "new").unwrap();
        assert_eq!(commit(&txn).unwrap().keys, 1 + usize::from(is_locked));
        assert_eq!(newest(&db, "there").as_deref(), Some(&b"old"[..]));
        assert_eq!(newest(&db, "kept").as_deref(), Some(&b"new"[..]));
    }
}

/// Rule 25.
#[test]
fn trusted_writes_are_checked_only_where_their_flag_asks_for_it() {
    let outcome = |unlocked_writes, ops: &[FlagOp]| {
        let db = filled();
        let options = BeginOptions {
            unlocked_writes,
            ..BeginOptions::default()
        };
        let txn = begin(&db, options);
        put(&db, "there", "newer");
        txn.buffer().set_with_flags("there", "newest", ops).unwrap();
        commit(&txn).is_ok()
    };
    let check = [FlagOp::SetNeedConstraintCheck];
    assert!(!outcome(UnlockedWrites::Checked, &[]));
    assert!(outcome(UnlockedWrites::Trusted, &[]));
    assert!(!outcome(UnlockedWrites::Trusted, &check));
}

/// Rule 26: fast assertions go by what a lock knows, strict ones by the store.
#[test]
fn assertions_fail_where_they_do_not_hold_as_far_as_they_are_looked_at() {
    let outcome = |assertions, is_locked, is_asked| {
        let db = filled();
        let options = BeginOptions {
            assertions,
            ..BeginOptions::default()
        };
        let txn = begin(&db, options);
        if is_locked {
            lock(&txn, "there", is_asked);
        }
        let absent = [FlagOp::SetAssertNotExist];
        txn.buffer().set_with_flags("there", "new", absent).unwrap();
        let result = commit(&txn);
        let is_written = newest(&db, "there").as_deref() == Some(&b"new"[..]);
        assert_eq!(result.is_ok(), is_written);
        match result {
            Ok(_) => true,
            Err(Error::AssertionFailed { key, .. }) if key == "there" => false,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(outcome(AssertionLevel::Off, true, true));
    assert!(outcome(AssertionLevel::Fast, false, false));
    assert!(outcome(AssertionLevel::Fast, true, false), "unknown");
    assert!(!outcome(AssertionLevel::Fast, true, true));
    assert!(!outcome(AssertionLevel::Strict, false, false));
    assert!(!outcome(AssertionLevel::Strict, true, false));
}

#[test]
fn a_conflict_is_reported_rather_than_a_failed_assertion() {
    for assertions in [AssertionLevel::Fast, AssertionLevel::Strict] {
        let db = filled();
        let options = BeginOptions {
            assertions,
            ..BeginOptions::default()
        };
        let txn = begin(&db, options);
        lock(&txn, "there", true);
        let absent = [FlagOp::SetAssertNotExist];
        txn.buffer().set_with_flags("there", "new", absent).unwrap();
        txn.put("z", "mine").unwrap();
        put(&db, "z", "theirs");
        let failed = commit(&txn);
        assert!(matches!(failed, Err(Error::WriteConflict { key, .. }) if key == "z"));
    }
}

#[test]
fn a_filter_that_panics_rolls_back() {
    let db = filled();
    let options = BeginOptions {
        filter: Some(MutationFilter::new(|_, _, _| panic!("as planned"))),
        ..BeginOptions::default()
    };
    let txn = begin(&db, options);
    lock(&txn, "there", false);
    txn.put("there", "new").unwrap();
    let commit = std::panic::AssertUnwindSafe(|| commit(&txn));
    assert!(std::panic::catch_unwind(commit).is_err());
    assert_eq!(txn.state(), untorn_txn::TxnState::RolledBack);
    put(&db, "there", "free again");
}

#[test]
fn flags_that_are_written_with_a_value_come_and_go_with_it() {
    let txn = begin(&Db::in_memory(), BeginOptions::default());
    let flags = |key: &str| txn.buffer().get_flags(key);
    let ops = [FlagOp::SetReadable, FlagOp::SetNeedLocked];
    let both = KeyFlags::READABLE | KeyFlags::NEED_LOCKED;
    let refused = txn.put_with_flags("put", "", ops);
    assert!(matches!(refused, Err(Error::EmptyValue)));
    assert_eq!(flags("put"), None);
    let stage = txn.stage().unwrap();
    txn.put_with_flags("put", "v", ops).unwrap();
    txn.insert_with_flags("insert", "v", ops).unwrap();
    txn.delete_with_flags("delete", ops).unwrap();
    assert_eq!(flags("put"), Some(both));
    assert_eq!(flags("delete"), Some(both));
    let presumed = KeyFlags::empty().apply(&[FlagOp::SetPresumeNotExists]);
    assert_eq!(flags("insert"), Some(both | presumed));
    stage.cleanup().unwrap();
    for key in ["put", "insert", "delete"] {
        assert_eq!(flags(key), None, "{key}");
    }
}

#[test]
fn an_insert_with_flags_is_an_insert() {
    let db = filled();
    let newly = [FlagOp::SetNewlyInserted];
    let txn = begin(&db, BeginOptions::default());
    txn.put("own", "v").unwrap();
    lock(&txn, "there", true);
    for key in ["own", "there"] {
        let refused = txn.insert_with_flags(key, "again", newly);
        assert!(matches!(refused, Err(Error::KeyExists { .. })), "{key}");
        let flags = txn.buffer().get_flags(key).unwrap();
        assert!(!flags.contains(KeyFlags::NEWLY_INSERTED), "{key}");
    }
    txn.delete("own").unwrap();
    txn.insert_with_flags("own", "new", newly).unwrap();
    // A tombstone of one's own makes the key free: nothing is presumed.
    let own = txn.buffer().get_flags("own");
    assert_eq!(own, Some(KeyFlags::NEWLY_INSERTED));
    txn.blocking().rollback().unwrap();

    let txn = begin(&db, BeginOptions::default());
    txn.insert_with_flags("there", "new", newly).unwrap();
    assert!(exists(commit(&txn)));
}

#[test]
fn a_key_that_is_locked_shared_is_not_written_with_flags_either() {
    let db = filled();
    let txn = begin(&db, BeginOptions::default());
    lock(&txn, "primary", false);
    let options = LockOptions {
        shared: true,
        ..LockOptions::default()
    };
    txn.blocking().lock_keys(["there"], options).unwrap();
    let ops = [FlagOp::SetReadable];
    for refused in [
        txn.put_with_flags("there", "v", ops),
        txn.insert_with_flags("there", "v", ops),
        txn.delete_with_flags("there", ops),
    ] {
        assert!(matches!(refused, Err(Error::OptionConflict { .. })));
    }
    let flags = txn.buffer().get_flags("there").unwrap();
    assert!(!flags.contains(KeyFlags::READABLE));
}
