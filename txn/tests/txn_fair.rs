//! Fair locking (rules 20, 44).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use untorn_txn::buffer::Limits;
use untorn_txn::lock::Wait;
use untorn_txn::{
    BeginOptions, Db, Error, ForUpdate, KeyFlags, LockOptions, LockOutcome, MemStore, OnDrop,
    Transaction, TxnState,
};

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    (store, db)
}

fn begin(db: &Db) -> Transaction {
    begin_within(db, Limits::default())
}

fn begin_within(db: &Db, limits: Limits) -> Transaction {
    let options = BeginOptions {
        limits,
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn lock(txn: &Transaction, key: &str) -> Result<LockOutcome, Error> {
    let options = LockOptions {
        return_values: true,
        ..LockOptions::default()
    };
    Ok(txn.blocking().lock_keys([key], options)?[0].clone())
}

fn put(db: &Db, key: &str, value: &str) {
    let txn = begin(db);
    txn.put(key, value).unwrap();
    txn.blocking().commit().unwrap();
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::OptionConflict { .. }))
}

fn held(store: &MemStore, txn: &Transaction) -> Vec<bytes::Bytes> {
    let held = store.locks().held().into_iter();
    let mut keys: Vec<_> = held
        .filter(|lock| lock.holders[0].owner == txn.start_ts())
        .map(|lock| lock.key)
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_woken_waiter_is_granted_the_lock_and_told_of_the_conflict() {
    let (store, db) = in_memory();
    let (holder, txn) = (begin(&db), begin(&db));
    lock(&holder, "hot").unwrap();
    holder.put("hot", "1").unwrap();
    txn.fair_begin().unwrap();
    let outcome = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| lock(&txn, "hot").unwrap());
        while store.locks().waiting().is_empty() {
            std::thread::yield_now();
        }
        let committed = holder.blocking().commit().unwrap();
        let outcome = waiting.join().unwrap();
        assert_eq!(outcome.locked_with_conflict_ts, committed.commit_ts);
        outcome
    });
    assert_eq!(outcome.value.as_deref(), Some(&b"1"[..]));
    // Pending: no flag shows it yet.
    assert_eq!((txn.len(), txn.held_locks()), (0, 1));
    txn.fair_retry().unwrap();
    let again = lock(&txn, "hot").unwrap();
    assert!(again.already_locked && again.locked_with_conflict_ts.is_none());
    txn.fair_done().unwrap();
    let flags = txn.buffer().get_flags("hot").unwrap();
    assert!(flags.contains(KeyFlags::LOCKED | KeyFlags::LOCKED_VALUE_EXISTS));
    txn.put("hot", "2").unwrap();
    txn.blocking().commit().unwrap();
    assert!(store.locks().is_empty());
}

#[test]
fn locks_of_the_attempt_before_that_are_not_asked_for_again_go_at_the_next_step() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    lock(&txn, "a").unwrap();
    lock(&txn, "b").unwrap();
    txn.fair_retry().unwrap();
    assert_eq!(held(&store, &txn), ["a", "b"]);
    lock(&txn, "b").unwrap();
    txn.fair_retry().unwrap();
    assert_eq!(held(&store, &txn), ["b"]);
    lock(&txn, "c").unwrap();
    txn.fair_done().unwrap();
    assert_eq!(held(&store, &txn), ["c"]);
    assert_eq!(txn.len(), 1);
    assert_eq!(txn.blocking().commit().unwrap().keys, 1);
}

#[test]
fn cancel_gives_everything_of_the_mode_back_and_nothing_else() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    lock(&txn, "before").unwrap();
    txn.fair_begin().unwrap();
    lock(&txn, "before").unwrap();
    lock(&txn, "a").unwrap();
    txn.fair_retry().unwrap();
    lock(&txn, "b").unwrap();
    txn.fair_cancel().unwrap();
    assert_eq!(held(&store, &txn), ["before"]);
    assert_eq!((txn.len(), txn.held_locks()), (1, 1));
    txn.blocking().rollback().unwrap();
}

#[test]
fn a_call_of_more_keys_ends_the_mode() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    lock(&txn, "a").unwrap();
    txn.blocking()
        .lock_keys(["b", "c"], LockOptions::default())
        .unwrap();
    assert_eq!(txn.len(), 3);
    assert!(is_refused(txn.fair_done()));
    assert_eq!(held(&store, &txn), ["a", "b", "c"]);
}

/// Rules 20 and 44.
#[test]
fn the_mode_refuses_what_does_not_go_with_it_and_changes_nothing() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    assert!(is_refused(txn.fair_retry()));
    assert!(is_refused(txn.fair_done()));
    assert!(is_refused(txn.fair_cancel()));
    lock(&txn, "p").unwrap();
    txn.fair_begin().unwrap();
    assert!(is_refused(txn.fair_begin()));
    let shared = LockOptions {
        shared: true,
        ..LockOptions::default()
    };
    assert!(is_refused(txn.blocking().lock_keys(["s"], shared)));
    lock(&txn, "a").unwrap();
    assert!(is_refused(txn.blocking().commit()));
    assert_eq!(txn.state(), TxnState::Open);
    let holder = begin(&db);
    lock(&holder, "held").unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| lock(&txn, "held"));
        while store.locks().waiting().is_empty() {
            std::thread::yield_now();
        }
        assert!(is_refused(txn.fair_retry()));
        assert!(is_refused(txn.fair_done()));
        assert!(is_refused(txn.fair_cancel()));
        holder.blocking().rollback().unwrap();
        call.join().unwrap().unwrap();
    });
    txn.blocking().rollback().unwrap();
    assert!(store.locks().is_empty());
}

