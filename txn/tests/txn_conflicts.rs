//! Who fails when two transactions want the same key.
#![allow(clippy::unwrap_used)]

use untorn_txn::lock::Wait;
use untorn_txn::store::ForUpdate;
use untorn_txn::{BeginOptions, Db, Error, KeyFlags, LockOptions, Transaction};

fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).unwrap()
}

fn optimistic(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::optimistic()).unwrap()
}

fn put(db: &Db, key: &str, value: &str) {
    let txn = begin(db);
    txn.put(key, value).unwrap();
    txn.blocking().commit().unwrap();
}

fn newest(db: &Db, key: &str) -> Option<Vec<u8>> {
    let value = begin(db).blocking().get(key).unwrap();
    value.map(|value| value.to_vec())
}

#[test]
fn the_second_of_two_optimistic_writers_fails_and_names_the_first() {
    let db = Db::in_memory();
    let (first, second) = (optimistic(&db), optimistic(&db));
    first.put("k", "first").unwrap();
    second.put("k", "second").unwrap();
    second.put("other", "second").unwrap();
    let info = first.blocking().commit().unwrap();
    let error = second.blocking().commit().unwrap_err();
    assert!(error.is_retryable());
    let Error::WriteConflict {
        key,
        start_ts,
        conflict_start_ts,
        conflict_commit_ts,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(key, "k");
    assert_eq!(start_ts, second.start_ts());
    assert_eq!(conflict_start_ts, first.start_ts());
    assert_eq!(Some(conflict_commit_ts), info.commit_ts);
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"first"[..]));
    assert_eq!(newest(&db, "other"), None);
}

/// Rule 25: departs from upstream, where such a write goes through unseen.
#[test]
fn a_pessimistic_write_that_was_never_locked_is_checked_like_an_optimistic_one() {
    let db = Db::in_memory();
    put(&db, "k", "old");
    let txn = begin(&db);
    txn.put("k", "lost update").unwrap();
    put(&db, "k", "newer");
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::WriteConflict { .. })));
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"newer"[..]));
}

#[test]
fn a_locked_write_does_not_conflict_with_a_commit_before_the_lock() {
    let db = Db::in_memory();
    let txn = begin(&db);
    put(&db, "k", "newer");
    let seen = txn.blocking().get_for_update("k").unwrap();
    assert_eq!(seen.as_deref(), Some(&b"newer"[..]));
    txn.put("k", "on top").unwrap();
    txn.blocking().commit().unwrap();
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"on top"[..]));
}

/// Rules 27 and 38.
#[test]
fn a_lock_at_a_timestamp_conflicts_with_a_later_commit_and_gives_the_lock_back() {
    let db = Db::in_memory();
    let txn = begin(&db);
    put(&db, "k", "newer");
    let at = |ts| LockOptions {
        for_update_ts: ForUpdate::At(ts),
        ..LockOptions::default()
    };
    let failed = txn.blocking().lock_keys(["j", "k"], at(txn.start_ts()));
    assert!(matches!(failed, Err(Error::WriteConflict { key, .. }) if key == "k"));
    assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    assert!(!txn.is_dirty());
    let now = db.blocking().timestamp().unwrap();
    let locked = txn.blocking().lock_keys(["k"], at(now)).unwrap();
    assert_eq!(locked[0].for_update_ts, now);
    for invalid in [txn.start_ts() - 1, now + (1 << 40)] {
        let failed = txn.blocking().lock_keys(["l"], at(invalid));
        assert!(matches!(failed, Err(Error::InvalidTimestamp { given, .. }) if given == invalid));
    }
}

/// Rule 47.
#[test]
fn a_committed_lock_conflicts_with_an_older_writer_and_is_invisible_to_readers() {
    let db = Db::in_memory();
    put(&db, "k", "value");
    let older = optimistic(&db);
    older.put("k", "late").unwrap();
    let locker = begin(&db);
    locker
        .blocking()
        .lock_keys(["k", "absent"], LockOptions::default())
        .unwrap();
    let info = locker.blocking().commit().unwrap();
    assert_eq!(info.keys, 2);
    assert!(info.commit_ts.is_some());
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"value"[..]));
    assert_eq!(newest(&db, "absent"), None);
    let failed = older.blocking().commit();
    assert!(matches!(failed, Err(Error::WriteConflict { .. })));
}

/// Rules 29 and 48.
#[test]
fn optimistic_locks_on_what_was_read_exclude_write_skew() {
    let db = Db::in_memory();
    let (one, two) = (optimistic(&db), optimistic(&db));
    for (txn, read, written) in [(&one, "a", "b"), (&two, "b", "a")] {
        assert_eq!(txn.blocking().get(read).unwrap(), None);
        let marked = txn.blocking().lock_keys([read], LockOptions::default());
        assert!(marked.unwrap()[0].locked);
        txn.put(written, "x").unwrap();
    }
    assert!(one.blocking().commit().is_ok());
    let failed = two.blocking().commit();
    assert!(matches!(failed, Err(Error::WriteConflict { .. })));
}

