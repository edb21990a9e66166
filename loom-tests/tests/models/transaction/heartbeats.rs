//! The heartbeat beside lock calls (S23): it lives while a lock is held, whatever a sibling's call comes to.

use super::{begin, lock};
use untorn_loom_tests::{model, spawn};

#[test]
fn s23_a_beat_beside_a_call_that_fails() {
    model("txn_s23_beat_with_failure", 5, 50, || {
        let (store, db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let failing = spawn(move || lock(&sibling, &["x"]));
        db.run_worker();
        assert!(failing.join().unwrap().is_err());
        let beats = store.beats();
        assert!(beats > 0);
        db.run_worker();
        assert!(store.beats() > beats, "a lock is held");
    });
}

/// The old heartbeat sees the lock that is granted while it ends, or the grant begins another.
#[test]
fn s23_a_beat_that_ends_beside_a_grant() {
    model("txn_s23_beat_ends_with_grant", 5, 15, || {
        let (store, db, txn) = begin(&[]);
        // The lock is given back, the heartbeat that it began is due.
        assert!(lock(&txn, &["a", "x"]).is_err());
        let sibling = txn.clone();
        let call = spawn(move || lock(&sibling, &["b"]));
        db.run_worker();
        assert!(call.join().unwrap().is_ok());
        let beats = store.beats();
        db.run_worker();
        assert!(store.beats() > beats, "a lock is held");
    });
}
