//! The write-ahead log: commits beside each other, beside their own failure, rollback and end, and beside a checkpoint.
//!
//! The store, its queue and the thread of its log are the real ones; the disk is the model's, and keeps of a crash what was
//! synced and nothing else. Timestamps come from the real oracle. Everything up to the prewrites is done before any
//! thread starts.

use loom::sync::Arc;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use untorn_loom_tests::{model, spawn};
use untorn_txn::__model::block_on;
use untorn_txn::__model::log::{Disk, end, open, recovered};
use untorn_txn::store::mem::LogOptions;
use untorn_txn::store::{Begin, Mutation, MutationOp, Prewrite, TxnStatus};
use untorn_txn::{Error, MemStore, Store, Timestamp, TxnState};

/// A transaction that has only to be decided: it writes this key.
fn prewritten(store: &MemStore, key: &'static str) -> Timestamp {
    let start = block_on(store.begin(Begin::default())).unwrap();
    let write = Mutation::new(key.into(), MutationOp::Put("v".into()));
    block_on(store.prewrite(start, &Prewrite::new(vec![write]))).unwrap();
    start
}

/// A commit that was answered, and the least that a crash would leave at that moment.
struct Answered {
    start: Timestamp,
    answer: Result<Timestamp, Error>,
    left: Disk,
}

fn commit(store: &MemStore, disk: &Disk, start: Timestamp) -> Answered {
    let answer = block_on(store.commit(start));
    Answered {
        start,
        answer,
        left: disk.after_a_crash(),
    }
}

fn status(store: &MemStore, start: Timestamp) -> TxnStatus {
    block_on(store.status(start, "".into())).unwrap()
}

/// Whether an opening of what a crash left would have a transaction committed.
fn has_kept(left: &Disk, start: Timestamp) -> bool {
    matches!(status(&recovered(left), start), TxnStatus::Committed(_))
}

/// Nothing is left of the transactions: no lock, no intent.
fn is_at_rest(store: &MemStore) -> bool {
    store.locks().is_empty() && store.stats().open == 0
}

/// Whether they share a group or follow each other: each is on the disk when it is answered, and the log has them in the order
/// of their timestamps.
#[test]
fn two_commits() {
    model("log_two_commits", 2, 5_000, || {
        let disk = Disk::default();
        let (store, log) = open(&disk, LogOptions::default());
        let store = Arc::new(store);
        let (first, second) = (prewritten(&store, "a"), prewritten(&store, "b"));
        let log = spawn(move || log.run());
        let other = {
            let (store, disk) = (Arc::clone(&store), disk.clone());
            spawn(move || commit(&store, &disk, second))
        };
        let first = commit(&store, &disk, first);
        let second = other.join().unwrap();
        end(&store);
        log.join().unwrap();
        let left = recovered(&disk.after_a_crash());
        let mut times = Vec::new();
        for committed in [&first, &second] {
            assert!(has_kept(&committed.left, committed.start));
            let TxnStatus::Committed(in_the_log) = status(&left, committed.start) else {
                panic!("it is not there");
            };
            times.push((committed.answer.clone().unwrap(), in_the_log));
        }
        times.sort_unstable();
        assert!(times[0].1 < times[1].1, "the log has another order");
        assert!(is_at_rest(&store));
    });
}

/// What a reader sees, no crash takes back.
#[test]
fn a_reader_beside_a_commit() {
    model("log_a_reader_beside_a_commit", 2, 1_700, || {
        let disk = Disk::default();
        let (store, log) = open(&disk, LogOptions::default());
        let store = Arc::new(store);
        let start = prewritten(&store, "a");
        let log = spawn(move || log.run());
        let reader = {
            let (store, disk) = (Arc::clone(&store), disk.clone());
            spawn(move || {
                let now = block_on(store.timestamp()).unwrap();
                let seen = block_on(store.get(b"a", now)).unwrap();
                (seen, disk.after_a_crash())
            })
        };
        assert!(commit(&store, &disk, start).answer.is_ok());
        let (seen, left) = reader.join().unwrap();
        end(&store);
        log.join().unwrap();
        assert!(seen.is_none() || has_kept(&left, start));
        assert!(is_at_rest(&store));
    });
}

