//! What the end of a transaction leaves to be done is done once the cluster answers, however late that is: nobody waits for
//! a time to live.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use two_regions::{IN_TIME, comes, no_locks_are_left, two_regions};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{ForUpdate, TxnStatus};
use untorn_txn::{
    BeginOptions, CommitOptions, Db, Error, LockOptions, OnDrop, Transaction, TxnState,
};

/// Longer than any test.
const LONG_LIFE: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_millis(200);

fn impatient() -> TikvOptions {
    TikvOptions::default()
        .patience(PATIENCE)
        .call_timeout(PATIENCE)
}

/// It has more patience than with one request.
fn asking_again() -> TikvOptions {
    TikvOptions::default().call_timeout(PATIENCE)
}

fn opened(options: TikvOptions) -> (Cluster, Arc<TikvStore>, Db) {
    let (cluster, store) = two_regions(options);
    (cluster, store.clone(), Db::new(store))
}

fn begin(db: &Db, options: BeginOptions) -> Transaction {
    let options = BeginOptions {
        lock_ttl: LONG_LIFE,
        on_drop: OnDrop::Silent,
        ..options
    };
    db.blocking().begin(options).unwrap()
}

fn waiting(wait: Duration) -> LockOptions {
    LockOptions {
        wait: Some(Wait::For(wait)),
        ..LockOptions::default()
    }
}

fn at_once() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

fn is_locked(cluster: &Cluster, key: &str) -> bool {
    cluster.locks().iter().any(|lock| lock.key == key)
}

/// A lock that the cluster has granted, of a call that was dropped; its return is not answered until the cluster is healed.
#[track_caller]
fn lock_and_drop(cluster: &Cluster, txn: &Transaction, key: &str) {
    let mut call = pin!(txn.lock_keys([key], waiting(IN_TIME)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    comes(|| is_locked(cluster, key), "the lock is granted");
    cluster.inject_always("KVPessimisticRollback", Fault::Busy);
}

#[track_caller]
fn meets_a_fault(cluster: &Cluster) {
    comes(|| cluster.faults() > 0, "something is sent");
}

/// It does not give up with its patience, and is done once it is answered.
#[track_caller]
fn goes_on_until_it_is_answered(cluster: &Cluster, store: &TikvStore) {
    let many = Instant::now() + 4 * PATIENCE;
    assert!(!store.settle_blocking(many), "{:?}", cluster.locks());
    cluster.heal();
    no_locks_are_left(cluster);
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
}

#[track_caller]
fn ended(txn: &Transaction) -> TxnStatus {
    let until = Instant::now() + IN_TIME;
    loop {
        match txn.blocking().outcome() {
            Ok(TxnStatus::Open) | Err(Error::Store { .. }) => assert!(Instant::now() < until),
            outcome => return outcome.unwrap(),
        }
    }
}

#[track_caller]
fn nothing_is_open(store: &TikvStore) {
    comes(|| store.open_transactions() == 0, "it is told how it ends");
}

#[test]
fn a_second_phase_is_sent_again_and_holds_up_nobody_of_this_process() {
    let (cluster, store, db) = opened(impatient());
    cluster.inject_always("KvCommit", Fault::Busy);
    let txn = begin(&db, BeginOptions::default());
    for key in ["a", "b", "z"] {
        txn.put(key, "v").unwrap();
    }
    txn.blocking().commit().unwrap();
    let next = begin(&db, BeginOptions::default());
    next.blocking().lock_keys(["a"], waiting(IN_TIME)).unwrap();
    assert_eq!(
        next.blocking().get("z").unwrap().as_deref(),
        Some(&b"v"[..])
    );
    next.blocking().rollback().unwrap();
    goes_on_until_it_is_answered(&cluster, &store);
}

#[test]
fn a_lock_whose_return_a_commit_overtakes_is_released_after_it() {
    for keys in [&["a"][..], &["a", "z"]] {
        let (cluster, store, db) = opened(impatient());
        let txn = begin(&db, BeginOptions::default());
        lock_and_drop(&cluster, &txn, "b");
        for key in keys {
            txn.put(key, "v").unwrap();
        }
        let one_phase = txn.blocking().commit().unwrap().one_phase;
        assert_eq!(one_phase, keys.len() == 1);
        goes_on_until_it_is_answered(&cluster, &store);
    }
}

/// It stands at the commit that it was granted over, later than the timestamp that it was asked for at.
#[test]
fn a_forced_lock_of_which_nobody_was_told_is_released() {
    let (cluster, store, db) = opened(impatient());
    let holder = begin(&db, BeginOptions::default());
    holder.blocking().get_for_update("k").unwrap();
    holder.put("k", "v").unwrap();
    let txn = begin(&db, BeginOptions::default());
    txn.fair_begin().unwrap();
    cluster.inject("KvPessimisticLock", Fault::LostAnswer);
    for method in ["KvPessimisticLock", "KVPessimisticRollback"] {
        cluster.inject_always(method, Fault::Busy);
    }
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| txn.blocking().lock_keys(["k"], waiting(5 * PATIENCE)));
        comes(|| cluster.waiting() > 0, "it waits for the holder");
        holder.blocking().commit().unwrap();
        asked.join().unwrap()
    });
    assert!(matches!(answer, Err(Error::Store { .. })), "{answer:?}");
    assert!(txn.blocking().rollback().is_err(), "it is not answered");
    goes_on_until_it_is_answered(&cluster, &store);
}

