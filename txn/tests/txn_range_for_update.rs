//! Ranges that lock what they yield: what is newest, under the lock, beside writers.
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use txn_held_store::{HeldStore, held_by};
use untorn_txn::lock::Wait;
use untorn_txn::store::ForUpdate;
use untorn_txn::{
    BeginOptions, Db, Error, LockOptions, MemStore, RangeLockOptions, Transaction, TxnState,
};

fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).unwrap()
}

fn fill(db: &Db, rows: &[(&str, &str)]) {
    let txn = begin(db);
    for (key, value) in rows {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

fn delete(db: &Db, key: &str) {
    let txn = begin(db);
    txn.delete(key).unwrap();
    txn.blocking().commit().unwrap();
}

fn held_store() -> (Arc<HeldStore>, Db) {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

fn shown((key, value): (Bytes, Bytes)) -> String {
    format!(
        "{}={}",
        String::from_utf8_lossy(&key),
        String::from_utf8_lossy(&value)
    )
}

fn rows(items: impl Iterator<Item = Result<(Bytes, Bytes), Error>>) -> Vec<String> {
    items.map(|item| shown(item.unwrap())).collect()
}

fn all(txn: &Transaction, options: RangeLockOptions) -> Vec<String> {
    rows(txn.blocking().range_for_update::<&str>(.., options))
}

fn by_pages_of(page: usize) -> RangeLockOptions {
    RangeLockOptions {
        page,
        ..RangeLockOptions::default()
    }
}

fn no_wait() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

fn at_the_start_of(txn: &Transaction) -> RangeLockOptions {
    RangeLockOptions {
        lock: LockOptions {
            for_update_ts: ForUpdate::At(txn.start_ts()),
            ..LockOptions::default()
        },
        ..by_pages_of(1)
    }
}

/// Rule 27, for a range.
#[test]
fn it_yields_what_is_newest_and_locks_it() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1")]);
    let txn = begin(&db);
    fill(&db, &[("a", "2"), ("d", "2")]);
    delete(&db, "b");
    for page in [1, 2, 3, 100] {
        assert_eq!(all(&txn, by_pages_of(page)), ["a=2", "c=1", "d=2"]);
    }
    assert_eq!(
        rows(txn.blocking().range::<&str>(..)),
        ["a=1", "b=1", "c=1"]
    );
    assert_eq!(held_by(&store, &txn), ["a", "c", "d"]);
    for key in ["a", "c", "d"] {
        let denied = begin(&db).blocking().lock_keys([key], no_wait());
        assert!(matches!(denied, Err(Error::LockNotAvailable { .. })));
    }
    txn.put("c", "own").unwrap();
    assert_eq!(txn.blocking().commit().unwrap().keys, 3);
}

#[test]
fn own_writes_lie_over_the_store_and_are_locked_if_they_are_yielded() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    fill(&db, &[("a", "1"), ("b", "1"), ("d", "1")]);
    for page in [1, 2, 100] {
        let txn = begin(&db);
        txn.put("b", "own").unwrap();
        txn.put("c", "own").unwrap();
        txn.delete("d").unwrap();
        txn.put("e", "own").unwrap();
        let expected = ["a=1", "b=own", "c=own", "e=own"];
        assert_eq!(all(&txn, by_pages_of(page)), expected);
        assert_eq!(held_by(&store, &txn), ["a", "b", "c", "e"]);
        txn.blocking().rollback().unwrap();
    }
}

#[test]
fn what_is_written_here_after_a_page_was_locked_is_seen_in_rows_that_are_still_to_come() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let txn = begin(&db);
    let mut range = txn
        .blocking()
        .range_for_update::<&str>(.., by_pages_of(100));
    assert_eq!(shown(range.next().unwrap().unwrap()), "a=1");
    let before = txn.savepoint().unwrap();
    txn.put("a", "behind").unwrap();
    txn.put("b", "over").unwrap();
    txn.delete("c").unwrap();
    assert_eq!(shown(range.next().unwrap().unwrap()), "b=over");
    txn.rollback_to(&before).unwrap();
    assert_eq!(rows(range), ["c=1", "d=1"]);
}

