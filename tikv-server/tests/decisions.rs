//! How commits are decided: in two phases, by the prewrite, in one request; and what becomes of them if answers are lost.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::sync::Arc;
use std::time::{Duration, Instant};
use two_regions::{IN_TIME, comes, no_locks_are_left, reads, two_regions};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::{
    BeginOptions, CommitInfo, CommitOptions, Db, Error, LockOptions, Transaction, TxnState,
};

/// Two regions, cut at "m".
fn opened(options: TikvOptions) -> (Cluster, Db) {
    let (cluster, store) = two_regions(options);
    (cluster, Db::new(store))
}

fn written(db: &Db, keys: &[&str]) -> Transaction {
    let until = Instant::now() + IN_TIME;
    // A store may have hardly the patience for a timestamp.
    let txn = loop {
        match db.blocking().begin(BeginOptions::optimistic()) {
            Err(Error::Store { .. }) if Instant::now() < until => {}
            begun => break begun.unwrap(),
        }
    };
    for key in keys {
        txn.put(key, "v").unwrap();
    }
    txn
}

fn committed(db: &Db, keys: &[&str]) -> CommitInfo {
    let info = written(db, keys).blocking().commit().unwrap();
    assert!(info.commit_ts > Some(info.start_ts));
    info
}

#[test]
fn a_commit_of_one_region_is_one_request() {
    let (cluster, db) = opened(TikvOptions::default());
    assert!(committed(&db, &["a", "b", "c"]).one_phase);
    assert!(cluster.locks().is_empty());
    reads(&db, &["a", "b", "c"], true);
}

#[test]
fn a_commit_of_two_regions_is_decided_by_its_prewrite() {
    let (cluster, db) = opened(TikvOptions::default());
    // Of the second phase nothing comes through, and the commit is one all the same.
    for _ in 0..4 {
        cluster.inject("KvCommit", Fault::LostRequest);
    }
    let info = committed(&db, &["a", "z"]);
    assert!(!info.one_phase);
    reads(&db, &["a", "z"], true);
    no_locks_are_left(&cluster);
}

#[test]
fn a_pessimistic_commit_is_decided_by_its_prewrite_too() {
    let (cluster, db) = opened(TikvOptions::default());
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for key in ["a", "only locked", "z"] {
        txn.blocking().get_for_update(key).unwrap();
    }
    txn.put("a", "v").unwrap();
    txn.put("z", "v").unwrap();
    txn.blocking().commit().unwrap();
    reads(&db, &["a", "z"], true);
    reads(&db, &["only locked"], false);
    no_locks_are_left(&cluster);
}

#[test]
fn a_cluster_that_declines_makes_it_two_phases() {
    let (cluster, db) = opened(TikvOptions::default());
    cluster.decide_in_prewrite(false);
    assert!(!committed(&db, &["a", "b"]).one_phase);
    assert!(!committed(&db, &["a", "z"]).one_phase);
    reads(&db, &["a", "b", "z"], true);
    no_locks_are_left(&cluster);
}

#[test]
fn a_lost_answer_to_the_deciding_request_is_asked_for_again() {
    for (options, method) in [
        (TikvOptions::default(), "KvPrewrite"),
        (TikvOptions::default().one_phase(false), "KvPrewrite"),
        (
            TikvOptions::default().one_phase(false).async_commit(false),
            "KvCommit",
        ),
    ] {
        for fault in [Fault::LostAnswer, Fault::LostRequest, Fault::Duplicate] {
            let (cluster, db) = opened(options.clone());
            cluster.inject(method, fault);
            committed(&db, &["a", "b"]);
            assert_eq!(cluster.faults(), 1);
            reads(&db, &["a", "b"], true);
            no_locks_are_left(&cluster);
        }
    }
}

#[test]
fn a_prewrite_that_reaches_one_region_of_two_is_no_commit() {
    let (cluster, db) = opened(TikvOptions::default().patience(Duration::from_millis(300)));
    cluster.inject("KvPrewrite", Fault::Spared);
    cluster.inject_always("KvPrewrite", Fault::LostRequest);
    let txn = written(&db, &["a", "z"]);
    let failed = txn.blocking().commit();
    assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
    assert_eq!(txn.state(), TxnState::RolledBack);
    reads(&db, &["a", "z"], false);
    no_locks_are_left(&cluster);
}

#[test]
fn a_commit_that_nobody_answers_is_undetermined_and_looked_up_later() {
    let options = TikvOptions::default().patience(Duration::from_millis(200));
    let (cluster, db) = opened(options.one_phase(false).async_commit(false));
    cluster.inject_always("KvCommit", Fault::LostAnswer);
    cluster.inject_always("KvCheckTxnStatus", Fault::LostRequest);
    let txn = written(&db, &["a"]);
    let deadline = Instant::now() + Duration::from_millis(900);
    let options = CommitOptions::default().deadline(deadline);
    let unknown = txn.blocking().commit_with(options);
    assert!(
        matches!(unknown, Err(Error::Undetermined { .. })),
        "{unknown:?}"
    );
    // Another client finds out.
    let other =
        TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default()).unwrap();
    let other = Db::new(Arc::new(other));
    cluster.heal();
    reads(&other, &["a"], true);
}

