//! Locks that are given back before the end, beside siblings' calls (S16, S17).

use super::{begin, flagged, lock, unlock};
use untorn_loom_tests::{model, spawn};

/// S16: the sibling has the lock if it shared it, or takes it anew; flag, register and store agree.
#[test]
fn s16_an_unlock_beside_a_call_that_asks_for_the_key() {
    model("txn_s16_unlock_with_lock", 3, 120, || {
        let (store, _db, txn) = begin(&["0", "a"]);
        let sibling = txn.clone();
        let asks = spawn(move || lock(&sibling, &["a", "b"]));
        assert_eq!(unlock(&txn, &["a"]).unwrap(), 1);
        assert!(asks.join().unwrap().is_ok());
        let held = store.held();
        assert!(held == ["0", "b"] || held == ["0", "a", "b"], "{held:?}");
        assert_eq!(flagged(&txn), held);
        assert_eq!(txn.held_locks(), held.len());
    });
}

/// S16: what both of them let go of is free, the primary that it named too.
#[test]
fn s16_an_unlock_beside_a_call_that_fails() {
    model("txn_s16_unlock_with_failing_lock", 3, 150, || {
        let (store, _db, txn) = begin(&["a"]);
        let sibling = txn.clone();
        let fails = spawn(move || lock(&sibling, &["b", "x"]));
        assert_eq!(unlock(&txn, &["a"]).unwrap(), 1);
        assert!(fails.join().unwrap().is_err());
        assert_eq!(store.held(), Vec::<String>::new());
        assert_eq!(flagged(&txn), Vec::<String>::new());
        assert_eq!(txn.held_locks(), 0);
    });
}

/// S17: the write keeps the lock, or is carried as one of a key that is not locked.
#[test]
fn s17_an_unlock_beside_a_write_of_its_key() {
    model("txn_s17_unlock_with_put", 2, 20_000, || {
        let (store, _db, txn) = begin(&["0", "a"]);
        let writer = txn.clone();
        let write = spawn(move || writer.put("a", "v"));
        let unlocked = unlock(&txn, &["a"]).unwrap() == 1;
        assert!(write.join().unwrap().is_ok());
        let held = store.held();
        assert_eq!(held.contains(&"a".to_owned()), !unlocked);
        assert_eq!(flagged(&txn), held);
        assert!(txn.blocking().commit().is_ok());
        let carried = vec![("0".into(), true), ("a".into(), !unlocked)];
        assert_eq!(store.prewritten(), Some(carried));
    });
}