#[test]
fn it_goes_from_the_back_if_that_is_chosen_before_the_first_step() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let txn = begin(&db);
    for page in [1, 3, 100] {
        let range = txn.blocking().range_for_update("a".."d", by_pages_of(page));
        assert_eq!(rows(range.rev()), ["c=1", "b=1", "a=1"]);
        let mut range = txn.blocking().range_for_update("b".., by_pages_of(page));
        assert_eq!(shown(range.next().unwrap().unwrap()), "b=1");
        assert_eq!(rows(range.rev()), ["c=1", "d=1"]);
    }
    let none = RangeLockOptions::default;
    assert!(rows(txn.blocking().range_for_update("c".."b", none())).is_empty());
    assert!(rows(txn.blocking().range_for_update("x".., none())).is_empty());
}

#[test]
fn no_more_is_locked_than_pages_and_the_limit_say() {
    let db = Db::in_memory();
    fill(
        &db,
        &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")],
    );
    let locked = |page, limit, take| {
        let options = RangeLockOptions {
            limit,
            ..by_pages_of(page)
        };
        let txn = begin(&db);
        let range = txn.blocking().range_for_update::<&str>(.., options);
        let count = range.take(take).map(Result::unwrap).count();
        let locked = txn.held_locks();
        txn.blocking().rollback().unwrap();
        (count, locked)
    };
    assert_eq!(locked(2, None, 0), (0, 0));
    assert_eq!(locked(2, None, 1), (1, 2));
    assert_eq!(locked(2, None, 3), (3, 4));
    assert_eq!(locked(2, Some(3), 9), (3, 3));
    assert_eq!(locked(9, Some(3), 9), (3, 3));
    assert_eq!(locked(9, Some(0), 9), (0, 0));
    assert_eq!(locked(0, None, 1), (1, 1));
    assert_eq!(locked(9, None, 9), (5, 5));
}

#[test]
fn a_page_is_one_lock_call() {
    let (store, db) = held_store();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let txn = begin(&db);
    assert_eq!(all(&txn, by_pages_of(3)).len(), 4);
    // The first call chooses the primary, which goes alone.
    let requests: [&[&str]; 3] = [&["a"], &["b", "c"], &["d"]];
    assert_eq!(store.requests(), requests);
    assert_eq!(store.scans(), [3, 3]);
    // For rows that are locked already there is no request, but the page's and one timestamp to read them at.
    store.timestamps();
    assert_eq!(all(&txn, by_pages_of(4)), ["a=1", "b=1", "c=1", "d=1"]);
    assert!(store.requests().is_empty());
    assert_eq!(store.timestamps(), 3);
}

/// Rows change while their page waits for a lock, after it was read.
#[test]
fn what_changed_between_reading_and_locking_is_yielded_as_it_is_under_the_lock() {
    let (store, db) = held_store();
    let rivals = Db::new(Arc::clone(&store) as _);
    fill(&db, &[("0", "1"), ("a", "1"), ("b", "1"), ("c", "1")]);
    let txn = begin(&db);
    txn.blocking().lock_keys(["0"], no_wait()).unwrap();
    store.hold("a");
    thread::scope(|scope| {
        let page = scope.spawn(|| {
            let range = txn.blocking();
            rows(range.range_for_update("a".., RangeLockOptions::default()))
        });
        store.wait_sent("a", 1);
        let answer = store.release_hold("a");
        fill(&rivals, &[("a", "2"), ("aa", "a phantom")]);
        delete(&rivals, "b");
        fill(&rivals, &[("c", "2")]);
        answer();
        assert_eq!(page.join().unwrap(), ["a=2", "c=2"]);
    });
    // What is gone was locked all the same, what came was not.
    assert_eq!(held_by(&store.inner, &txn), ["0", "a", "b", "c"]);
    fill(&rivals, &[("aaa", "another")]);
}

#[test]
fn only_what_exists_is_locked_if_that_is_asked_for() {
    let (store, db) = held_store();
    fill(&db, &[("0", "1"), ("a", "1"), ("b", "1")]);
    let txn = begin(&db);
    txn.blocking().lock_keys(["0"], no_wait()).unwrap();
    store.hold("a");
    let options = only_what_exists(100);
    thread::scope(|scope| {
        let page = scope.spawn(|| rows(txn.blocking().range_for_update("a".., options)));
        store.wait_sent("a", 1);
        let answer = store.release_hold("a");
        delete(&db, "b");
        answer();
        assert_eq!(page.join().unwrap(), ["a=1"]);
    });
    assert_eq!(held_by(&store.inner, &txn), ["0", "a"]);
}