#[test]
fn an_insert_of_a_key_that_exists_fails_at_its_lock_or_else_at_commit() {
    let db = Db::in_memory();
    put(&db, "k", "there");

    let locking = begin(&db);
    locking.insert("k", "x").unwrap();
    let failed = locking.blocking().lock_keys(["k"], LockOptions::default());
    assert!(matches!(failed, Err(Error::KeyExists { key }) if key == "k"));
    assert_eq!(locking.held_locks(), 0);
    // Rule 34: a refuted presumption stays.
    let failed = locking.blocking().commit();
    assert!(matches!(failed, Err(Error::KeyExists { .. })));

    for options in [BeginOptions::optimistic(), BeginOptions::pessimistic()] {
        let unlocked = db.blocking().begin(options).unwrap();
        unlocked.insert("k", "x").unwrap();
        let failed = unlocked.blocking().commit();
        assert!(matches!(failed, Err(Error::KeyExists { .. })));
    }
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"there"[..]));
}

/// Rule 19.
#[test]
fn an_insert_looks_at_own_writes_and_at_what_a_lock_knows() {
    let db = Db::in_memory();
    put(&db, "there", "x");
    let txn = begin(&db);
    txn.put("own", "1").unwrap();
    assert!(matches!(
        txn.insert("own", "2"),
        Err(Error::KeyExists { .. })
    ));

    let asked = LockOptions {
        check_existence: true,
        ..LockOptions::default()
    };
    let outcomes = txn.blocking().lock_keys(["there", "free"], asked).unwrap();
    assert_eq!(
        outcomes.iter().map(|o| o.exists).collect::<Vec<_>>(),
        [Some(true), Some(false)]
    );
    assert!(matches!(
        txn.insert("there", "2"),
        Err(Error::KeyExists { .. })
    ));
    txn.insert("free", "2").unwrap();

    txn.delete("there").unwrap();
    txn.insert("there", "again").unwrap();
    let flags = txn.buffer().get_flags("there").unwrap();
    assert!(!flags.presumes_not_exists());
    txn.blocking().commit().unwrap();
    assert_eq!(newest(&db, "there").as_deref(), Some(&b"again"[..]));
    assert_eq!(newest(&db, "free").as_deref(), Some(&b"2"[..]));
}

/// Rule 26.
#[test]
fn a_key_locked_without_a_question_is_asked_again_when_it_is_presumed_absent() {
    let db = Db::in_memory();
    put(&db, "there", "x");
    let txn = begin(&db);
    let plain = LockOptions::default();
    let outcomes = txn
        .blocking()
        .lock_keys(["free", "there"], plain.clone())
        .unwrap();
    assert!(
        outcomes
            .iter()
            .all(|o| o.exists.is_none() && !o.already_locked)
    );
    txn.insert("free", "1").unwrap();
    txn.insert("there", "1").unwrap();
    let outcome = &txn.blocking().lock_keys(["free"], plain.clone()).unwrap()[0];
    assert!(outcome.already_locked);
    assert_eq!(outcome.exists, Some(false));
    let flags = txn.buffer().get_flags("free").unwrap();
    assert!(!flags.contains(KeyFlags::NEED_CHECK_EXISTS));
    let failed = txn.blocking().lock_keys(["there"], plain);
    assert!(matches!(failed, Err(Error::KeyExists { key }) if key == "there"));
    assert_eq!(txn.held_locks(), 2);
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::KeyExists { key }) if key == "there"));
}

/// Rule C7 and the table of mutations.
#[test]
fn an_insert_that_was_deleted_again_is_checked_by_optimistic_transactions_alone() {
    let db = Db::in_memory();
    put(&db, "there", "x");
    let check = |options: BeginOptions, key: &str| {
        let txn = db.blocking().begin(options).unwrap();
        txn.insert(key, "1").unwrap();
        txn.delete(key).unwrap();
        txn.blocking().commit()
    };
    let info = check(BeginOptions::optimistic(), "free").unwrap();
    assert_eq!((info.keys, info.commit_ts), (1, None));
    let failed = check(BeginOptions::optimistic(), "there");
    assert!(matches!(failed, Err(Error::KeyExists { .. })));
    assert_eq!(newest(&db, "there").as_deref(), Some(&b"x"[..]));
    let info = check(BeginOptions::pessimistic(), "there").unwrap();
    assert!(info.commit_ts.is_some());
    assert_eq!(newest(&db, "there"), None);
}

/// Rule 47: budget as for a lock.
#[test]
fn a_commit_that_meets_a_lock_waits_for_it_and_fails_when_its_time_is_up() {
    let db = Db::in_memory();
    let holder = begin(&db);
    holder
        .blocking()
        .lock_keys(["k"], LockOptions::default())
        .unwrap();
    let hasty = db
        .blocking()
        .begin(BeginOptions {
            lock_wait: Wait::For(std::time::Duration::from_millis(20)),
            ..BeginOptions::optimistic()
        })
        .unwrap();
    hasty.put("k", "hasty").unwrap();
    let failed = hasty.blocking().commit();
    assert!(
        matches!(&failed, Err(Error::LockWaitTimeout { holders, .. }) if *holders == [holder.start_ts()]),
        "{failed:?}"
    );

    let patient = optimistic(&db);
    patient.put("k", "patient").unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| patient.blocking().commit());
        holder.blocking().rollback().unwrap();
        commit.join().unwrap().unwrap();
    });
    assert_eq!(newest(&db, "k").as_deref(), Some(&b"patient"[..]));
}
