//! Prewrites: what they may decide, and that a transaction is decided once where they come twice, late, after their region
//! was cut or their transaction taken for dead.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::time::Duration;
use two_regions::{
    another, comes, newest, no_locks_are_left, put, runtime, told, two_regions, value,
};
use untorn_tikv_server::Fault;
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::TikvOptions;
use untorn_txn::store::{
    Begin, Guard, LockKey, LockTerms, Mutation, MutationOp, Prewrite, Prewritten, Store, TxnStatus,
};
use untorn_txn::{BeginOptions, Db, Error};

const IMPATIENT: Duration = Duration::from_millis(200);

/// Whoever meets the locks of an async commit takes the largest of their timestamps: the client has to take the same,
/// however often it has asked.
#[test]
fn a_prewrite_that_comes_again_commits_at_what_its_locks_say() {
    let options = TikvOptions::default().patience(IMPATIENT).one_phase(false);
    let (cluster, store) = two_regions(options);
    cluster.inject_always("KvPrewrite", Fault::LostAnswer);
    cluster.inject_always("KvCommit", Fault::LostRequest);
    runtime().block_on(async {
        let start = told(async || store.begin(Begin::default()).await)
            .await
            .unwrap();
        let request = Prewrite::new(vec![put("a"), put("z")]);
        let unknown = store.prewrite(start, &request).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        cluster.heal();
        cluster.inject_always("KvCommit", Fault::LostRequest);
        let decided = told(async || store.prewrite(start, &request).await)
            .await
            .unwrap();
        let Prewritten::Committed { at, .. } = decided else {
            panic!("both regions take part: {decided:?}");
        };
        let told = cluster.locks().iter().map(|lock| lock.min_commit_ts).max();
        assert_eq!(told, Some(at));
    });
}

/// A commit in one request that was carried out, unanswered, and whose region was cut before it was sent again.
#[test]
fn a_commit_of_one_request_whose_region_was_cut_is_told_as_it_was() {
    let options = TikvOptions::default().async_commit(false);
    let (cluster, store) = two_regions(options);
    cluster.inject("KvPrewrite", Fault::LostAnswer);
    cluster.inject_always("KvPrewrite", Fault::Busy);
    let db = Db::new(store.clone());
    let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    txn.put("a", "v").unwrap();
    txn.put("c", "v").unwrap();
    let info = std::thread::scope(|scope| {
        let committing = scope.spawn(|| txn.blocking().commit().unwrap());
        comes(|| cluster.faults() >= 2, "it is sent again");
        cluster.split("b");
        cluster.heal();
        committing.join().unwrap()
    });
    let at = info.commit_ts.unwrap();
    runtime().block_on(async {
        assert!(value(&store, "a", at).await.is_some());
        assert_eq!(value(&store, "a", at - 1).await, None);
        assert_eq!(value(&store, "c", at - 1).await, None);
    });
}

/// What was told to be rolled back stays so, whatever comes late.
#[test]
fn a_prewrite_that_comes_after_the_status_was_told_is_refused() {
    let options = TikvOptions::default()
        .patience(IMPATIENT)
        .call_timeout(IMPATIENT / 2);
    let (cluster, store) = two_regions(options);
    cluster.inject_always("KvPrewrite", Fault::Delay(3 * IMPATIENT));
    cluster.inject_always("KvBatchRollback", Fault::LostRequest);
    runtime().block_on(async {
        let start = told(async || store.begin(Begin::default()).await)
            .await
            .unwrap();
        let request = Prewrite::new(vec![put("a")]);
        let unknown = store.prewrite(start, &request).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        let status = told(async || store.status(start, "a".into()).await)
            .await
            .unwrap();
        comes(|| cluster.requests() == 0, "every copy is carried out");
        let other = another(&cluster);
        let is_there = newest(&other, "a").await.is_some();
        match status {
            TxnStatus::Committed(_) => assert!(is_there),
            TxnStatus::RolledBack => assert!(!is_there),
            other => panic!("nothing is under way that could tell: {other:?}"),
        }
    });
}

/// One region declines async commit after the other has taken it: it is a commit of two phases, also to who meets the locks.
#[test]
fn a_region_that_declines_alone_leaves_the_decision_to_the_primary() {
    for is_committed in [true, false] {
        let (cluster, store) = two_regions(TikvOptions::default().one_phase(false));
        cluster.inject("KvPrewrite", Fault::Spared);
        cluster.inject("KvPrewrite", Fault::Delay(IMPATIENT));
        let start = runtime().block_on(store.begin(Begin::default())).unwrap();
        let brief = Prewrite {
            ttl: Duration::from_millis(1),
            ..Prewrite::new(vec![put("a"), put("z")])
        };
        std::thread::scope(|scope| {
            let prewritten = scope.spawn(|| runtime().block_on(store.prewrite(start, &brief)));
            comes(|| !cluster.locks().is_empty(), "one region is not delayed");
            cluster.decide_in_prewrite(false);
            assert_eq!(prewritten.join().unwrap().unwrap(), Prewritten::Undecided);
        });
        let asynchronous = cluster.locks();
        let asynchronous = asynchronous.iter().filter(|lock| lock.use_async_commit);
        assert_eq!(asynchronous.count(), 1);
        let other = another(&cluster);
        runtime().block_on(async {
            if is_committed {
                store.commit(start).await.unwrap();
            }
            for key in ["z", "a"] {
                assert_eq!(newest(&other, key).await.is_some(), is_committed, "{key}");
            }
            let again = store.commit(start).await;
            assert_eq!(again.is_ok(), is_committed, "{again:?}");
        });
    }
}