fn only_what_exists(page: usize) -> RangeLockOptions {
    RangeLockOptions {
        lock: LockOptions {
            only_if_exists: true,
            ..LockOptions::default()
        },
        ..by_pages_of(page)
    }
}

/// Its first row becomes the primary, and is asked for alone.
#[test]
fn only_what_exists_is_locked_also_by_the_first_statement() {
    let (store, db) = held_store();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let txn = begin(&db);
    let expected = ["a=1", "b=1", "c=1", "d=1"];
    assert_eq!(all(&txn, only_what_exists(4)), expected);
    let requests: [&[&str]; 2] = [&["a"], &["b", "c", "d"]];
    assert_eq!(store.requests(), requests);
    assert_eq!(store.scans(), [1, 4]);
    assert_eq!(txn.blocking().commit().unwrap().keys, 4);

    let txn = begin(&db);
    let range = txn
        .blocking()
        .range_for_update::<&str>(.., only_what_exists(100));
    assert_eq!(rows(range.rev()), ["d=1", "c=1", "b=1", "a=1"]);
    assert_eq!(held_by(&store.inner, &txn), ["a", "b", "c", "d"]);
    let none = begin(&db);
    let range = none
        .blocking()
        .range_for_update("x".., only_what_exists(100));
    assert!(rows(range).is_empty());
    assert_eq!(none.held_locks(), 0);
}

/// The rows that would have become the primary are deleted while they are waited for.
#[test]
fn the_first_row_that_is_still_there_becomes_the_primary() {
    let (store, db) = held_store();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let txn = begin(&db);
    store.hold("a");
    thread::scope(|scope| {
        let range = scope.spawn(|| all(&txn, only_what_exists(100)));
        for (key, next) in [("a", Some("b")), ("b", None)] {
            store.wait_sent(key, 1);
            let answer = store.release_hold(key);
            delete(&db, key);
            next.into_iter().for_each(|next| store.hold(next));
            answer();
        }
        assert_eq!(range.join().unwrap(), ["c=1", "d=1"]);
    });
    assert_eq!(held_by(&store.inner, &txn), ["c", "d"]);
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
}

/// A sibling's call was choosing the primary when the page was read, and fails then.
#[test]
fn a_page_is_read_anew_if_a_sibling_gives_the_primary_up() {
    let (store, db) = held_store();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1")]);
    let txn = begin(&db);
    store.hold("0");
    let mut sibling = Box::pin(txn.lock_keys(["0"], LockOptions::default()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(sibling.as_mut().poll(&mut context).is_pending());
    let mut range = txn.range_for_update::<&str>(.., only_what_exists(100));
    let mut rows = Box::pin(async move {
        let mut rows = Vec::new();
        while let Some(row) = range.next().await.unwrap() {
            rows.push(shown(row));
        }
        rows
    });
    assert!(rows.as_mut().poll(&mut context).is_pending());
    store.answer("0", Err(Error::Cancelled));
    let Poll::Ready(Err(Error::Cancelled)) = sibling.as_mut().poll(&mut context) else {
        panic!("the call was denied");
    };
    assert_eq!(
        rows.as_mut().poll(&mut context),
        Poll::Ready(["a=1", "b=1", "c=1"].map(String::from).to_vec())
    );
    assert_eq!(held_by(&store.inner, &txn), ["a", "b", "c"]);
}

#[test]
fn a_step_that_is_dropped_locks_nothing_and_is_made_anew() {
    let (store, db) = held_store();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let txn = begin(&db);
    store.hold("a");
    let mut range = txn.range_for_update::<&str>(.., RangeLockOptions::default());
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(range.next()).poll(&mut context).is_pending());
    assert_eq!(txn.held_locks(), 0);
    store.answer("a", Ok(()));
    fill(&db, &[("0", "2")]);
    for expected in ["0=2", "a=1", "b=1"] {
        let Poll::Ready(row) = pin!(range.next()).poll(&mut context) else {
            panic!("nothing is held any more");
        };
        assert_eq!(shown(row.unwrap().unwrap()), expected);
    }
}

/// As of a given timestamp, what is newer is a conflict.
#[test]
fn at_a_given_timestamp_a_later_commit_is_a_conflict() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1")]);
    let txn = begin(&db);
    assert_eq!(all(&txn, at_the_start_of(&txn)), ["a=1", "b=1", "c=1"]);
    txn.blocking().rollback().unwrap();

    let txn = begin(&db);
    fill(&db, &[("b", "2"), ("d", "2")]);
    let options = at_the_start_of(&txn);
    let mut range = txn.blocking().range_for_update::<&str>(.., options);
    assert_eq!(shown(range.next().unwrap().unwrap()), "a=1");
    let conflict = range.next().unwrap().unwrap_err();
    assert!(matches!(&conflict, Error::WriteConflict { key, .. } if key == "b"));
    assert!(range.next().is_none());
}

