//! Shared locks, locks on what exists, the primary, and options that do not go together (rules 26, 29, 30, 40, 43, C8, C10).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use untorn_txn::lock::Wait;
use untorn_txn::{
    BeginOptions, Db, Error, KeyFlags, LockOptions, LockOutcome, MemStore, OnDrop, Transaction,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    let txn = begin(&db);
    txn.put("there", "1").unwrap();
    txn.blocking().commit().unwrap();
    (store, db)
}

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn no_wait() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

fn shared() -> LockOptions {
    LockOptions {
        shared: true,
        ..no_wait()
    }
}

fn if_exists() -> LockOptions {
    LockOptions {
        only_if_exists: true,
        return_values: true,
        ..no_wait()
    }
}

fn lock(txn: &Transaction, key: &str, options: LockOptions) -> Result<LockOutcome, Error> {
    let outcomes = txn.blocking().lock_keys([key], options)?;
    Ok(outcomes[0].clone())
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::OptionConflict { .. }))
}

#[test]
fn a_shared_lock_needs_a_primary_and_lets_other_shared_ones_in() {
    let (store, db) = in_memory();
    let (a, b, writer) = (begin(&db), begin(&db), begin(&db));
    assert!(is_refused(lock(&a, "there", shared())));
    assert_eq!((a.held_locks(), a.len()), (0, 0));
    for (txn, primary) in [(&a, "a"), (&b, "b")] {
        lock(txn, primary, no_wait()).unwrap();
        assert!(lock(txn, "there", shared()).unwrap().locked);
        let flags = txn.buffer().get_flags("there").unwrap();
        assert!(flags.contains(KeyFlags::LOCKED | KeyFlags::LOCKED_SHARED));
    }
    assert_eq!(store.locks().holders(b"there").len(), 2);
    let failed = lock(&writer, "there", no_wait());
    assert!(matches!(failed, Err(Error::LockNotAvailable { holders, .. }) if holders.len() == 2));
    for txn in [a, b] {
        assert_eq!(txn.blocking().commit().unwrap().keys, 2);
    }
    assert!(store.locks().is_empty());
}

/// C10.
#[test]
fn a_shared_lock_is_never_upgraded_and_an_exclusive_one_covers_shared_requests() {
    let (_, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, "p", no_wait()).unwrap();
    lock(&txn, "there", shared()).unwrap();
    assert!(is_refused(lock(&txn, "there", no_wait())));
    assert!(is_refused(txn.put("there", "2")));
    assert!(is_refused(txn.delete("there")));
    assert!(lock(&txn, "there", shared()).unwrap().already_locked);
    assert!(lock(&txn, "p", shared()).unwrap().already_locked);
    txn.put("own", "1").unwrap();
    assert!(is_refused(lock(&txn, "own", shared())));
    // Written past the check, commit finds it.
    txn.buffer().set("there", "2").unwrap();
    assert!(is_refused(txn.blocking().commit()));
    let snapshot = db.blocking().snapshot().unwrap();
    assert_eq!(
        snapshot.blocking().get("there").unwrap().as_deref(),
        Some(&b"1"[..])
    );
}

/// Rule 43.
#[test]
fn shared_requests_queue_behind_an_exclusive_one_and_are_granted_together() {
    let (store, db) = in_memory();
    let [first, second, third, late, writer] = ["1", "2", "3", "4", "5"].map(|primary| {
        let txn = begin(&db);
        lock(&txn, primary, no_wait()).unwrap();
        txn
    });
    lock(&first, "there", shared()).unwrap();
    let come_to_wait = |count| {
        while store.locks().waiting().len() < count {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| lock(&writer, "there", LockOptions::default()));
        come_to_wait(1);
        let waiting = LockOptions {
            wait: None,
            ..shared()
        };
        let readers = [&second, &third].map(|reader| {
            let waiting = waiting.clone();
            scope.spawn(move || lock(reader, "there", waiting))
        });
        come_to_wait(3);
        assert!(lock(&late, "there", shared()).is_err());
        first.blocking().rollback().unwrap();
        assert!(writing.join().unwrap().unwrap().locked);
        assert_eq!(store.locks().waiting().len(), 2);
        writer.blocking().rollback().unwrap();
        for reader in readers {
            assert!(reader.join().unwrap().unwrap().locked);
        }
    });
    assert_eq!(store.locks().holders(b"there").len(), 2);
}

/// Rule 47, of shared locks: an older optimistic writer that did not see the lock conflicts.
#[test]
fn a_committed_shared_lock_conflicts_with_an_older_writer() {
    let (_, db) = in_memory();
    let older = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    older.delete("there").unwrap();
    let child = begin(&db);
    child.put("child", "1").unwrap();
    lock(&child, "child", no_wait()).unwrap();
    lock(&child, "there", shared()).unwrap();
    child.blocking().commit().unwrap();
    let failed = older.blocking().commit();
    assert!(matches!(failed, Err(Error::WriteConflict { key, .. }) if key == "there"));
}

/// Rule 40.
#[test]
fn a_key_without_a_value_is_left_unlocked_and_leaves_no_trace() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    let absent = lock(&txn, "absent", if_exists()).unwrap();
    assert_eq!((absent.locked, absent.exists), (false, Some(false)));
    assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    assert!(store.locks().is_empty());
    // It was the primary only for as long as it was asked for.
    assert!(is_refused(lock(&txn, "x", shared())));
    let there = lock(&txn, "there", if_exists()).unwrap();
    assert_eq!(
        (there.locked, there.value.as_deref()),
        (true, Some(&b"1"[..]))
    );
    let outcomes = txn.blocking().lock_keys(["absent", "there"], if_exists());
    let outcomes = outcomes.unwrap();
    assert_eq!((outcomes[0].locked, outcomes[1].locked), (false, true));
    assert_eq!(txn.blocking().commit().unwrap().keys, 1);
}

/// Rules 29 and 40, C10.
#[test]
fn options_that_do_not_go_together_change_nothing() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    let without_values = LockOptions {
        return_values: false,
        ..if_exists()
    };
    assert!(is_refused(lock(&txn, "there", without_values)));
    // Several keys, and none of them may exist: nothing could be the primary.
    assert!(is_refused(
        txn.blocking().lock_keys(["a", "there"], if_exists())
    ));
    let optimistic = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    assert!(is_refused(lock(&optimistic, "there", shared())));
    assert!(is_refused(lock(&optimistic, "there", if_exists())));
    assert!(is_refused(optimistic.fair_begin()));
    for txn in [&txn, &optimistic] {
        assert_eq!((txn.len(), txn.held_locks()), (0, 0));
    }
    let none: [&str; 0] = [];
    assert!(txn.blocking().lock_keys(none, shared()).unwrap().is_empty());
    assert!(store.locks().is_empty());
}

/// C8: the primary of a call that failed is given up with it.
#[test]
fn a_failed_call_gives_its_primary_up_and_the_next_chooses() {
    let (store, db) = in_memory();
    let (holder, txn) = (begin(&db), begin(&db));
    lock(&holder, "k", no_wait()).unwrap();
    let failed = txn.blocking().lock_keys(["a", "k"], no_wait());
    assert!(matches!(failed, Err(Error::LockNotAvailable { .. })));
    assert!(is_refused(lock(&txn, "there", shared())));
    lock(&txn, "b", no_wait()).unwrap();
    assert!(lock(&txn, "there", shared()).unwrap().locked);
    assert_eq!(store.locks().mode_of(txn.start_ts(), b"a"), None);
}
