//! One transaction for many tasks, on runtimes and on plain threads (rules 31, 32, 58 to 60). No runtime here has a timer:
//! deadlines and detection come from the crate's own threads.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, KeyFlags, LockOptions, MemStore, Transaction, TxnState};

const TASKS: usize = 16;

fn in_memory() -> (Arc<MemStore>, Db) {
    let store = Arc::new(MemStore::new());
    let db = Db::new(store.clone());
    (store, db)
}

/// On a runtime of two threads and on one of the calling thread alone.
fn on_each_runtime<F: Future<Output = ()>>(body: impl Fn() -> F) {
    for runtime in [
        Builder::new_multi_thread().worker_threads(2),
        &mut Builder::new_current_thread(),
    ] {
        runtime.build().unwrap().block_on(body());
    }
}

fn waiting(wait: Wait) -> LockOptions {
    LockOptions {
        wait: Some(wait),
        ..LockOptions::default()
    }
}

/// Four keys, of which every neighbour has three too.
fn keys_of(task: usize) -> Vec<String> {
    (task..task + 4).map(|key| format!("{key:02}")).collect()
}

async fn lock(txn: &Transaction, key: &str) -> Result<(), Error> {
    txn.lock_keys([key], LockOptions::default()).await.map(drop)
}

/// Lets others run until it is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// What all tasks have locked and written is locked and written once, and one commit carries it.
fn everything_is_there_once(store: &MemStore, txn: &Transaction) {
    let keys = TASKS + 3;
    assert_eq!((store.locks().len(), txn.held_locks()), (keys, keys));
    assert_eq!((txn.len(), txn.size()), (keys, TASKS + 2 * keys));
    let flags = txn.buffer().range_with_flags::<&str>(..);
    assert!(
        flags
            .into_iter()
            .all(|(_, _, flags)| flags.contains(KeyFlags::LOCKED))
    );
}

/// S16.
#[test]
fn tasks_of_one_transaction_lock_overlapping_keys_and_one_commits() {
    on_each_runtime(|| async {
        let (store, db) = in_memory();
        let txn = db.begin(BeginOptions::default()).await.unwrap();
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let txn = txn.clone();
            tasks.spawn(async move {
                let keys = keys_of(task);
                let outcomes = txn.lock_keys(&keys, LockOptions::default()).await.unwrap();
                assert!(outcomes.len() == 4 && outcomes.iter().all(|outcome| outcome.locked));
                txn.put(&keys[0], "v").unwrap();
            });
        }
        tasks.join_all().await;
        everything_is_there_once(&store, &txn);
        assert_eq!(txn.commit().await.unwrap().keys, TASKS + 3);
        assert!(store.locks().is_empty());
        let last = db.snapshot().await.unwrap().get("15").await.unwrap();
        assert_eq!(last.as_deref(), Some(&b"v"[..]));
    });
}

/// S16: the same, where nobody has a runtime.
#[test]
fn threads_of_one_transaction_lock_overlapping_keys_and_one_commits() {
    let (store, db) = in_memory();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    thread::scope(|scope| {
        for task in 0..TASKS {
            let txn = &txn;
            scope.spawn(move || {
                let keys = keys_of(task);
                let locked = txn.blocking().lock_keys(&keys, LockOptions::default());
                assert!(locked.unwrap().iter().all(|outcome| outcome.locked));
                txn.put(&keys[0], "v").unwrap();
            });
        }
    });
    everything_is_there_once(&store, &txn);
    assert_eq!(txn.blocking().commit().unwrap().keys, TASKS + 3);
    assert!(store.locks().is_empty());
}

/// S29.
#[test]
fn tasks_in_a_circle_have_one_victim_and_the_others_commit() {
    on_each_runtime(|| async {
        let (store, db) = in_memory();
        let mut ring = Vec::new();
        for place in 0..4 {
            let txn = db.begin(BeginOptions::default()).await.unwrap();
            lock(&txn, &place.to_string()).await.unwrap();
            ring.push(txn);
        }
        let youngest = ring[3].start_ts();
        let mut tasks = JoinSet::new();
        for (place, txn) in ring.into_iter().enumerate() {
            tasks.spawn(async move {
                let next = ((place + 1) % 4).to_string();
                match txn.lock_keys([next], waiting(Wait::Forever)).await {
                    Ok(_) => txn.commit().await.map(|_| None),
                    Err(Error::Deadlock { cycle, .. }) => {
                        assert_eq!(txn.state(), TxnState::Open);
                        txn.rollback()
                            .await
                            .map(|()| Some((cycle[0].waiter, cycle.len())))
                    }
                    Err(error) => Err(error),
                }
            });
        }
        let ends: Result<Vec<_>, Error> = tasks.join_all().await.into_iter().collect();
        let victims: Vec<_> = ends.unwrap().into_iter().flatten().collect();
        assert_eq!(victims, [(youngest, 4)]);
        assert!(store.locks().is_empty() && store.locks().waiting().is_empty());
    });
}