/// Whoever waits for the commit goes away, whenever that is; then the store is closed.
#[test]
fn a_commit_that_nobody_waits_for() {
    model("log_a_commit_that_nobody_waits_for", 3, 300, || {
        let disk = Disk::default();
        let (store, log) = open(&disk, LogOptions::default());
        let start = prewritten(&store, "a");
        let log = spawn(move || log.run());
        {
            let answer = pin!(store.commit(start));
            let mut context = Context::from_waker(Waker::noop());
            let _ = answer.poll(&mut context);
        }
        end(&store);
        log.join().unwrap();
        assert!(matches!(status(&store, start), TxnStatus::Committed(_)));
        assert!(has_kept(&disk.after_a_crash(), start));
        assert!(is_at_rest(&store));
    });
}

/// A sync fails: whoever waits is told, and so is whoever comes later; reads go on.
#[test]
fn two_commits_on_a_disk_that_fails() {
    model("log_two_commits_on_a_disk_that_fails", 2, 1_000, || {
        let disk = Disk::default();
        let (store, log) = open(&disk, LogOptions::default());
        let store = Arc::new(store);
        let (first, second) = (prewritten(&store, "a"), prewritten(&store, "b"));
        disk.fail_syncs();
        let log = spawn(move || log.run());
        let other = {
            let (store, disk) = (Arc::clone(&store), disk.clone());
            spawn(move || commit(&store, &disk, second))
        };
        let first = commit(&store, &disk, first);
        let second = other.join().unwrap();
        log.join().unwrap();
        for failed in [first, second] {
            let status = block_on(store.status(failed.start, "".into()));
            match failed.answer {
                // Nobody knows.
                Err(Error::Store { .. }) => assert!(matches!(status, Err(Error::Store { .. }))),
                Err(Error::LogFailed { .. }) => {
                    assert!(matches!(status, Ok(TxnStatus::RolledBack)));
                }
                other => panic!("{other:?}"),
            }
        }
        let now = block_on(store.timestamp()).unwrap();
        assert_eq!(block_on(store.get(b"a", now)).unwrap(), None);
    });
}

/// One of them wins, for the log as for who asked.
#[test]
fn a_rollback_beside_a_commit() {
    model("log_a_rollback_beside_a_commit", 2, 1_200, || {
        let disk = Disk::default();
        let (store, log) = open(&disk, LogOptions::default());
        let store = Arc::new(store);
        let start = prewritten(&store, "a");
        let log = spawn(move || log.run());
        let rollback = {
            let store = Arc::clone(&store);
            spawn(move || block_on(store.rollback(start)))
        };
        let committed = commit(&store, &disk, start);
        let rolled_back = rollback.join().unwrap();
        end(&store);
        log.join().unwrap();
        let is_kept = has_kept(&disk.after_a_crash(), start);
        match (committed.answer, rolled_back) {
            (Ok(_), Err(Error::TransactionClosed { state })) => {
                assert_eq!(state, TxnState::Committed);
                assert!(is_kept && has_kept(&committed.left, start));
            }
            (Err(Error::TransactionClosed { state }), Ok(())) => {
                assert_eq!(state, TxnState::RolledBack);
                assert!(!is_kept);
            }
            other => panic!("{other:?}"),
        }
        assert!(is_at_rest(&store));
    });
}

/// A checkpoint is written after the first commit. Whatever of it a crash finds done, both commits are there from the moment
/// of their answers. (The thread of the checkpoint is one more, started by the log's.)
#[test]
fn a_commit_beside_a_checkpoint() {
    model("log_a_commit_beside_a_checkpoint", 2, 15_000, || {
        let disk = Disk::default();
        // More than the head of a segment, less than one with a commit.
        let (store, log) = open(&disk, LogOptions::default().checkpoint_after(60));
        let (first, second) = (prewritten(&store, "a"), prewritten(&store, "b"));
        let log = spawn(move || log.run());
        let committed = [first, second].map(|start| commit(&store, &disk, start));
        end(&store);
        log.join().unwrap();
        let has = |left: &Disk, keys: &[&str]| {
            let store = recovered(left);
            let now = block_on(store.timestamp()).unwrap();
            for key in keys {
                let value = block_on(store.get(key.as_bytes(), now)).unwrap();
                assert!(value.is_some(), "no {key} in {:?}", left.files());
            }
        };
        let [first, second] = committed;
        assert!(first.answer.is_ok() && second.answer.is_ok());
        has(&first.left, &["a"]);
        has(&second.left, &["a", "b"]);
        let left = disk.after_a_crash();
        has(&left, &["a", "b"]);
        let files = left.files();
        assert!(
            files.iter().any(|name| name.ends_with(".checkpoint")),
            "{files:?}"
        );
        assert!(is_at_rest(&store));
    });
}