#[test]
fn a_store_that_is_dropped_finishes_what_it_has_decided() {
    let (cluster, db) = opened(TikvOptions::default());
    for _ in 0..2 {
        cluster.inject("KvCommit", Fault::Delay(Duration::from_secs(1)));
    }
    committed(&db, &["a", "z"]);
    assert!(!cluster.locks().is_empty());
    drop(db);
    no_locks_are_left(&cluster);
}

#[test]
fn a_process_that_is_about_to_end_waits_for_what_was_decided() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store.clone());
    for _ in 0..2 {
        cluster.inject("KvCommit", Fault::Delay(Duration::from_secs(1)));
    }
    committed(&db, &["a", "z"]);
    assert!(!store.settle_blocking(Instant::now()), "it is under way");
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
    assert!(cluster.locks().is_empty());
}

#[test]
fn a_database_that_is_closed_has_waited_for_what_was_decided() {
    for (wait, delay, is_idle) in [(Duration::ZERO, 5_000, false), (IN_TIME, 100, true)] {
        let (cluster, db) = opened(TikvOptions::default());
        for _ in 0..2 {
            cluster.inject("KvCommit", Fault::Delay(Duration::from_millis(delay)));
        }
        committed(&db, &["a", "z"]);
        let closed = db.blocking().close(Instant::now() + wait);
        assert_eq!((closed.is_idle, closed.left.len()), (is_idle, 0));
        assert_eq!(cluster.locks().is_empty(), is_idle);
    }
}

/// The client is gone between its prewrite and the end: whoever comes tells from the other locks.
#[test]
fn what_a_dead_client_has_decided_is_found_out_by_its_locks() {
    let (cluster, db) = opened(TikvOptions::default());
    cluster.inject_always("KvCommit", Fault::LostRequest);
    let txn = db
        .blocking()
        .begin(BeginOptions {
            lock_ttl: Duration::from_millis(50),
            ..BeginOptions::optimistic()
        })
        .unwrap();
    for key in ["a", "n", "z"] {
        txn.put(key, "v").unwrap();
    }
    let info = txn.blocking().commit().unwrap();
    assert_eq!(cluster.locks().len(), 3);
    drop((txn, db));
    let other =
        TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default()).unwrap();
    let other = Db::new(Arc::new(other));
    reads(&other, &["a", "n", "z"], true);
    let before = other
        .blocking()
        .snapshot_at(info.commit_ts.unwrap() - 1)
        .unwrap();
    assert_eq!(before.blocking().get("n").unwrap(), None);
    no_locks_are_left(&cluster);
}

/// Fair locking: who waited has the lock at once, in spite of the commit that it waited for, and commits above it.
#[test]
fn a_forced_lock_is_granted_over_a_conflict_and_its_transaction_commits() {
    let (cluster, db) = opened(TikvOptions::default());
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    holder.blocking().get_for_update("k").unwrap();
    holder.put("k", "first").unwrap();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.fair_begin().unwrap();
    let options = LockOptions {
        return_values: true,
        ..LockOptions::default()
    };
    let outcomes = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| txn.blocking().lock_keys(["k"], options));
        comes(|| cluster.waiting() > 0, "it waits for the holder");
        let first = holder.blocking().commit().unwrap();
        (first.commit_ts, waiting.join().unwrap().unwrap())
    });
    let (first, [outcome]) = (outcomes.0, &outcomes.1[..]) else {
        panic!("one key was asked for");
    };
    assert_eq!(outcome.locked_with_conflict_ts, first);
    assert_eq!(outcome.value.as_deref(), Some(&b"first"[..]));
    txn.fair_done().unwrap();
    txn.put("k", "second").unwrap();
    assert!(txn.blocking().commit().unwrap().commit_ts > first);
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(
        view.blocking().get("k").unwrap().as_deref(),
        Some(&b"second"[..])
    );
    no_locks_are_left(&cluster);
}

#[test]
fn a_read_below_the_collectors_safe_point_is_refused() {
    let (cluster, db) = opened(TikvOptions::default());
    let old = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    assert_eq!(old.blocking().get("a").unwrap(), None);
    let safe_point = db.blocking().timestamp().unwrap();
    cluster.collect(safe_point);
    let until = Instant::now() + IN_TIME;
    loop {
        match old.blocking().get(format!("{:?}", Instant::now())) {
            Ok(_) => assert!(Instant::now() < until, "it is asked for once a second"),
            Err(error) => {
                assert!(
                    matches!(error, Error::SnapshotTooOld { safe_point: told, .. } if told == safe_point),
                    "{error}"
                );
                break;
            }
        }
    }
    assert!(matches!(
        db.blocking().snapshot_at(old.start_ts()),
        Err(Error::SnapshotTooOld { .. })
    ));
    assert_eq!(db.blocking().safe_point().unwrap().at, safe_point);
}
