//! What errors say, which of them may go away, and that nothing printed shows a value.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use untorn_txn::lock::WaitEdge;
use untorn_txn::store::{Mutation, MutationOp, Prewrite};
use untorn_txn::{
    BeginOptions, ConflictReason, Db, Entry, Error, LockOptions, Loss, MAX_PRINTED, TxnState,
};

#[derive(Debug, thiserror::Error)]
#[error("broken")]
struct Broken;

fn conflict() -> Error {
    Error::WriteConflict {
        key: "k".into(),
        start_ts: 1,
        read_ts: 1,
        conflict_start_ts: 2,
        conflict_commit_ts: 3,
        reason: ConflictReason::Commit,
    }
}

fn deadlock() -> Error {
    Error::Deadlock {
        cycle: vec![WaitEdge {
            waiter: 1,
            holder: 2,
            key: "k".into(),
        }],
    }
}

/// Rule 62.
#[test]
fn what_a_new_transaction_may_not_meet_again_is_retryable_and_nothing_else_is() {
    let (key, holders) = (bytes::Bytes::from("k"), vec![2]);
    let retryable = [
        conflict(),
        deadlock(),
        Error::LockWaitTimeout {
            key: key.clone(),
            holders: holders.clone(),
            waited: std::time::Duration::ZERO,
        },
        Error::LockLost {
            start_ts: 1,
            primary: None,
            loss: Loss::Refused,
        },
        Error::SnapshotTooOld {
            start_ts: 1,
            safe_point: 2,
        },
        Error::transient(Broken),
    ];
    let final_ones = [
        Error::EmptyValue,
        Error::KeyTooLarge { size: 2, limit: 1 },
        Error::EntryTooLarge { size: 2, limit: 1 },
        Error::TxnTooLarge { size: 2, limit: 1 },
        Error::StageOrder,
        Error::StageOpen,
        Error::StaleSavepoint,
        Error::TransactionClosed {
            state: TxnState::RolledBack,
        },
        Error::OptionConflict { reason: "" },
        Error::KeyExists { key: key.clone() },
        Error::LockNotAvailable { key, holders },
        Error::Undetermined {
            start_ts: 1,
            source: std::sync::Arc::new(Broken),
        },
        Error::LogFailed {
            source: std::sync::Arc::new(Broken),
        },
        Error::DatabaseClosed,
        Error::Cancelled,
        Error::DeadlineExceeded,
        Error::InvalidTimestamp {
            given: 2,
            newest: 1,
        },
        Error::store(Broken),
    ];
    for error in retryable {
        assert!(error.is_retryable(), "{error}");
    }
    for error in final_ones {
        assert!(!error.is_retryable(), "{error}");
    }
}

#[test]
fn keys_are_printed_escaped_and_cut() {
    let key = [b"row\x00\n".as_slice(), &[b'x'; 100]].concat();
    let error = Error::KeyExists { key: key.into() };
    let shown = format!(r"row\x00\n{}..(105 bytes)", "x".repeat(MAX_PRINTED - 5));
    assert_eq!(error.to_string(), format!("\"{shown}\" exists already"));
}

/// Of everything that holds a value, on its way to the store as on its way back.
#[test]
fn nothing_printed_shows_a_value() {
    const VALUE: &str = "hunter2";
    let db = Db::in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", VALUE).unwrap();
    txn.put("j", VALUE).unwrap();
    txn.blocking().commit().unwrap();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let options = LockOptions {
        return_values: true,
        ..LockOptions::default()
    };
    let outcomes = txn.blocking().lock_keys(["k"], options).unwrap();
    assert_eq!(outcomes[0].value.as_deref(), Some(VALUE.as_bytes()));
    txn.put("k", VALUE).unwrap();
    let mut range = txn.blocking().range::<&str>(..);
    range.next().unwrap().unwrap();
    let mutations = [
        MutationOp::Put(VALUE.into()),
        MutationOp::Insert(VALUE.into()),
    ]
    .map(|op| Mutation::new("k".into(), op));
    let printed: [&dyn Debug; 11] = [
        &db,
        &txn,
        txn.buffer(),
        &txn.statement_view().unwrap(),
        &txn.read_cache(),
        &range,
        &outcomes,
        &txn.buffer().get("k"),
        &Entry::Value(VALUE.into()),
        &Prewrite::new(mutations.to_vec()),
        &db.blocking().snapshot().unwrap(),
    ];
    let as_numbers = format!("{:?}", VALUE.as_bytes());
    let as_numbers = as_numbers.trim_matches(['[', ']']);
    for printed in printed {
        let printed = format!("{printed:?}");
        assert!(!printed.contains(VALUE), "{printed}");
        assert!(!printed.contains(as_numbers), "{printed}");
    }
    txn.blocking().rollback().unwrap();
}
