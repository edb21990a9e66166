//! Locks of transactions that are dead: nobody waits for them, and many go with few requests.
#![allow(clippy::unwrap_used)]

mod two_regions;

use bytes::Bytes;
use std::time::{Duration, Instant};
use two_regions::{IN_TIME, another, comes, no_locks_are_left, runtime, two_regions};
use untorn_tikv_server::Fault;
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{
    Begin, ForUpdate, LockKey, LockTerms, Mutation, MutationOp, Prewrite, Prewritten, Store,
};
use untorn_txn::{BeginOptions, Db, Error, LockOptions};

/// Locks of a transaction that gives no sign of life, its time to live over.
fn locked_by_the_dead(store: &TikvStore, keys: &[Bytes]) {
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let lock = |key: &Bytes| LockKey::new(key.clone(), 1);
        let terms = LockTerms {
            ttl: Duration::from_millis(1),
            ..LockTerms::new(keys[0].clone())
        };
        let asked: Vec<LockKey> = keys.iter().map(lock).collect();
        for answer in store.lock(start, &asked, &terms).await.unwrap() {
            assert!(answer.unwrap().locked);
        }
    });
}

fn keys(count: usize) -> Vec<Bytes> {
    (0..count).map(|n| format!("a{n:02}").into()).collect()
}

/// A region tells of one lock at a time: none of them is waited for.
#[test]
fn locks_of_the_dead_are_resolved_at_once() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let keys = keys(25);
    locked_by_the_dead(&store, &keys);
    let db = Db::new(store);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let within = LockOptions {
        wait: Some(Wait::For(IN_TIME)),
        ..LockOptions::default()
    };
    let began = Instant::now();
    txn.blocking().lock_keys(&keys, within).unwrap();
    assert!(began.elapsed() < IN_TIME);
    txn.blocking().rollback().unwrap();
    no_locks_are_left(&cluster);
}

#[test]
fn a_call_that_resolves_locks_of_the_dead_ends_with_its_budget() {
    const BUDGET: Duration = Duration::from_millis(300);
    for has_deadline in [false, true] {
        let (cluster, store) = two_regions(TikvOptions::default());
        let keys = keys(40);
        locked_by_the_dead(&store, &keys);
        let db = Db::new(store);
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        // A primary, so that the others are asked for at once.
        txn.blocking().get_for_update("b").unwrap();
        cluster.inject_always("KVPessimisticRollback", Fault::Delay(BUDGET / 5));
        let (wait, deadline) = match has_deadline {
            false => (Wait::For(BUDGET), None),
            true => (Wait::Forever, Some(Instant::now() + BUDGET)),
        };
        let limits = LockOptions {
            wait: Some(wait),
            deadline,
            ..LockOptions::default()
        };
        let over = txn.blocking().lock_keys(&keys, limits);
        let is_told = match over {
            Err(Error::LockWaitTimeout { .. }) => !has_deadline,
            Err(Error::DeadlineExceeded) => has_deadline,
            _ => false,
        };
        assert!(is_told, "{over:?}");
    }
}

/// Writes of a transaction that nobody commits any more, its time to live over.
fn written_by_the_dead(store: &TikvStore, keys: &[Bytes]) {
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let put = |key: &Bytes| Mutation::new(key.clone(), MutationOp::Put("v".into()));
        let request = Prewrite {
            ttl: Duration::from_millis(1),
            ..Prewrite::new(keys.iter().map(put).collect())
        };
        let prewritten = store.prewrite(start, &request).await.unwrap();
        assert!(matches!(prewritten, Prewritten::Undecided));
    });
}

/// So many keys in each of the two regions.
fn keys_of_both(count: usize) -> Vec<Bytes> {
    let of = |letter| (0..count).map(move |n| format!("{letter}{n:04}").into());
    of('a').chain(of('z')).collect()
}

fn in_two_phases() -> TikvOptions {
    TikvOptions::default().async_commit(false).one_phase(false)
}