/// TiKV tells a pessimistic transaction nothing of how long the lock lives that its prewrite meets.
#[test]
fn a_live_transaction_is_not_ended_by_a_pessimistic_prewrite() {
    let options = TikvOptions::default().async_commit(false).one_phase(false);
    let (_cluster, store) = two_regions(options);
    runtime().block_on(async {
        let live = store.begin(Begin::default()).await.unwrap();
        let request = Prewrite::new(vec![put("a"), put("z")]);
        store.prewrite(live, &request).await.unwrap();
        let start = store.begin(Begin::default()).await.unwrap();
        let terms = LockTerms::new("b".into());
        let keys = [LockKey::new("b".into(), 1)];
        store.lock(start, &keys, &terms).await.unwrap();
        let held = Mutation {
            guard: Guard::Locked,
            ..put("b")
        };
        let refused = store
            .prewrite(start, &Prewrite::new(vec![held, put("z")]))
            .await;
        assert!(
            matches!(refused, Err(Error::LockNotAvailable { .. })),
            "{refused:?}"
        );
        store.rollback(start).await.unwrap();
        let at = store.commit(live).await.unwrap();
        assert!(value(&store, "z", at).await.is_some());
    });
}

/// Rule 54: the primary's lock would have to name them all.
#[test]
fn more_or_longer_keys_than_a_lock_may_name_are_committed_in_two_phases() {
    let (_cluster, store) = two_regions(TikvOptions::default());
    let is_decided = |keys: Vec<String>| {
        let put = |key: String| Mutation::new(key.into(), MutationOp::Put("v".into()));
        let request = Prewrite::new(keys.into_iter().map(put).collect());
        runtime().block_on(async {
            let start = store.begin(Begin::default()).await.unwrap();
            let prewritten = store.prewrite(start, &request).await.unwrap();
            store.rollback(start).await.ok();
            matches!(prewritten, Prewritten::Committed { .. })
        })
    };
    // In both regions, so that one request is never enough.
    let keys = |name: &str, count: usize, length: usize| -> Vec<String> {
        let key = |at: usize| format!("{}{name}{at:0>length$}", ["a", "z"][at % 2]);
        (0..count).map(key).collect()
    };
    assert!(is_decided(keys("few", 256, 5)));
    assert!(!is_decided(keys("many", 257, 5)));
    assert!(is_decided(keys("s", 2, 2046)));
    assert!(!is_decided(keys("l", 2, 2047)));
}

/// A key that was inserted and deleted again leaves no lock, so the locks of the others do not tell that it was absent.
#[test]
fn a_check_that_fails_ends_the_transaction_also_where_a_prewrite_comes_again() {
    for fault in [Fault::Busy, Fault::LostRequest, Fault::LostAnswer] {
        let (cluster, store) = two_regions(TikvOptions::default());
        let db = Db::new(store);
        let before = db.blocking().begin(BeginOptions::default()).unwrap();
        before.put("z", "v").unwrap();
        before.blocking().commit().unwrap();
        no_locks_are_left(&cluster);
        let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
        txn.put("a", "v").unwrap();
        txn.insert("z", "v").unwrap();
        txn.delete("z").unwrap();
        cluster.inject("KvPrewrite", fault);
        let refused = txn.blocking().commit();
        assert!(
            matches!(refused, Err(Error::KeyExists { .. })),
            "{refused:?}"
        );
        let after = db.blocking().snapshot().unwrap();
        assert_eq!(after.blocking().get("a").unwrap(), None);
    }
}

/// Each has put down what the other wants, and would wait for it without end.
#[test]
fn of_two_prewrites_that_wait_for_each_other_the_younger_gives_up() {
    let options = TikvOptions::default().async_commit(false).one_phase(false);
    let (cluster, store) = two_regions(options);
    let prewrite = |primary: &'static str, keys: &[&'static str]| Prewrite {
        primary: primary.into(),
        wait: Wait::Forever,
        ..Prewrite::new(keys.iter().map(|key| put(key)).collect())
    };
    let (first, second) = (prewrite("a", &["a", "z"]), prewrite("z", &["a", "z"]));
    let begin = || runtime().block_on(store.begin(Begin::default())).unwrap();
    let (older, younger) = (begin(), begin());
    let put_down = runtime().block_on(store.prewrite(younger, &prewrite("z", &["z"])));
    assert_eq!(put_down.unwrap(), Prewritten::Undecided);
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| runtime().block_on(store.prewrite(older, &first)));
        let is_put_down = || cluster.locks().iter().any(|lock| lock.key == "a");
        comes(is_put_down, "the older one puts down its own");
        let gives_up = runtime().block_on(store.prewrite(younger, &second));
        let Err(Error::LockWaitTimeout { key, holders, .. }) = gives_up else {
            panic!("{gives_up:?}");
        };
        assert_eq!((key, holders), ("a".into(), vec![older]));
        runtime().block_on(store.rollback(younger)).unwrap();
        waits.join().unwrap()
    });
    assert_eq!(waits.unwrap(), Prewritten::Undecided);
    runtime().block_on(store.commit(older)).unwrap();
}