/// The request that nobody was told of has moved the lock to a later timestamp than the one that was granted.
#[test]
fn a_lock_that_two_calls_asked_for_goes_back_as_late_as_it_stands() {
    for unlocks in [false, true] {
        let (cluster, _, db) = opened(impatient());
        let txn = begin(&db, BeginOptions::default());
        txn.blocking().lock_keys(["p"], waiting(IN_TIME)).unwrap();
        cluster.inject("KvPessimisticLock", Fault::Delay(PATIENCE / 2));
        cluster.inject("KvPessimisticLock", Fault::LostAnswer);
        cluster.inject_always("KvPessimisticLock", Fault::Busy);
        std::thread::scope(|scope| {
            let earlier = scope.spawn(|| txn.blocking().lock_keys(["k"], waiting(IN_TIME)));
            meets_a_fault(&cluster);
            let no_wait = LockOptions {
                wait: Some(Wait::NoWait),
                ..LockOptions::default()
            };
            let later = txn.blocking().lock_keys(["k"], no_wait);
            assert!(matches!(later, Err(Error::Store { .. })), "{later:?}");
            earlier.join().unwrap().unwrap();
        });
        cluster.heal();
        if unlocks {
            txn.blocking().unlock_keys(["k"]).unwrap();
            let held = cluster.locks();
            assert!(held.iter().all(|lock| lock.key == "p"), "{held:?}");
        }
        txn.blocking().rollback().unwrap();
        assert_eq!(cluster.locks(), []);
    }
}

/// Also after a forced call that was not answered, when PD told no timestamp as of which its lock could go back.
#[test]
fn a_late_copy_of_a_return_leaves_a_lock_that_was_taken_anew() {
    let (cluster, _, db) = opened(impatient().patience(5 * PATIENCE));
    let txn = begin(&db, BeginOptions::default());
    txn.blocking().lock_keys(["p"], waiting(IN_TIME)).unwrap();
    txn.fair_begin().unwrap();
    cluster.inject_always("KvPessimisticLock", Fault::LostRequest);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| txn.blocking().lock_keys(["k"], waiting(IN_TIME)));
        meets_a_fault(&cluster);
        cluster.lose_pd(true);
        asked.join().unwrap()
    });
    assert!(matches!(answer, Err(Error::Store { .. })), "{answer:?}");
    cluster.lose_pd(false);
    cluster.heal();
    txn.fair_done().unwrap();
    let take = || txn.blocking().lock_keys(["l"], waiting(IN_TIME));
    take().unwrap();
    cluster.inject("KVPessimisticRollback", Fault::Delay(5 * PATIENCE));
    txn.blocking().unlock_keys(["l"]).unwrap();
    take().unwrap();
    comes(|| cluster.requests() == 0, "the late copy arrives");
    let is_held = |key: &str| cluster.locks().iter().any(|lock| lock.key == key);
    assert!(is_held("p") && is_held("l"), "{:?}", cluster.locks());
    txn.blocking().rollback().unwrap();
    no_locks_are_left(&cluster);
}