/// S30, rule 32.
#[test]
fn a_task_that_is_aborted_takes_its_locks_and_its_place_in_the_queue_along() {
    on_each_runtime(|| async {
        let (store, db) = in_memory();
        let holder = db.begin(BeginOptions::default()).await.unwrap();
        lock(&holder, "b").await.unwrap();
        let txn = db.begin(BeginOptions::default()).await.unwrap();
        lock(&txn, "kept").await.unwrap();
        let aborted = tokio::spawn({
            let txn = txn.clone();
            async move {
                txn.lock_keys(["a", "b", "kept"], waiting(Wait::Forever))
                    .await
            }
        });
        until(|| !store.locks().waiting().is_empty()).await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert!(store.locks().waiting().is_empty());
        assert_eq!(
            (txn.len(), txn.held_locks(), store.locks().len()),
            (1, 1, 2)
        );
        holder.rollback().await.unwrap();
        // Nobody has it, and the same transaction may ask again.
        let outcomes = txn.lock_keys(["a", "b"], waiting(Wait::NoWait)).await;
        assert!(
            outcomes
                .unwrap()
                .iter()
                .all(|outcome| !outcome.already_locked)
        );
        assert_eq!(txn.commit().await.unwrap().keys, 3);
        assert!(store.locks().is_empty());
    });
}

/// Rule 58: these runtimes have no timer.
#[test]
fn a_wait_is_over_in_time_on_a_runtime_without_a_timer() {
    on_each_runtime(|| async {
        let db = Db::in_memory();
        let holder = db.begin(BeginOptions::default()).await.unwrap();
        lock(&holder, "k").await.unwrap();
        let txn = db.begin(BeginOptions::default()).await.unwrap();
        let budget = waiting(Wait::For(Duration::from_millis(5)));
        let failed = txn.lock_keys(["k"], budget).await;
        assert!(
            matches!(failed, Err(Error::LockWaitTimeout { holders, .. }) if holders == [holder.start_ts()])
        );
    });
}

/// Rule 58: it holds up the only worker there is, and is woken all the same, by the thread that releases.
#[test]
fn a_blocking_call_inside_of_a_runtime_is_woken_from_outside() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let (store, db) = in_memory();
    let holder = db.blocking().begin(BeginOptions::default()).unwrap();
    let locked = holder.blocking().lock_keys(["k"], LockOptions::default());
    assert_eq!(locked.unwrap().len(), 1);
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            runtime.block_on(async {
                let txn = db.blocking().begin(BeginOptions::default()).unwrap();
                let call = txn.blocking().lock_keys(["k"], waiting(Wait::Forever));
                assert!(call.unwrap()[0].locked);
                txn.blocking().commit().unwrap();
            });
        });
        while store.locks().waiting().is_empty() {
            thread::yield_now();
        }
        holder.blocking().rollback().unwrap();
        call.join().unwrap();
    });
    assert!(store.locks().is_empty());
}

/// Rule 59: with work in the background, and from the thread that runs the runtime.
#[test]
fn a_database_may_be_dropped_inside_of_a_runtime() {
    on_each_runtime(|| async {
        let (store, db) = in_memory();
        let txn = db.begin(BeginOptions::default()).await.unwrap();
        // The heartbeat has a thread run from now on.
        lock(&txn, "k").await.unwrap();
        txn.rollback().await.unwrap();
        drop((txn, db));
        // Nothing but the thread of the database may hold it, and that ends.
        until(|| Arc::strong_count(&store) == 1).await;
    });
}

/// Rule 60.
#[test]
fn a_commit_whose_future_is_dropped_runs_to_its_end() {
    on_each_runtime(|| async {
        let (store, db) = in_memory();
        let holder = db.begin(BeginOptions::default()).await.unwrap();
        lock(&holder, "k").await.unwrap();
        let txn = db.begin(BeginOptions::optimistic()).await.unwrap();
        txn.put("k", "v").unwrap();
        {
            let mut commit = Box::pin(txn.commit());
            let mut context = Context::from_waker(Waker::noop());
            assert!(commit.as_mut().poll(&mut context).is_pending());
        }
        until(|| !store.locks().waiting().is_empty()).await;
        holder.rollback().await.unwrap();
        until(|| store.locks().is_empty()).await;
        let value = db.snapshot().await.unwrap().get("k").await.unwrap();
        assert_eq!(value.as_deref(), Some(&b"v"[..]));
    });
}
