//! The end of fair mode beside a call of it (S16).

use super::{begin_within, flagged, lock};
use untorn_loom_tests::{model, spawn};
use untorn_txn::Error;
use untorn_txn::buffer::Limits;

/// S16: the mode is over before the call begins, or its end is refused, or it finds the lock pending and sets its flag: the
/// buffer is full, but the call has reserved the room.
#[test]
fn s16_the_end_of_fair_mode_beside_a_call_of_it() {
    model("txn_s16_fair_done_with_lock", 8, 30, || {
        let limits = Limits {
            buffer: 1,
            ..Limits::default()
        };
        let (store, _db, txn) = begin_within(limits, &[]);
        txn.fair_begin().unwrap();
        let sibling = txn.clone();
        let asks = spawn(move || lock(&sibling, &["a"]));
        let done = txn.fair_done();
        assert!(asks.join().unwrap().is_ok());
        if let Err(refused) = done {
            assert!(matches!(refused, Error::OptionConflict { .. }));
            txn.fair_done().unwrap();
        }
        assert_eq!(store.held(), ["a"]);
        assert_eq!(flagged(&txn), ["a"]);
    });
}