/// As in a `select!` whose other branch rolls back.
#[test]
fn a_lock_that_comes_after_the_end_is_released_though_nobody_polls_its_call() {
    for _ in 0..10 {
        let (cluster, store, db) = opened(TikvOptions::default());
        let txn = begin(&db, BeginOptions::default());
        txn.blocking().lock_keys(["p"], waiting(IN_TIME)).unwrap();
        cluster.inject("KvPessimisticLock", Fault::Delay(PATIENCE / 4));
        let mut call = pin!(txn.lock_keys(["k"], waiting(IN_TIME)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        meets_a_fault(&cluster);
        txn.blocking().rollback().unwrap();
        comes(|| cluster.requests() == 0, "the late request arrives");
        let ended = call.as_mut().poll(&mut context);
        assert!(!matches!(ended, Poll::Ready(Ok(_))), "{ended:?}");
        assert!(store.settle_blocking(Instant::now() + IN_TIME));
        assert_eq!(cluster.locks(), []);
    }
}

#[test]
fn a_rollback_that_leaves_a_commit_undetermined_is_sent_again() {
    let (cluster, store, db) = opened(impatient());
    let txn = begin(&db, BeginOptions::optimistic());
    txn.put("a", "v").unwrap();
    txn.put("z", "v").unwrap();
    cluster.inject("KvPrewrite", Fault::Spared);
    for method in ["KvPrewrite", "KvCheckTxnStatus", "KvBatchRollback"] {
        cluster.inject_always(method, Fault::Busy);
    }
    let unknown = txn.blocking().commit();
    assert!(
        matches!(unknown, Err(Error::Undetermined { .. })),
        "{unknown:?}"
    );
    cluster.heal();
    assert_eq!(ended(&txn), TxnStatus::RolledBack);
    no_locks_are_left(&cluster);
    nothing_is_open(&store);
}

#[test]
fn a_commit_that_is_undetermined_is_sent_again() {
    let (cluster, store, db) = opened(impatient().one_phase(false).async_commit(false));
    let txn = begin(&db, BeginOptions::optimistic());
    txn.put("a", "v").unwrap();
    txn.put("z", "v").unwrap();
    cluster.inject_always("KvCommit", Fault::Busy);
    let options = CommitOptions::default().deadline(Instant::now() + 4 * PATIENCE);
    let unknown = txn.blocking().commit_with(options);
    assert!(
        matches!(unknown, Err(Error::Undetermined { .. })),
        "{unknown:?}"
    );
    cluster.heal();
    assert!(matches!(ended(&txn), TxnStatus::Committed(_)));
    no_locks_are_left(&cluster);
    nothing_is_open(&store);
}

#[test]
fn a_commit_that_is_refused_for_good_is_rolled_back() {
    let (cluster, _, db) = opened(impatient().one_phase(false).async_commit(false));
    let txn = begin(&db, BeginOptions::optimistic());
    txn.put("a", "v").unwrap();
    cluster.inject("KvCommit", Fault::TooLarge);
    let refused = txn.blocking().commit();
    assert!(
        matches!(
            refused,
            Err(Error::Store {
                transient: false,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(txn.state(), TxnState::RolledBack);
    no_locks_are_left(&cluster);
}

/// A lock that was granted and let go, and a copy of its request that is on its way still.
fn lock_and_unlock(cluster: &Cluster, txn: &Transaction, key: &str) {
    txn.blocking().lock_keys(["a"], at_once()).unwrap();
    cluster.inject("KvPessimisticLock", Fault::Delay(3 * PATIENCE));
    txn.blocking().lock_keys([key], at_once()).unwrap();
    assert_eq!(txn.blocking().unlock_keys([key]).unwrap(), 1);
}

/// A request that was sent again and granted, and whose first copy arrives after the lock was let go.
#[test]
fn a_late_copy_of_a_lock_request_leaves_no_lock() {
    for is_ended in [false, true] {
        let (cluster, _, db) = opened(asking_again());
        let txn = begin(&db, BeginOptions::default());
        cluster.inject("KvPessimisticLock", Fault::Delay(3 * PATIENCE));
        txn.blocking().lock_keys(["k"], at_once()).unwrap();
        if is_ended {
            txn.blocking().rollback().unwrap();
        } else {
            assert_eq!(txn.blocking().unlock_keys(["k"]).unwrap(), 1);
        }
        assert!(cluster.locks().is_empty());
        comes(|| !cluster.locks().is_empty(), "the late copy is granted");
        no_locks_are_left(&cluster);
    }
}

/// It goes back before that copy is granted, and is asked for when it would go back again.
#[test]
fn a_late_lock_goes_back_also_where_its_key_is_asked_for_meanwhile() {
    let (cluster, _, db) = opened(asking_again());
    let (rival, txn) = (
        begin(&db, BeginOptions::default()),
        begin(&db, BeginOptions::default()),
    );
    rival.blocking().lock_keys(["l"], at_once()).unwrap();
    lock_and_unlock(&cluster, &txn, "k");
    comes(|| is_locked(&cluster, "k"), "the late copy is granted");
    // All or none, and the rival has the other one.
    let both = txn.blocking().lock_keys(["k", "l"], waiting(8 * PATIENCE));
    assert!(both.is_err());
    comes(|| !is_locked(&cluster, "k"), "it goes back");
    assert_eq!(txn.held_locks(), 1);
}

/// A key that may be locked late is put down by a prewrite that passes such a lock.
#[test]
fn a_key_whose_late_lock_stands_is_written() {
    let (cluster, _, db) = opened(asking_again());
    let txn = begin(&db, BeginOptions::default());
    lock_and_unlock(&cluster, &txn, "k");
    comes(|| is_locked(&cluster, "k"), "the late copy is granted");
    txn.put("k", "v").unwrap();
    txn.blocking().commit().unwrap();
    no_locks_are_left(&cluster);
}

/// A forced request is granted over any commit, so it is looked for also after the end.
#[test]
fn a_late_copy_of_a_forced_lock_request_leaves_no_lock_over_its_own_commit() {
    for one_phase in [false, true] {
        let options = asking_again().one_phase(one_phase).async_commit(false);
        let (cluster, _, db) = opened(options);
        let txn = begin(&db, BeginOptions::default());
        txn.fair_begin().unwrap();
        cluster.inject("KvPessimisticLock", Fault::Delay(4 * PATIENCE));
        txn.blocking().lock_keys(["k"], at_once()).unwrap();
        txn.fair_done().unwrap();
        txn.put("k", "v").unwrap();
        txn.blocking().commit().unwrap();
        comes(|| is_locked(&cluster, "k"), "the late copy is granted");
        no_locks_are_left(&cluster);
    }
}

/// As long as it has patience with the cluster, and no longer.
#[test]
fn a_lock_call_that_does_not_wait_does_not_wait_for_what_goes_back() {
    let (cluster, _, db) = opened(asking_again().patience(3 * PATIENCE));
    let txn = begin(&db, BeginOptions::default());
    lock_and_unlock(&cluster, &txn, "k");
    cluster.inject_always("KVPessimisticRollback", Fault::Busy);
    let faults = cluster.faults();
    comes(|| cluster.faults() > faults, "the return is under way");
    let refused = txn.blocking().lock_keys(["k"], at_once());
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
}

/// A lock call waits for what is on its way back, as of whatever timestamp it asks.
#[test]
fn a_late_lock_that_goes_back_takes_none_along_that_is_wanted() {
    let (cluster, store, db) = opened(asking_again());
    let txn = begin(&db, BeginOptions::default());
    lock_and_unlock(&cluster, &txn, "k");
    let faults = cluster.faults();
    cluster.inject("KVPessimisticRollback", Fault::Delay(PATIENCE / 2));
    comes(|| cluster.faults() > faults, "the return is under way");
    let as_of_its_start = LockOptions {
        for_update_ts: ForUpdate::At(txn.start_ts()),
        ..waiting(IN_TIME)
    };
    txn.blocking().lock_keys(["k"], as_of_its_start).unwrap();
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
    assert!(is_locked(&cluster, "k"));
}

/// The keys of the request that was not answered go back, and together.
#[test]
fn an_unanswered_request_of_many_takes_few_requests_to_make_up_for() {
    let (cluster, store, db) = opened(asking_again());
    let txn = begin(&db, BeginOptions::default());
    let keys: Vec<String> = (0..5000).map(|n| format!("k{n:05}")).collect();
    txn.blocking().lock_keys(["a"], at_once()).unwrap();
    cluster.inject("KvPessimisticLock", Fault::LostAnswer);
    txn.blocking().lock_keys(&keys, at_once()).unwrap();
    cluster.inject_always("KVPessimisticRollback", Fault::Delay(Duration::ZERO));
    let faults = cluster.faults();
    txn.blocking().rollback().unwrap();
    assert!(store.settle_blocking(Instant::now() + IN_TIME));
    // 16 KiB in each: two for all of them, one for those of the request.
    assert!(cluster.faults() - faults <= 4, "{}", cluster.faults());
}
