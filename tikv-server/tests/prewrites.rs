//! Prewrites: what they may decide, and that a transaction is decided once where they come twice, late, after their region
//! was cut or their transaction taken for dead.
#![allow(clippy::unwrap_used)]

mod two_regions;

use bytes::Bytes;
use std::time::{Duration, Instant};
use two_regions::{IN_TIME, another, comes, no_locks_are_left, runtime, two_regions};
use untorn_tikv_server::Fault;
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{
    Begin, Guard, LockKey, LockTerms, Mutation, MutationOp, Prewrite, Prewritten, Store, Timestamp,
    TxnStatus,
};
use untorn_txn::{BeginOptions, Db, Error, UnlockedWrites};

const IMPATIENT: Duration = Duration::from_millis(200);

fn put(key: &'static str) -> Mutation {
    Mutation::new(key.into(), MutationOp::Put("v".into()))
}

fn trusted(key: &'static str) -> Mutation {
    Mutation {
        guard: Guard::Trusted,
        ..put(key)
    }
}

/// The answer of a store that has hardly the patience for any.
async fn told<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let until = Instant::now() + IN_TIME;
    loop {
        match ask().await {
            Err(Error::Store { .. }) if Instant::now() < until => {}
            answer => return answer,
        }
    }
}

async fn value(store: &TikvStore, key: &str, at: Timestamp) -> Option<Bytes> {
    store.get(key.as_bytes(), at).await.unwrap()
}

async fn newest(store: &TikvStore, key: &str) -> Option<Bytes> {
    let now = store.timestamp().await.unwrap();
    value(store, key, now).await
}

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

#[test]
fn a_trusted_write_that_is_sent_again_is_no_conflict() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let rival = db.blocking().begin(BeginOptions::default()).unwrap();
        rival.put("a", "rival").unwrap();
        rival.blocking().commit().unwrap();
        cluster.inject("KvPrewrite", Fault::LostRequest);
        let request = Prewrite::new(vec![trusted("a"), trusted("b")]);
        let prewritten = store.prewrite(start, &request).await.unwrap();
        assert_eq!(prewritten, Prewritten::Undecided);
        let at = store.commit(start).await.unwrap();
        for (key, before) in [("a", Some(Bytes::from("rival"))), ("b", None)] {
            assert_eq!(value(&store, key, at).await.as_deref(), Some(&b"v"[..]));
            assert_eq!(value(&store, key, at - 1).await, before);
        }
    });
}

/// Newer than the timestamp as of which the request was made, so that it is refused: the keys are locked first.
#[test]
fn a_trusted_write_is_put_down_over_a_commit_that_came_while_it_was_on_its_way() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    let begin = store.begin(Begin::default());
    let start = runtime().block_on(begin).unwrap();
    cluster.inject("KvPrewrite", Fault::Delay(Duration::from_secs(1)));
    let request = Prewrite::new(vec![trusted("a"), trusted("b")]);
    let prewritten = std::thread::scope(|scope| {
        let prewriting = scope.spawn(|| runtime().block_on(store.prewrite(start, &request)));
        comes(|| cluster.faults() > 0, "it is on its way");
        let rival = db.blocking().begin(BeginOptions::default()).unwrap();
        rival.put("a", "rival").unwrap();
        rival.blocking().commit().unwrap();
        prewriting.join().unwrap()
    });
    assert_eq!(prewritten.unwrap(), Prewritten::Undecided);
    runtime().block_on(async {
        let at = store.commit(start).await.unwrap();
        for (key, before) in [("a", Some(Bytes::from("rival"))), ("b", None)] {
            assert_eq!(value(&store, key, at).await.as_deref(), Some(&b"v"[..]));
            assert_eq!(value(&store, key, at - 1).await, before);
        }
    });
    no_locks_are_left(&cluster);
}

/// If the primary were locked anew after its end, half of the transaction would be read, and lost in the end.
#[test]
fn a_trusted_write_whose_request_comes_late_stays_committed() {
    let options = TikvOptions::default().call_timeout(IMPATIENT);
    let (cluster, store) = two_regions(options);
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        for _ in ["a", "z"] {
            cluster.inject("KvPrewrite", Fault::Delay(2 * IMPATIENT));
        }
        let request = Prewrite::new(vec![trusted("a"), trusted("z")]);
        let prewritten = store.prewrite(start, &request).await.unwrap();
        assert_eq!(prewritten, Prewritten::Undecided);
        cluster.inject("KvCommit", Fault::Spared); // the primary's
        cluster.inject_always("KvCommit", Fault::LostRequest);
        let at = store.commit(start).await.unwrap();
        // The late ones, too.
        comes(|| cluster.requests() == 0, "the last answer");
        let other = another(&cluster);
        for key in ["a", "z"] {
            assert_eq!(value(&other, key, at).await.as_deref(), Some(&b"v"[..]));
        }
        no_locks_are_left(&cluster);
    });
}

