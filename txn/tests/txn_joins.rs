//! Lock calls that meet at a key which a sibling has asked for (rules 31 to 34), and at the primary (rule 30).
#![allow(clippy::unwrap_used)]

mod txn_calls;
mod txn_held_store;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};
use txn_calls::{begin, lock, waiting};
use txn_held_store::{HeldStore, held_by, locked_flags};
use untorn_txn::lock::Wait;
use untorn_txn::{Db, Error, KeyFlags, LockOptions, Transaction};

fn held_store() -> (Arc<HeldStore>, Db) {
    let store = Arc::new(HeldStore::default());
    let db = Db::new(Arc::clone(&store) as _);
    (store, db)
}

/// A transaction that has locked its primary: from then on its keys are asked for independently of each other.
fn begin_with_primary(db: &Db) -> Transaction {
    let txn = begin(db);
    lock(&txn, &["0"]).unwrap();
    txn
}

fn denied() -> Error {
    Error::LockNotAvailable {
        key: "k".into(),
        holders: vec![],
    }
}

#[test]
fn a_key_in_flight_is_joined_and_not_sent_again() {
    let (store, db) = held_store();
    store.hold("k");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let first = scope.spawn(|| lock(&txn, &["k"]));
        store.wait_sent("k", 1);
        let second = scope.spawn(|| lock(&txn, &["j", "k"]));
        store.wait_sent("j", 1);
        assert_eq!(txn.len(), 1);
        store.answer("k", Ok(()));
        assert_eq!(first.join().unwrap().unwrap(), [false]);
        assert_eq!(second.join().unwrap().unwrap(), [false, true]);
    });
    assert_eq!((store.sent("k"), store.given_back("k")), (1, 0));
    assert_eq!(locked_flags(&txn), ["0", "j", "k"]);
}

/// Rule 32.
#[test]
fn a_joiner_does_not_inherit_the_error_but_asks_itself() {
    let (store, db) = held_store();
    store.hold("k");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let first = scope.spawn(|| lock(&txn, &["k"]));
        store.wait_sent("k", 1);
        let second = scope.spawn(|| lock(&txn, &["j", "k"]));
        store.wait_sent("j", 1);
        store.answer("k", Err(denied()));
        assert!(first.join().unwrap().is_err());
        assert_eq!(second.join().unwrap().unwrap(), [false, false]);
    });
    assert_eq!(store.sent("k"), 2);
    assert_eq!(held_by(&store.inner, &txn), ["0", "j", "k"]);
}

/// Rule 31: the joiner waits for its key alone, not for the call that asked for it.
#[test]
fn no_call_waits_for_another_call() {
    let (store, db) = held_store();
    store.hold("a");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let stuck = scope.spawn(|| lock(&txn, &["a", "b", "c"]));
        store.wait_sent("a", 1);
        // "b" and "c" are claimed by the call that is stuck, and not asked for yet.
        assert_eq!(lock(&txn, &["b"]).unwrap(), [false]);
        store.answer("a", Ok(()));
        assert_eq!(stuck.join().unwrap().unwrap(), [false, true, false]);
    });
    assert_eq!((store.sent("b"), store.sent("c")), (1, 1));
}

#[test]
fn a_joiner_waits_within_its_own_budget() {
    let (store, db) = held_store();
    store.hold("k");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let first = scope.spawn(|| lock(&txn, &["k"]));
        store.wait_sent("k", 1);
        let short = waiting(Wait::For(Duration::from_millis(5)));
        let failed = txn.blocking().lock_keys(["j", "k"], short);
        assert!(matches!(failed, Err(Error::LockWaitTimeout { key, .. }) if key == "k"));
        let failed = txn.blocking().lock_keys(
            ["j", "k"],
            LockOptions {
                deadline: Some(Instant::now() + Duration::from_millis(5)),
                ..LockOptions::default()
            },
        );
        assert!(matches!(failed, Err(Error::DeadlineExceeded)));
        assert_eq!(store.given_back("j"), 2);
        store.answer("k", Ok(()));
        assert!(first.join().unwrap().is_ok());
    });
    assert_eq!(held_by(&store.inner, &txn), ["0", "k"]);
}

#[test]
fn a_no_wait_call_asks_beside_its_sibling_and_a_grant_serves_both() {
    let (store, db) = held_store();
    store.hold("k");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let first = scope.spawn(|| lock(&txn, &["k"]));
        store.wait_sent("k", 1);
        let joiner = scope.spawn(|| lock(&txn, &["j", "k"]));
        store.wait_sent("j", 1);
        // The second request goes straight to the store.
        let gate_of_first = store.release_hold("k");
        let no_wait = txn.blocking().lock_keys(["k"], waiting(Wait::NoWait));
        assert!(!no_wait.unwrap()[0].already_locked);
        assert_eq!(joiner.join().unwrap().unwrap(), [false, true]);
        gate_of_first();
        first.join().unwrap().unwrap();
    });
    assert_eq!(store.sent("k"), 2);
    let held = store.inner.locks().held();
    let k = held.iter().find(|lock| lock.key == "k").unwrap();
    assert_eq!(
        k.holders[0].attempts.len(),
        1,
        "the surplus grant went back"
    );
    txn.blocking().commit().unwrap();
    assert!(store.inner.locks().is_empty());
}

