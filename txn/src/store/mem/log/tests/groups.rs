//! Commits that share a sync, and those that nobody waits for.

use super::*;
use crate::TxnState;
use crate::lock::Wait;
use crate::store::{LOCK_TTL, Mutation, MutationOp, Prewrite, TxnStatus};
use std::pin::Pin;
use std::task::{Context, Waker};

fn prewritten(store: &MemStore, key: &str) -> Timestamp {
    let start = block_on(store.begin(Begin::default())).unwrap();
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    let mutation = Mutation::new(key, MutationOp::Put("v".into()));
    block_on(store.prewrite(start, &Prewrite::new(vec![mutation]))).unwrap();
    start
}

fn is_pending<T>(answer: &mut crate::store::Answer<'_, T>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(answer).poll(&mut context).is_pending()
}

#[test]
fn commits_that_come_while_a_sync_runs_share_the_next_in_the_order_in_which_they_came() {
    const COMMITS: usize = 20;
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    let starts: Vec<Timestamp> = (0..=COMMITS)
        .map(|n| prewritten(&store, &format!("k{n:02}")))
        .collect();
    disk.hold_syncs();
    let syncs = disk.syncs();
    let mut commits: Vec<_> = starts[..1]
        .iter()
        .map(|&start| store.commit(start))
        .collect();
    disk.await_held_sync();
    commits.extend(starts[1..].iter().map(|&start| store.commit(start)));
    assert!(commits.iter_mut().all(is_pending));
    assert_eq!(contents(&db), []);
    disk.let_syncs_go();
    let times: Vec<Timestamp> = commits
        .into_iter()
        .map(|commit| block_on(commit).unwrap())
        .collect();
    assert_eq!(disk.syncs() - syncs, 2);
    assert!(times.is_sorted_by(|a, b| a < b));
    assert_eq!(contents(&db).len(), COMMITS + 1);
}

#[test]
fn nothing_is_seen_of_a_commit_before_it_is_on_the_disk_and_nobody_waits_for_it() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    let start = prewritten(&store, "k");
    disk.hold_syncs();
    let mut commit = store.commit(start);
    disk.await_held_sync();
    assert!(is_pending(&mut commit));
    assert_eq!(value(&db, "k"), None);
    let status = block_on(store.status(start, "k".into())).unwrap();
    assert_eq!(status, TxnStatus::Open);
    disk.let_syncs_go();
    let time = block_on(commit).unwrap();
    assert_eq!(value(&db, "k").as_deref(), Some("v"));
    let status = block_on(store.status(start, "k".into())).unwrap();
    assert_eq!(status, TxnStatus::Committed(time));
}

/// Rule 49: a commit that comes again waits for the same entry.
#[test]
fn a_repeated_commit_is_written_once_and_answers_the_same() {
    let disk = Disk::default();
    let (store, _db) = opened(&disk);
    let start = prewritten(&store, "k");
    let length = disk.content(FIRST).len();
    disk.hold_syncs();
    let first = store.commit(start);
    disk.await_held_sync();
    let written = disk.content(FIRST).len();
    assert!(written > length);
    let second = store.commit(start);
    disk.let_syncs_go();
    let times = (block_on(first).unwrap(), block_on(second).unwrap());
    assert_eq!(times.0, times.1);
    assert_eq!(disk.content(FIRST).len(), written);
    assert_eq!(block_on(store.commit(start)).unwrap(), times.0);
}

/// Of a commit and a rollback one wins: once the log has the commit, that.
#[test]
fn a_rollback_waits_for_the_commit_that_the_log_has_and_is_refused() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    let start = prewritten(&store, "k");
    disk.hold_syncs();
    let commit = store.commit(start);
    disk.await_held_sync();
    let mut rollback = store.rollback(start);
    assert!(is_pending(&mut rollback));
    drop(commit);
    disk.let_syncs_go();
    assert!(matches!(
        block_on(rollback),
        Err(Error::TransactionClosed {
            state: TxnState::Committed
        })
    ));
    assert_eq!(value(&db, "k").as_deref(), Some("v"));
    assert!(store.locks().is_empty());
}

/// Whether the answer was dropped before the decision or after it, its locks come free.
#[test]
fn a_commit_whose_answer_is_dropped_is_carried_out() {
    for is_late in [false, true] {
        let disk = Disk::default();
        let (store, db) = opened(&disk);
        let start = prewritten(&store, "k");
        disk.hold_syncs();
        let commit = store.commit(start);
        disk.await_held_sync();
        if is_late {
            disk.let_syncs_go();
            while block_on(store.status(start, "k".into())).unwrap() == TxnStatus::Open {
                std::thread::yield_now();
            }
            drop(commit);
        } else {
            drop(commit);
            disk.let_syncs_go();
        }
        // Waits for the lock of the first, for less than what nobody ends would be in the way.
        let options = BeginOptions {
            lock_wait: Wait::For(LOCK_TTL / 2),
            ..BeginOptions::default()
        };
        let txn = db.blocking().begin(options).unwrap();
        let seen = txn.blocking().get_for_update("k").unwrap();
        assert_eq!(seen.as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn what_writes_nothing_does_not_wait_for_the_disk() {
    let disk = Disk::default();
    let (_store, db) = opened(&disk);
    put(&db, "k", "v").unwrap();
    disk.hold_syncs();
    let reader = db.blocking().begin(BeginOptions::default()).unwrap();
    reader.blocking().get_for_update("k").unwrap();
    reader.blocking().commit().unwrap();
    disk.let_syncs_go();
}