/// Its key may be written by others then: as of a newer timestamp than theirs, its end would not be seen.
#[test]
fn a_trusted_write_whose_key_was_written_after_it_was_taken_for_dead_stays_rolled_back() {
    let (cluster, store) = two_regions(TikvOptions::default().patience(IMPATIENT));
    let other = another(&cluster);
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let brief = Prewrite {
            ttl: Duration::from_millis(1),
            ..Prewrite::new(vec![trusted("a"), trusted("z")])
        };
        cluster.inject_always("KvPrewrite", Fault::LostAnswer);
        let unknown = store.prewrite(start, &brief).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        cluster.heal();
        let rival = other.begin(Begin::default()).await.unwrap();
        let written = other.prewrite(rival, &Prewrite::new(vec![put("a")])).await;
        assert!(matches!(written, Ok(Prewritten::Committed { .. })));
        let ended = told(async || store.prewrite(start, &brief).await).await;
        assert!(
            matches!(ended, Err(Error::TransactionClosed { .. })),
            "{ended:?}"
        );
        assert_eq!(newest(&other, "z").await, None);
    });
}

/// A commit that was not answered has its keys locked by no prewrite that comes again.
#[test]
fn a_trusted_write_that_comes_again_after_its_commit_stays_committed() {
    let (cluster, store) = two_regions(TikvOptions::default().patience(IMPATIENT));
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let request = Prewrite::new(vec![trusted("a")]);
        assert!(store.prewrite(start, &request).await.is_ok());
        cluster.inject_always("KvCommit", Fault::LostAnswer);
        let unknown = store.commit(start).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        cluster.heal();
        assert!(cluster.locks().is_empty());
        assert!(store.prewrite(start, &request).await.is_ok());
        assert!(cluster.locks().is_empty());
        let at = store.commit(start).await.unwrap();
        assert_eq!(value(&store, "a", at).await.as_deref(), Some(&b"v"[..]));
    });
}

/// Each waits for the other's lock, and so meets a commit that is newer than its own request.
#[test]
fn trusted_writes_of_one_key_all_commit() {
    const EACH: usize = 30;
    let (_cluster, store) = two_regions(TikvOptions::default());
    let options = BeginOptions {
        unlocked_writes: UnlockedWrites::Trusted,
        ..BeginOptions::default()
    };
    std::thread::scope(|scope| {
        for row in ["row 1", "row 2", "row 3"] {
            let (db, options) = (Db::new(store.clone()), options.clone());
            scope.spawn(move || {
                for _ in 0..EACH {
                    let txn = db.blocking().begin(options.clone()).unwrap();
                    txn.blocking().get_for_update(row).unwrap();
                    txn.put(row, "v").unwrap();
                    txn.put("hot", row).unwrap();
                    txn.blocking().commit().unwrap();
                }
            });
        }
    });
}

/// It is no conflict to who trusts, and no lock of others is waited for.
#[test]
fn a_lock_that_is_lost_beside_a_trusted_write_is_told_at_once() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let other = another(&cluster);
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let lock = async |store: &TikvStore, start, key: &'static str, ttl| {
            let terms = LockTerms {
                ttl,
                wait: Wait::For(IN_TIME),
                ..LockTerms::new("d".into())
            };
            let asked = [LockKey::new(key.into(), 1)];
            let locked = store.lock(start, &asked, &terms).await.unwrap();
            assert!(locked[0].as_ref().unwrap().locked);
        };
        lock(&store, start, "d", Duration::from_millis(1)).await;
        let rival = other.begin(Begin::default()).await.unwrap();
        for key in ["d", "e"] {
            lock(&other, rival, key, IN_TIME).await;
        }
        let locked = Mutation {
            guard: Guard::Locked,
            ..put("d")
        };
        let request = Prewrite {
            wait: Wait::Forever,
            ..Prewrite::new(vec![locked, trusted("e")])
        };
        let lost = store.prewrite(start, &request).await;
        assert!(matches!(lost, Err(Error::LockLost { .. })), "{lost:?}");
    });
}

/// Else what is not checked would be put down over its own end.
#[test]
fn a_trusted_write_that_was_taken_for_dead_stays_rolled_back() {
    let (cluster, store) = two_regions(TikvOptions::default().patience(IMPATIENT));
    runtime().block_on(async {
        let start = told(async || store.begin(Begin::default()).await)
            .await
            .unwrap();
        let brief = Prewrite {
            ttl: Duration::from_millis(1),
            ..Prewrite::new(vec![trusted("a"), trusted("b")])
        };
        cluster.inject_always("KvPrewrite", Fault::LostAnswer);
        let unknown = store.prewrite(start, &brief).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        cluster.heal();
        let other = another(&cluster);
        assert_eq!(newest(&other, "a").await, None);
        let ended = told(async || store.prewrite(start, &brief).await).await;
        assert!(
            matches!(ended, Err(Error::TransactionClosed { .. })),
            "{ended:?}"
        );
        assert_eq!(newest(&other, "b").await, None);
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
