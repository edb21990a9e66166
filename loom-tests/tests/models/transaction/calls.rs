//! Lock calls beside each other and beside writers (S16, S17, S24).

use super::{begin, flagged, lock, lock_within};
use untorn_loom_tests::{model, spawn};
use untorn_txn::lock::Wait;

/// S16: the call that fails gives back what it alone wanted; its sibling has what it asked for.
#[test]
fn s16_two_calls_of_which_one_fails() {
    model("txn_s16_two_calls_of_which_one_fails", 3, 400, || {
        let (store, _db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["a", "x"]));
        assert!(lock(&txn, &["a", "b"]).is_ok());
        assert!(failing.join().unwrap().is_err());
        assert_eq!(store.held(), ["0", "a", "b"]);
        assert_eq!(flagged(&txn), ["0", "a", "b"]);
        assert_eq!((txn.len(), txn.held_locks()), (3, 3));
    });
}

/// S16: both choose the primary; whoever does not, waits for its grant and is woken.
#[test]
fn s16_two_calls_that_choose_the_primary() {
    model(
        "txn_s16_two_calls_that_choose_the_primary",
        3,
        3_000,
        || {
            let (store, _db, txn) = begin(&[]);
            let sibling = txn.clone();
            let other = spawn(move || lock(&sibling, &["a", "b"]));
            assert!(lock(&txn, &["b"]).is_ok());
            assert!(other.join().unwrap().is_ok());
            assert_eq!(store.held(), ["a", "b"]);
            assert_eq!(flagged(&txn), ["a", "b"]);
        },
    );
}

/// Rule 30: the primary of a call that failed stays for the sake of the lock that names it.
#[test]
fn s16_the_primary_of_a_failed_call_stays_where_it_is_named() {
    model("txn_s16_a_named_primary_stays", 3, 250, || {
        let (store, _db, txn) = begin(&[]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["a", "x"]));
        assert!(lock(&txn, &["b"]).is_ok());
        assert!(failing.join().unwrap().is_err());
        // Before it was chosen, or after it was given up, `b` stands for itself.
        let held = store.held();
        assert!(held == ["b"] || held == ["a", "b"], "{held:?}");
        assert_eq!(flagged(&txn), ["b"]);
        assert_eq!(txn.held_locks(), held.len());
    });
}

/// Rule 30: once nobody names the primary of a call that failed, it is free like every key.
#[test]
fn s16_two_calls_that_fail_leave_every_key_free() {
    model("txn_s16_two_calls_that_fail", 3, 250, || {
        let (store, _db, txn) = begin(&[]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["a", "x"]));
        assert!(lock(&txn, &["b", "x"]).is_err());
        assert!(failing.join().unwrap().is_err());
        assert_eq!(store.held(), Vec::<String>::new());
        assert_eq!(txn.held_locks(), 0);
    });
}

/// Rule 31: who asks beside a sibling names its primary, which the sibling does not give up under way.
#[test]
fn s16_a_request_beside_one_of_a_call_that_fails() {
    model("txn_s16_asked_beside_a_failing_call", 3, 250, || {
        let (store, _db, txn) = begin(&[]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["a", "x"]));
        assert!(lock_within(&txn, &["x"], Wait::NoWait).is_err());
        assert!(failing.join().unwrap().is_err());
        assert_eq!(store.held(), Vec::<String>::new());
        assert_eq!(txn.held_locks(), 0);
    });
}

/// S17: the lock's flag and the write are both there, in any order.
#[test]
fn s17_a_lock_beside_a_write_of_its_key() {
    model("txn_s17_lock_with_put", 3, 100, || {
        let (store, _db, txn) = begin(&[]);
        let writer = txn.clone();
        let write = spawn(move || writer.put("a", "v"));
        assert!(lock(&txn, &["a"]).is_ok());
        assert!(write.join().unwrap().is_ok());
        assert_eq!(store.held(), ["a"]);
        assert_eq!(flagged(&txn), ["a"]);
        assert_eq!((txn.len(), txn.size()), (1, 2));
        assert!(txn.blocking().commit().is_ok());
        assert_eq!(store.prewritten(), Some(vec![("a".into(), true)]));
    });
}

/// S24: the give-back of the failed call names its own lock, and leaves alone the one that is taken right after.
#[test]
fn s24_a_key_is_locked_again_while_it_is_given_back() {
    model("txn_s24_lock_again_while_given_back", 4, 1_400, || {
        let (store, _db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["a", "x"]));
        assert!(lock(&txn, &["a"]).is_ok());
        assert!(failing.join().unwrap().is_err());
        assert_eq!(store.held(), ["0", "a"]);
        assert_eq!(flagged(&txn), ["0", "a"]);
    });
}
