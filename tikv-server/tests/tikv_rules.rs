//! Rules of TiKV that a client is easily wrong about.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;
use two_regions::{IN_TIME, another, comes, runtime, two_regions};
use untorn_tikv_server::Fault;
use untorn_txn::store::tikv::TikvOptions;
use untorn_txn::store::{Begin, LockKey, LockTerms, ScanRequest, Store, TxnStatus};
use untorn_txn::{BeginOptions, Db, Error, LockOptions, Transaction};

const IMPATIENT: Duration = Duration::from_millis(200);

/// TiKV takes an upper border that is empty for the first key of all, where a scan goes backwards.
#[test]
fn a_scan_from_the_back_begins_with_the_last_key_of_all() {
    let (_cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store.clone());
    let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    for key in [&b"a"[..], b"z", &[0xff; 40]] {
        txn.put(key, "v").unwrap();
    }
    txn.blocking().commit().unwrap();
    let seen = runtime().block_on(async {
        let everything = ScanRequest {
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            at: store.timestamp().await.unwrap(),
            limit: 10,
            reverse: true,
        };
        store.scan(&everything).await.unwrap()
    });
    let keys: Vec<&[u8]> = seen.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(keys, [&[0xff; 40][..], b"z", b"a"]);
}

/// TiKV does not look again at a key that the transaction holds already: it only tells whether there is a value.
#[test]
fn a_key_that_is_held_and_then_presumed_absent_is_found_to_exist() {
    let (_cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store);
    let before = db.blocking().begin(BeginOptions::default()).unwrap();
    before.put("k", "there").unwrap();
    before.blocking().commit().unwrap();
    let begin = || db.blocking().begin(BeginOptions::default()).unwrap();
    let lock = |txn: &Transaction, return_values| {
        let options = LockOptions {
            return_values,
            ..LockOptions::default()
        };
        txn.blocking().lock_keys(["k"], options).map(drop)
    };

    let is_refused = |answer: Result<(), Error>| matches!(answer, Err(Error::KeyExists { .. }));
    let commit_is_refused = |txn: Transaction| is_refused(txn.blocking().commit().map(drop));

    let asked_again = begin();
    lock(&asked_again, false).unwrap();
    asked_again.insert("k", "again").unwrap();
    assert!(is_refused(lock(&asked_again, false)));
    assert!(commit_is_refused(asked_again));

    let not_asked = begin();
    lock(&not_asked, false).unwrap();
    not_asked.insert("k", "again").unwrap();
    assert!(commit_is_refused(not_asked));

    // What is pending tells an insert nothing.
    let fair = begin();
    fair.fair_begin().unwrap();
    lock(&fair, true).unwrap();
    fair.insert("k", "again").unwrap();
    fair.fair_done().unwrap();
    assert!(commit_is_refused(fair));

    let after = db.blocking().snapshot().unwrap();
    assert_eq!(after.blocking().get("k").unwrap().unwrap(), "there");
}

/// A lock that was left over names a key as its primary that is none any more: it tells nothing of the transaction.
#[test]
fn a_lock_that_names_a_former_primary_is_resolved_without_harm_to_that() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(another(&cluster));
    runtime().block_on(async {
        let start = store.begin(Begin::default()).await.unwrap();
        let brief = Duration::from_millis(1);
        let lock = |primary: &'static str, key: &'static str, attempt, ttl| {
            let terms = LockTerms {
                ttl,
                ..LockTerms::new(primary.into())
            };
            (LockKey::new(key.into(), attempt), terms)
        };
        // "left over" names "was", "was" names "is".
        let (key, terms) = lock("was", "was", 1, brief);
        store.lock(start, &[key], &terms).await.unwrap();
        let (key, terms) = lock("was", "left over", 2, brief);
        store.lock(start, &[key], &terms).await.unwrap();
        store.unlock(start, vec![("was".into(), 1)]).await.unwrap();
        for (name, attempt, ttl) in [("is", 3, IN_TIME), ("was", 4, brief)] {
            let (key, terms) = lock("is", name, attempt, ttl);
            store.lock(start, &[key], &terms).await.unwrap();
        }
        let other = db.blocking().begin(BeginOptions::default()).unwrap();
        other.blocking().get_for_update("left over").unwrap();
        let held = cluster.locks();
        let is_held = |name: &str| {
            held.iter()
                .any(|lock| lock.key == name && lock.lock_version == start)
        };
        assert!(is_held("is") && is_held("was"), "{held:?}");
    });
}

/// Rule 54: a read that is kept needs no cluster, a locking one does.
#[test]
fn a_point_read_that_was_answered_is_not_sent_again() {
    let options = TikvOptions::default().patience(IMPATIENT);
    let limit = options.read_cache;
    assert_eq!(limit, 16 << 20);
    let (cluster, store) = two_regions(options);
    let db = Db::new(store);
    let writer = db.blocking().begin(BeginOptions::default()).unwrap();
    writer.put("a", "1").unwrap();
    writer.blocking().commit().unwrap();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    assert_eq!(txn.blocking().get("a").unwrap().unwrap(), "1");
    assert_eq!(txn.blocking().batch_get(["z"]).unwrap(), [None]);
    for method in ["KvGet", "KvBatchGet"] {
        cluster.inject_always(method, Fault::LostRequest);
    }
    let again = txn.blocking().batch_get(["z", "a", "z"]).unwrap();
    assert_eq!(again, [None, Some("1".into()), None]);
    assert_eq!(txn.blocking().get("z").unwrap(), None);
    let asked = txn.blocking().get("b");
    assert!(matches!(asked, Err(Error::Store { .. })), "{asked:?}");
    let stats = txn.read_cache();
    assert_eq!((stats.limit, stats.keys, stats.hits), (limit, 2, 4));
    let other = db.blocking().begin(BeginOptions::default()).unwrap();
    assert!(other.blocking().get("a").is_err(), "nothing is shared");
    other.blocking().rollback().unwrap();
    txn.blocking().rollback().unwrap();
}

/// The cluster knows nothing of a primary that was given back; that says nothing of its transaction.
#[test]
fn a_transaction_lives_whose_primary_is_given_back_while_it_is_asked_for() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(Arc::clone(&store) as Arc<dyn Store>);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let lock = |key| txn.blocking().lock_keys([key], LockOptions::default());
    lock("a").unwrap();
    cluster.inject("KvCheckTxnStatus", Fault::Delay(IMPATIENT));
    std::thread::scope(|scope| {
        let asks = || runtime().block_on(store.status(txn.start_ts(), "a".into()));
        let status = scope.spawn(asks);
        comes(|| cluster.faults() > 0, "the question is under way");
        txn.blocking().unlock_keys(["a"]).unwrap();
        assert_eq!(status.join().unwrap().unwrap(), TxnStatus::Open);
    });
    lock("b").unwrap();
    txn.put("b", "v").unwrap();
    txn.blocking().commit().unwrap();
}
