//! Writes that TiKV is not to check: no commit of others is a conflict, and the end of their own transaction stays what it was.
#![allow(clippy::unwrap_used)]

mod two_regions;

use bytes::Bytes;
use std::time::Duration;
use two_regions::{
    IN_TIME, another, comes, newest, no_locks_are_left, put, runtime, told, two_regions, value,
};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{
    Begin, Guard, LockKey, LockTerms, Mutation, Prewrite, Prewritten, Store, Timestamp,
};
use untorn_txn::{BeginOptions, Db, Error, UnlockedWrites};

const IMPATIENT: Duration = Duration::from_millis(200);

fn trusted(key: &'static str) -> Mutation {
    Mutation {
        guard: Guard::Trusted,
        ..put(key)
    }
}

/// Two keys, of a transaction that is taken for dead by whoever meets them.
fn brief(keys: [&'static str; 2]) -> Prewrite {
    Prewrite {
        ttl: Duration::from_millis(1),
        ..Prewrite::new(keys.map(trusted).to_vec())
    }
}

/// It is carried out, and no answer comes.
async fn put_down(cluster: &Cluster, store: &TikvStore, start: Timestamp, request: &Prewrite) {
    cluster.inject_always("KvPrewrite", Fault::LostAnswer);
    let unknown = store.prewrite(start, request).await;
    assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
    cluster.heal();
}

/// It comes again, and its transaction is over.
async fn is_closed(store: &TikvStore, start: Timestamp, request: &Prewrite) {
    let ended = told(async || store.prewrite(start, request).await).await;
    assert!(
        matches!(ended, Err(Error::TransactionClosed { .. })),
        "{ended:?}"
    );
}

/// "a" was written over what a rival had committed, and "b" where nothing was.
async fn commits_over_the_rival(store: &TikvStore, start: Timestamp) {
    let at = store.commit(start).await.unwrap();
    for (key, before) in [("a", Some(Bytes::from("rival"))), ("b", None)] {
        assert_eq!(value(store, key, at).await.as_deref(), Some(&b"v"[..]));
        assert_eq!(value(store, key, at - 1).await, before);
    }
}

fn rival_commits(db: &Db, keys: &[&str]) {
    let rival = db.blocking().begin(BeginOptions::default()).unwrap();
    for key in keys {
        rival.put(key, "rival").unwrap();
    }
    rival.blocking().commit().unwrap();
}

#[test]
fn a_trusted_write_that_is_sent_again_is_no_conflict() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        rival_commits(&db, &["a"]);
        cluster.inject("KvPrewrite", Fault::LostRequest);
        let request = Prewrite::new(vec![trusted("a"), trusted("b")]);
        let prewritten = store.prewrite(start, &request).await.unwrap();
        assert_eq!(prewritten, Prewritten::Undecided);
        commits_over_the_rival(&store, start).await;
    });
}

/// Newer than the timestamp as of which the request was made, so that it is refused: the keys are locked first.
#[test]
fn a_trusted_write_is_put_down_over_a_commit_that_came_while_it_was_on_its_way() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    let begin = store.begin(Begin::default());
    let start = runtime().block_on(begin).unwrap();
    cluster.inject("KvPrewrite", Fault::Delay(Duration::from_secs(4)));
    let request = Prewrite::new(vec![trusted("a"), trusted("b")]);
    let prewritten = std::thread::scope(|scope| {
        let prewriting = scope.spawn(|| runtime().block_on(store.prewrite(start, &request)));
        comes(|| cluster.faults() > 0, "it is on its way");
        rival_commits(&db, &["a"]);
        prewriting.join().unwrap()
    });
    assert_eq!(prewritten.unwrap(), Prewritten::Undecided);
    runtime().block_on(commits_over_the_rival(&store, start));
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
        let brief = brief(["a", "z"]);
        put_down(&cluster, &store, start, &brief).await;
        let rival = other.begin(Begin::default()).await.unwrap();
        let written = other.prewrite(rival, &Prewrite::new(vec![put("a")])).await;
        assert!(matches!(written, Ok(Prewritten::Committed { .. })));
        is_closed(&store, start, &brief).await;
        assert_eq!(newest(&other, "z").await, None);
    });
}

/// Locks that it took meanwhile, where others had written, make it no newer.
#[test]
fn a_trusted_write_that_has_locked_some_of_its_keys_stays_rolled_back() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    let begin = store.begin(Begin::default());
    let start = runtime().block_on(begin).unwrap();
    let brief = brief(["a", "z"]);
    cluster.inject("KvPrewrite", Fault::Spared);
    cluster.inject("KvPrewrite", Fault::Delay(Duration::from_secs(1)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Whether the primary or the other key is late, it does not know of its end yet, or does.
            let _ = runtime().block_on(store.prewrite(start, &brief));
        });
        comes(|| !cluster.locks().is_empty(), "one is put down");
        rival_commits(&db, &["a", "z"]);
    });
    runtime().block_on(is_closed(&store, start, &brief));
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
        let brief = brief(["a", "b"]);
        put_down(&cluster, &store, start, &brief).await;
        let other = another(&cluster);
        assert_eq!(newest(&other, "a").await, None);
        is_closed(&store, start, &brief).await;
        assert_eq!(newest(&other, "b").await, None);
    });
}