/// Runs `meet` where `count` keys of each region are locked by a dead writer; answers how often locks were resolved for it.
fn resolved_by(count: usize, meet: impl FnOnce(&Db, &[Bytes])) -> u64 {
    let (cluster, store) = two_regions(in_two_phases());
    let keys = keys_of_both(count);
    written_by_the_dead(&store, &keys);
    assert_eq!(cluster.locks().len(), keys.len());
    // Each request is told as a fault.
    cluster.inject_always("KvResolveLock", Fault::Delay(Duration::ZERO));
    meet(&Db::new(store), &keys);
    no_locks_are_left(&cluster);
    cluster.faults()
}

fn scan(db: &Db, _: &[Bytes]) {
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(view.blocking().range::<&[u8]>(..).count(), 0);
}

fn lock(db: &Db, keys: &[Bytes]) {
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let locked = txn.blocking().lock_keys(keys, LockOptions::default());
    assert!(locked.is_ok(), "{locked:?}");
    txn.blocking().rollback().unwrap();
}

fn write(db: &Db, keys: &[Bytes]) {
    let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    for key in keys {
        txn.put(key, "w").unwrap();
    }
    txn.blocking().commit().unwrap();
}

#[test]
fn locks_of_one_writer_are_resolved_together_where_they_are_met_together() {
    assert_eq!(resolved_by(5, scan), 2);
    assert_eq!(resolved_by(5, write), 2);
    // By pages of 256, and by requests of 16 KiB.
    assert_eq!(resolved_by(1000, scan), 8);
    assert_eq!(resolved_by(1000, write), 2);
}

/// To who locks, a region tells of one lock at a time.
#[test]
fn many_locks_of_one_writer_that_are_met_one_by_one_are_resolved_with_all_that_the_region_holds() {
    assert_eq!(resolved_by(5, lock), 10);
    // The primary is locked by a call of its own, first.
    assert_eq!(resolved_by(1000, lock), 1 + 16 + 2);
}

/// A transaction that was taken for dead and lives has locked one of its keys anew when the others' request arrives.
#[test]
fn each_lock_of_the_dead_is_released_as_of_its_own_timestamp() {
    const BUDGET: Duration = Duration::from_millis(300);
    let (cluster, store) = two_regions(TikvOptions::default());
    let other = another(&cluster);
    let lock = async |start, key: &'static str, at, ttl| {
        let terms = LockTerms {
            for_update: ForUpdate::At(at),
            ttl,
            wait: Wait::NoWait,
            ..LockTerms::new("p".into())
        };
        let asked = [LockKey::new(key.into(), at)];
        let locked = store.lock(start, &asked, &terms).await.unwrap();
        assert!(locked[0].as_ref().unwrap().locked);
    };
    let (start, second) = runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let first = store.timestamp().await.unwrap();
        let second = store.timestamp().await.unwrap();
        let third = store.timestamp().await.unwrap();
        for (key, at) in [("p", first), ("k", first), ("l", third)] {
            lock(start, key, at, Duration::from_millis(1)).await;
        }
        (start, second)
    });
    cluster.inject(
        "KVPessimisticRollback",
        Fault::Delay(Duration::from_secs(4)),
    );
    let writer = std::thread::spawn(move || {
        runtime().block_on(async {
            let put = |key: &'static str| Mutation::new(key.into(), MutationOp::Put("v".into()));
            let request = Prewrite {
                wait: Wait::For(BUDGET),
                ..Prewrite::new(vec![put("k"), put("l")])
            };
            let writer = other.begin(Begin::default()).await.unwrap();
            other.prewrite(writer, &request).await.is_ok()
        })
    });
    comes(|| cluster.faults() > 0, "the rollback is under way");
    runtime().block_on(lock(start, "k", second, Duration::from_secs(60)));
    let is_written = writer.join().unwrap();
    let locks = cluster.locks();
    let stands = locks
        .iter()
        .any(|lock| lock.key == "k" && lock.lock_version == start);
    assert!(stands && !is_written, "{locks:?}");
}