#[test]
fn a_page_that_cannot_be_locked_ends_the_range_and_earlier_pages_stay_locked() {
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    fill(&db, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let rival = begin(&db);
    rival.blocking().lock_keys(["d"], no_wait()).unwrap();
    let txn = begin(&db);
    let options = RangeLockOptions {
        lock: no_wait(),
        ..by_pages_of(2)
    };
    let mut range = txn.blocking().range_for_update::<&str>(.., options);
    assert!(range.next().unwrap().is_ok());
    assert!(range.next().unwrap().is_ok());
    let denied = range.next().unwrap();
    assert!(matches!(denied, Err(Error::LockNotAvailable { key, .. }) if key == "d"));
    assert!(range.next().is_none());
    assert_eq!(held_by(&store, &txn), ["a", "b"]);

    let mut range = txn.blocking().range_for_update::<&str>(.., by_pages_of(2));
    assert!(range.next().unwrap().is_ok());
    txn.blocking().rollback().unwrap();
    let closed = range.next().unwrap();
    assert!(matches!(
        closed,
        Err(Error::TransactionClosed {
            state: TxnState::RolledBack
        })
    ));
    assert!(range.next().is_none());
}

#[test]
fn an_inserted_row_that_exists_is_an_error_as_for_one_key() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let txn = begin(&db);
    txn.insert("b", "own").unwrap();
    let mut range = txn
        .blocking()
        .range_for_update::<&str>(.., RangeLockOptions::default());
    let exists = range.next().unwrap();
    assert!(matches!(exists, Err(Error::KeyExists { key }) if key == "b"));
    assert_eq!(txn.held_locks(), 0);
}

/// Rule 29, for a range.
#[test]
fn an_optimistic_transaction_reads_at_its_start_and_is_checked_at_commit() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let begin = || db.blocking().begin(BeginOptions::optimistic()).unwrap();
    let (passes, fails) = (begin(), begin());
    for txn in [&passes, &fails] {
        txn.put("own", "1").unwrap();
    }
    fill(&db, &[("c", "2")]);
    assert_eq!(
        all(&passes, RangeLockOptions::default()),
        ["a=1", "b=1", "own=1"]
    );
    passes.blocking().commit().unwrap();
    fill(&db, &[("b", "2")]);
    assert_eq!(
        all(&fails, RangeLockOptions::default()),
        ["a=1", "b=1", "own=1"]
    );
    let conflict = fails.blocking().commit().unwrap_err();
    assert!(matches!(conflict, Error::WriteConflict { .. }));
}

