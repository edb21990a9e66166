//! Signs of life: a transaction that gives them is not taken for dead, however long it waits, and one that gives none is in
//! nobody's way for long.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use two_regions::{IN_TIME, no_locks_are_left, reads, two_regions};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::store::tikv::TikvOptions;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, PipelinedOptions, Transaction};

/// Two regions, cut at "m".
fn opened(options: TikvOptions) -> (Cluster, Db) {
    let (cluster, store) = two_regions(options);
    (cluster, Db::new(store))
}

/// The times to live that a lock on a key was seen with, until there are so many: signs of life prolong them.
#[track_caller]
fn is_prolonged(cluster: &Cluster, key: &str, times: usize) {
    let mut seen = BTreeSet::new();
    let until = Instant::now() + IN_TIME;
    while seen.len() <= times {
        assert!(Instant::now() < until, "{key} lives for {seen:?}");
        let locks = cluster.locks();
        let lock = locks.iter().find(|lock| lock.key == key);
        seen.extend(lock.map(|lock| lock.lock_ttl));
        std::thread::yield_now();
    }
}

fn short_lived() -> BeginOptions {
    BeginOptions {
        lock_ttl: Duration::from_secs(4),
        ..BeginOptions::default()
    }
}

fn short_lived_with(db: &Db, key: &str) -> Transaction {
    let txn = db.blocking().begin(short_lived()).unwrap();
    txn.blocking().get_for_update(key).unwrap();
    txn
}

/// Fair locking gives up a primary that was chosen in an attempt before: signs of life go to the new one.
#[test]
fn a_primary_of_a_second_attempt_is_kept_alive() {
    let (cluster, db) = opened(TikvOptions::default());
    let txn = db.blocking().begin(short_lived()).unwrap();
    let lock = |key: &str| txn.blocking().lock_keys([key], LockOptions::default());
    txn.fair_begin().unwrap();
    lock("a").unwrap();
    txn.fair_retry().unwrap();
    lock("z").unwrap();
    txn.fair_done().unwrap();
    is_prolonged(&cluster, "z", 2);
    txn.put("z", "v").unwrap();
    txn.blocking().commit().unwrap();
    reads(&db, &["z"], true);
}

/// A transaction is not taken for dead while its new primary is waited for.
#[test]
fn a_primary_of_a_second_attempt_may_be_waited_for() {
    let (cluster, db) = opened(TikvOptions::default());
    let holder = short_lived_with(&db, "z");
    let txn = db.blocking().begin(short_lived()).unwrap();
    let lock = |key: &str| txn.blocking().lock_keys([key], LockOptions::default());
    txn.fair_begin().unwrap();
    lock("a").unwrap();
    txn.fair_retry().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| lock("z"));
        // For longer than a sign of life is due.
        is_prolonged(&cluster, "z", 3);
        holder.blocking().rollback().unwrap();
        waiting.join().unwrap().unwrap();
    });
    txn.fair_done().unwrap();
    txn.put("z", "v").unwrap();
    txn.blocking().commit().unwrap();
    reads(&db, &["z"], true);
}

/// Signs of life are due before the primary is put down.
#[test]
fn a_commit_of_two_phases_may_wait_for_longer_than_its_time_to_live() {
    let options = TikvOptions::default().async_commit(false).one_phase(false);
    let (cluster, db) = opened(options);
    let holder = short_lived_with(&db, "a");
    let brief = BeginOptions {
        lock_ttl: short_lived().lock_ttl,
        ..BeginOptions::optimistic()
    };
    let txn = db.blocking().begin(brief).unwrap();
    txn.put("a", "v").unwrap();
    txn.put("z", "v").unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| txn.blocking().commit());
        is_prolonged(&cluster, "a", 4);
        holder.blocking().rollback().unwrap();
        commit.join().unwrap().unwrap();
    });
    reads(&db, &["a", "z"], true);
    no_locks_are_left(&cluster);
}

#[test]
fn a_flush_may_wait_for_longer_than_its_time_to_live() {
    let (cluster, db) = opened(TikvOptions::default());
    let holder = short_lived_with(&db, "a");
    let brief = PipelinedOptions {
        lock_ttl: short_lived().lock_ttl,
        ..PipelinedOptions::default()
    };
    let txn = db.blocking().begin_pipelined(brief).unwrap();
    txn.blocking().put("a", "v").unwrap();
    assert!(txn.blocking().flush().unwrap());
    is_prolonged(&cluster, "a", 4);
    holder.blocking().rollback().unwrap();
    txn.blocking().commit().unwrap();
    reads(&db, &["a"], true);
    no_locks_are_left(&cluster);
}

#[test]
fn a_transaction_whose_signs_of_life_are_lost_loses_its_locks_and_commits_nothing() {
    let (cluster, db) = opened(TikvOptions::default());
    let silent = short_lived_with(&db, "k");
    silent.put("k", "late").unwrap();
    cluster.inject_always("KvTxnHeartBeat", Fault::LostRequest);
    let other = db.blocking().begin(BeginOptions::default()).unwrap();
    other.blocking().get_for_update("k").unwrap();
    other.put("k", "v").unwrap();
    other.blocking().commit().unwrap();
    let lost = silent.blocking().commit();
    assert!(matches!(lost, Err(Error::LockLost { .. })), "{lost:?}");
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(
        view.blocking().get("k").unwrap().as_deref(),
        Some(&b"v"[..])
    );
    no_locks_are_left(&cluster);
}