/// Rule 44: the lock of the attempt before named a primary that was given up.
#[test]
fn a_key_is_asked_for_again_under_a_new_primary() {
    let (store, db) = in_memory();
    let txn = begin(&db);
    txn.fair_begin().unwrap();
    lock(&txn, "a").unwrap();
    lock(&txn, "b").unwrap();
    txn.fair_retry().unwrap();
    lock(&txn, "c").unwrap();
    assert!(!lock(&txn, "b").unwrap().already_locked);
    txn.fair_done().unwrap();
    assert_eq!(held(&store, &txn), ["b", "c"]);
    let b = store.locks().holders(b"b");
    assert_eq!(b[0].attempts.len(), 1, "the first attempt was given back");
    txn.blocking().commit().unwrap();
}

#[test]
fn a_given_timestamp_is_what_a_forced_lock_is_compared_with() {
    let (_, db) = in_memory();
    let txn = begin(&db);
    put(&db, "k", "1");
    txn.fair_begin().unwrap();
    let at_start = LockOptions {
        for_update_ts: ForUpdate::At(txn.start_ts()),
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    };
    let outcome = &txn.blocking().lock_keys(["k"], at_start).unwrap()[0];
    assert!(outcome.locked && outcome.locked_with_conflict_ts > Some(txn.start_ts()));
    assert_eq!(lock(&txn, "k").unwrap().locked_with_conflict_ts, None);
    txn.fair_done().unwrap();
    txn.blocking().commit().unwrap();
}

/// A transaction whose keys and values are ten bytes at most.
fn begin_small(db: &Db) -> Transaction {
    let limits = Limits {
        buffer: 10,
        ..Limits::default()
    };
    begin_within(db, limits)
}

/// Rule 4.
#[test]
fn locks_that_are_released_give_their_room_back() {
    let (_, db) = in_memory();
    let txn = begin_small(&db);
    txn.fair_begin().unwrap();
    for key in ["aaaa", "bbbb", "cccc"] {
        lock(&txn, key).unwrap();
        txn.fair_retry().unwrap();
    }
    lock(&txn, "dddd").unwrap();
    txn.fair_done().unwrap();
    txn.put("eee", "vvv").unwrap();
    let full = txn.put("f", "v");
    assert!(matches!(full, Err(Error::TxnTooLarge { .. })));

    let txn = begin_small(&db);
    txn.fair_begin().unwrap();
    lock(&txn, "gggggg").unwrap();
    txn.fair_cancel().unwrap();
    txn.put("hhhhh", "vvvvv").unwrap();
}

/// Rule 4.
#[test]
fn a_pending_key_that_is_asked_for_again_needs_no_more_room() {
    let (_, db) = in_memory();
    let txn = begin_small(&db);
    txn.fair_begin().unwrap();
    lock(&txn, "aaaaaa").unwrap();
    for _ in 0..3 {
        txn.fair_retry().unwrap();
        for _ in 0..2 {
            assert!(lock(&txn, "aaaaaa").unwrap().already_locked);
        }
    }
    let all = ["aaaaaa", "bbbb"];
    txn.blocking()
        .lock_keys(all, LockOptions::default())
        .unwrap();
    assert_eq!(txn.size(), 10);
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
}

/// Rule 34: a lock clears the check that it has made, and no other.
#[test]
fn an_insert_of_a_pending_key_keeps_its_check() {
    for return_values in [false, true] {
        let (_, db) = in_memory();
        put(&db, "k", "old");
        let txn = begin(&db);
        let is_to_check = |key| {
            let flags = txn.buffer().get_flags(key).unwrap();
            flags.contains(KeyFlags::LOCKED | KeyFlags::NEED_CHECK_EXISTS)
        };
        let lock = |key| {
            let options = LockOptions {
                return_values,
                ..LockOptions::default()
            };
            txn.blocking().lock_keys([key], options)
        };
        txn.fair_begin().unwrap();
        txn.insert("checked", "new").unwrap();
        lock("checked").unwrap();
        lock("k").unwrap();
        txn.insert("k", "new").unwrap();
        txn.fair_done().unwrap();
        assert!(!is_to_check("checked") && is_to_check("k"));
        let exists = lock("k");
        assert!(matches!(&exists, Err(Error::KeyExists { key }) if key == "k"));
        let exists = txn.blocking().commit();
        assert!(matches!(&exists, Err(Error::KeyExists { key }) if key == "k"));
    }
}