/// Whoever reads all rows for an update changes what he has seen; and rows come and go beside.
#[test]
fn rows_of_a_range_that_several_threads_increment_lose_no_update() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 40;
    const ROWS: u64 = 7;
    let db = Db::in_memory();
    let counters = "counter/".."counter0";
    let txn = begin(&db);
    for row in 0..ROWS {
        txn.put(format!("counter/{row}"), "0").unwrap();
    }
    txn.blocking().commit().unwrap();
    let number = |value: &Bytes| -> u64 { std::str::from_utf8(value).unwrap().parse().unwrap() };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, counters) = (&db, counters.clone());
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let page = (thread + round) as usize % 4 + 1;
                    db.blocking()
                        .run(BeginOptions::default(), |txn| {
                            let calls = txn.blocking();
                            let range = calls.range_for_update(counters.clone(), by_pages_of(page));
                            let mut met = 0;
                            for row in range {
                                let (key, value) = row?;
                                if key.len() == "counter/0".len() {
                                    txn.put(key, (number(&value) + 1).to_string())?;
                                    met += 1;
                                }
                            }
                            assert_eq!(met, ROWS);
                            Ok::<_, Error>(())
                        })
                        .unwrap();
                }
            });
        }
        let db = &db;
        scope.spawn(move || {
            for round in 0..THREADS * ROUNDS {
                let passing = format!("counter/{} passes", round % ROWS);
                for is_there in [true, false] {
                    let txn = begin(db);
                    txn.blocking().get_for_update(&passing).unwrap();
                    match is_there {
                        true => txn.put(&passing, "1").unwrap(),
                        false => txn.delete(&passing).unwrap(),
                    }
                    txn.blocking().commit().unwrap();
                }
            }
        });
    });
    let expected = (THREADS * ROUNDS).to_string();
    let snapshot = begin(&db);
    for row in snapshot.blocking().range(counters) {
        assert_eq!(row.unwrap().1, expected);
    }
}

#[test]
fn what_others_have_locked_is_skipped_and_counts_for_no_limit() {
    let db = Db::in_memory();
    fill(&db, &["a", "b", "c", "d", "e", "f"].map(|key| (key, "1")));
    let rival = begin(&db);
    rival
        .blocking()
        .lock_keys(["b", "d"], LockOptions::default())
        .unwrap();
    let skipping = |page, limit| RangeLockOptions {
        skip_locked: true,
        limit,
        ..by_pages_of(page)
    };
    for page in [1, 2, 3, 256] {
        let txn = begin(&db);
        assert_eq!(
            all(&txn, skipping(page, None)),
            ["a=1", "c=1", "e=1", "f=1"]
        );
        assert_eq!(txn.held_locks(), 4);
        let own = txn
            .blocking()
            .range_for_update::<&str>(.., skipping(page, None));
        assert_eq!(rows(own.rev()), ["f=1", "e=1", "c=1", "a=1"]);
        txn.blocking().rollback().unwrap();
        let txn = begin(&db);
        assert_eq!(all(&txn, skipping(page, Some(2))), ["a=1", "c=1"]);
        assert_eq!(txn.held_locks(), 2);
        // Of another transaction that does the same neither waits for the other.
        let next = begin(&db);
        assert_eq!(all(&next, skipping(page, Some(2))), ["e=1", "f=1"]);
        let last = begin(&db);
        assert!(all(&last, skipping(page, None)).is_empty());
        assert_eq!((last.held_locks(), last.state()), (0, TxnState::Open));
    }
}

/// Such a row is free: to leave it out would tell that there is none.
#[test]
fn a_row_that_a_sibling_call_keeps_from_being_locked_is_an_error_and_not_skipped() {
    let db = Db::in_memory();
    fill(&db, &[("a", "1"), ("b", "1")]);
    let skipping = RangeLockOptions {
        skip_locked: true,
        ..RangeLockOptions::default()
    };
    let rival = begin(&db);
    rival.blocking().get_for_update("z").unwrap();
    let txn = begin(&db);
    let mut context = Context::from_waker(Waker::noop());
    let mut waits = pin!(txn.lock_keys(["z"], LockOptions::default()));
    assert!(waits.as_mut().poll(&mut context).is_pending());
    let mut rows = txn
        .blocking()
        .range_for_update::<&str>(.., skipping.clone());
    let refused = rows.next().unwrap();
    let is_of_nobody = |error: &Error| matches!(error, Error::LockNotAvailable { holders, .. } if holders.is_empty());
    assert!(refused.as_ref().is_err_and(is_of_nobody), "{refused:?}");
    assert!(rows.next().is_none());
    rival.blocking().rollback().unwrap();
    let Poll::Ready(locked) = waits.as_mut().poll(&mut context) else {
        panic!("the rival has let go");
    };
    assert_eq!(locked.unwrap().len(), 1);
    assert_eq!(all(&txn, skipping.clone()), ["a=1", "b=1"]);

    let optimistic = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    let mut rows = optimistic.blocking().range_for_update::<&str>(.., skipping);
    let refused = rows.next().unwrap();
    assert!(
        matches!(refused, Err(Error::OptionConflict { .. })),
        "{refused:?}"
    );
}
