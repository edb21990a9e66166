//! The end of a transaction beside its calls (S18). A drop is the rollback of the last handle, which no call has: it is
//! told by the count of handles, `std`'s, and has no model.

use super::{begin, flagged, lock};
use untorn_loom_tests::{model, spawn};
use untorn_txn::{Error, TxnState};

/// The call is in the commit with its lock, or was told that the transaction is closed.
#[test]
fn s18_a_lock_call_beside_a_commit() {
    model("txn_s18_lock_with_commit", 6, 30_000, || {
        let (store, _db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let call = spawn(move || lock(&sibling, &["a"]));
        assert!(txn.blocking().commit().is_ok());
        let carried = store.prewritten().unwrap();
        match call.join().unwrap() {
            Ok(()) => assert_eq!(carried, [("0".into(), true), ("a".into(), true)]),
            Err(Error::TransactionClosed { .. }) => {
                assert_eq!(carried, [("0".into(), true)]);
                assert_eq!(flagged(&txn), ["0"]);
            }
            Err(other) => panic!("nobody is in the way: {other}"),
        }
        assert_eq!(store.held(), Vec::<String>::new());
    });
}

#[test]
fn s18_a_lock_call_beside_a_rollback() {
    model("txn_s18_lock_with_rollback", 5, 800, || {
        let (store, _db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let call = spawn(move || lock(&sibling, &["a"]));
        assert!(txn.blocking().rollback().is_ok());
        let called = call.join().unwrap();
        assert!(matches!(
            called,
            Ok(()) | Err(Error::TransactionClosed { .. })
        ));
        assert_eq!(store.held(), Vec::<String>::new());
        assert_eq!(store.ended(), Some(TxnState::RolledBack));
        assert!(matches!(
            lock(&txn, &["b"]),
            Err(Error::TransactionClosed {
                state: TxnState::RolledBack
            })
        ));
    });
}

/// One of them wins; the other is told which.
#[test]
fn s18_a_commit_beside_a_rollback() {
    model("txn_s18_commit_with_rollback", 8, 10, || {
        let (store, _db, txn) = begin(&["0"]);
        let sibling = txn.clone();
        let rollback = spawn(move || sibling.blocking().rollback());
        let committed = txn.blocking().commit();
        let rolled_back = rollback.join().unwrap();
        assert_ne!(committed.is_ok(), rolled_back.is_ok());
        let won = if committed.is_ok() {
            TxnState::Committed
        } else {
            TxnState::RolledBack
        };
        assert_eq!((txn.state(), store.ended()), (won, Some(won)));
        assert_eq!(store.held(), Vec::<String>::new());
    });
}