/// Rule 33: nothing of a call shows before its last answer, and all of it shows once it has returned; a future that is
/// dropped in between leaves no flag.
#[test]
fn the_flags_of_a_call_appear_after_its_last_answer_or_not_at_all() {
    for is_dropped in [false, true] {
        let (store, db) = held_store();
        let txn = begin_with_primary(&db);
        store.hold("c");
        let mut context = Context::from_waker(Waker::noop());
        {
            let options = || LockOptions {
                check_existence: true,
                ..LockOptions::default()
            };
            let mut call = pin!(txn.lock_keys(["a", "b", "c", "d"], options()));
            for _ in 0..3 {
                assert!(call.as_mut().poll(&mut context).is_pending());
            }
            assert_eq!(held_by(&store.inner, &txn), ["0", "a", "b"]);
            assert_eq!((locked_flags(&txn), txn.len()), (vec!["0".to_owned()], 1));
            if !is_dropped {
                store.answer("c", Ok(()));
                assert!(call.as_mut().poll(&mut context).is_ready());
            }
        }
        if is_dropped {
            assert_eq!((locked_flags(&txn), txn.len()), (vec!["0".to_owned()], 1));
            assert_eq!(held_by(&store.inner, &txn), ["0"]);
        } else {
            assert_eq!(locked_flags(&txn), ["0", "a", "b", "c", "d"]);
            for key in ["a", "b", "c", "d"] {
                let flags = txn.buffer().get_flags(key).unwrap();
                assert!(!flags.contains(KeyFlags::LOCKED_VALUE_EXISTS));
            }
        }
        txn.blocking().rollback().unwrap();
    }
}

struct Asleep;

impl Wake for Asleep {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_call_that_waits_for_a_sibling_keeps_one_waker_and_none_once_it_gives_up() {
    for waits_for_the_primary in [false, true] {
        let (store, db) = held_store();
        let (txn, key) = match waits_for_the_primary {
            false => (begin_with_primary(&db), "k"),
            true => (begin(&db), "l"),
        };
        store.hold("k");
        let mut first = pin!(txn.lock_keys(["k"], waiting(Wait::Forever)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());

        let wakers = [Arc::new(Asleep), Arc::new(Asleep)];
        let kept = || wakers.each_ref().map(|waker| Arc::strong_count(waker) - 1);
        let mut second = Box::pin(txn.lock_keys([key], waiting(Wait::Forever)));
        for (at, expected) in [(0, [1, 0]), (0, [1, 0]), (1, [0, 1])] {
            let waker = Waker::from(Arc::clone(&wakers[at]));
            let mut context = Context::from_waker(&waker);
            assert!(second.as_mut().poll(&mut context).is_pending());
            drop(waker);
            assert_eq!(kept(), expected);
        }
        drop(second);
        assert_eq!(kept(), [0, 0]);
        store.answer("k", Ok(()));
        assert!(first.as_mut().poll(&mut context).is_ready());
    }
}

/// Rule 30: requests name the primary, so who needs another key waits until that is granted. One that does not wait is
/// refused if the primary stands in a queue.
#[test]
fn a_sibling_of_a_queued_primary_waits_for_it_or_is_refused() {
    let (store, db) = held_store();
    store.hold("a");
    let txn = begin(&db);
    thread::scope(|scope| {
        let chooser = scope.spawn(|| lock(&txn, &["a", "b"]));
        store.wait_sent("a", 1);
        let patient = scope.spawn(|| lock(&txn, &["c"]));
        let refused = txn.blocking().lock_keys(["d"], waiting(Wait::NoWait));
        assert!(
            matches!(&refused, Err(Error::LockNotAvailable { key, .. }) if key == "a"),
            "{refused:?}"
        );
        assert_eq!((store.sent("c"), store.sent("d")), (0, 0));
        store.answer("a", Ok(()));
        assert_eq!(chooser.join().unwrap().unwrap(), [false, false]);
        assert_eq!(patient.join().unwrap().unwrap(), [false]);
    });
    assert_eq!(held_by(&store.inner, &txn), ["a", "b", "c"]);
}

/// Rule 30: the call that chose is denied, and the one that waited for its primary chooses another.
#[test]
fn a_call_that_waited_for_a_primary_that_is_denied_chooses_the_next() {
    let (store, db) = held_store();
    store.hold("a");
    let txn = begin(&db);
    thread::scope(|scope| {
        let chooser = scope.spawn(|| lock(&txn, &["a", "b"]));
        store.wait_sent("a", 1);
        let next = scope.spawn(|| lock(&txn, &["c", "d"]));
        store.answer("a", Err(denied()));
        assert!(chooser.join().unwrap().is_err());
        assert_eq!(next.join().unwrap().unwrap(), [false, false]);
    });
    assert_eq!(held_by(&store.inner, &txn), ["c", "d"]);
    // Alone, and before all others.
    assert_eq!(store.requests()[1..], [["c"], ["d"]]);
    assert_eq!(txn.blocking().commit().unwrap().keys, 2);
}

/// Rule 34: the request was made before the presumption, so nobody has checked that.
#[test]
fn an_insert_that_came_while_its_key_was_being_locked_keeps_its_check() {
    let (store, db) = held_store();
    let writer = begin(&db);
    writer.put("k", "there").unwrap();
    writer.blocking().commit().unwrap();
    store.hold("k");
    let txn = begin_with_primary(&db);
    thread::scope(|scope| {
        let call = scope.spawn(|| lock(&txn, &["k"]));
        store.wait_sent("k", 1);
        txn.insert("k", "v").unwrap();
        store.answer("k", Ok(()));
        assert_eq!(call.join().unwrap().unwrap(), [false]);
    });
    let flags = txn.buffer().get_flags("k").unwrap();
    assert!(flags.contains(KeyFlags::LOCKED | KeyFlags::NEED_CHECK_EXISTS));
    for _ in 0..2 {
        // Not answered by the lock that is held.
        let exists = lock(&txn, &["k"]);
        assert!(matches!(&exists, Err(Error::KeyExists { key }) if key == "k"));
    }
    let exists = txn.blocking().commit();
    assert!(matches!(&exists, Err(Error::KeyExists { key }) if key == "k"));
}
