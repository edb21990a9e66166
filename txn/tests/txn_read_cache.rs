//! What a transaction has read is kept where the store wants that, and nothing but plain reads sees it (rule 54).
#![allow(clippy::unwrap_used)]

mod scenario;
mod txn_held_store;

use rand::RngExt;
use scenario::{rng, seed};
use std::sync::Arc;
use txn_held_store::HeldStore;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
use untorn_txn::store::{READ_CACHE_OVERHEAD, ReadCacheStats};
use untorn_txn::{BeginOptions, Db, Error, LockOptions, OnDrop, Transaction};

const LIMIT: usize = 1 << 20;

fn keeping(read_cache: usize) -> (Arc<HeldStore>, Db) {
    let store = Arc::new(HeldStore::keeping(read_cache, 0));
    let db = Db::new(store.clone());
    (store, db)
}

fn begin(db: &Db) -> Transaction {
    let options = BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

fn fill(db: &Db, rows: &[(&str, &str)]) {
    let txn = begin(db);
    for (key, value) in rows {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

fn get(txn: &Transaction, key: &str) -> Option<String> {
    let value = txn.blocking().get(key).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn of(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// Keys, hits and misses.
fn figures(stats: ReadCacheStats) -> (usize, u64, u64) {
    (stats.keys, stats.hits, stats.misses)
}

#[test]
fn a_key_that_is_read_again_is_asked_for_once_whether_it_exists_or_not() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    let txn = begin(&db);
    for _ in 0..3 {
        assert_eq!(get(&txn, "a"), of("1"));
        assert_eq!(get(&txn, "absent"), None);
        assert_eq!(get(&txn.clone(), "a"), of("1"));
    }
    assert_eq!((store.read("a"), store.read("absent")), (1, 1));
    let stats = txn.read_cache();
    assert_eq!(figures(stats), (2, 7, 2));
    let bytes = 2 * READ_CACHE_OVERHEAD + "a".len() + "1".len() + "absent".len();
    assert_eq!((stats.bytes, stats.limit), (bytes, LIMIT));
}

#[test]
fn a_batch_asks_for_what_is_not_kept_and_keeps_it() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1"), ("b", "2"), ("c", "3")]);
    let txn = begin(&db);
    txn.put("own", "0").unwrap();
    assert_eq!(get(&txn, "b"), of("2"));
    let keys = ["c", "b", "own", "absent", "b"];
    let expected = ["3", "2", "0", "", "2"].map(|value| (!value.is_empty()).then(|| value.into()));
    for _ in 0..2 {
        assert_eq!(txn.blocking().batch_get(keys).unwrap(), expected);
        assert_eq!(store.reads(), 3);
    }
    assert_eq!(get(&txn, "c"), of("3"));
    assert_eq!(store.reads(), 3);
    assert_eq!(store.read("own"), 0);
}

#[test]
fn a_store_that_wants_nothing_kept_is_asked_each_time() {
    let (store, db) = keeping(0);
    fill(&db, &[("a", "1")]);
    let txn = begin(&db);
    for _ in 0..2 {
        assert_eq!(get(&txn, "a"), of("1"));
        txn.blocking().batch_get(["a"]).unwrap();
    }
    assert_eq!(store.read("a"), 4);
    assert_eq!(txn.read_cache(), ReadCacheStats::default());
    assert_eq!(Db::in_memory().store().read_cache(), 0);
}

#[test]
fn own_writes_hide_what_is_kept_until_they_are_taken_back() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1"), ("b", "1")]);
    let txn = begin(&db);
    assert_eq!((get(&txn, "a"), get(&txn, "b")), (of("1"), of("1")));
    let savepoint = txn.savepoint().unwrap();
    txn.put("a", "own").unwrap();
    txn.delete("b").unwrap();
    assert_eq!((get(&txn, "a"), get(&txn, "b")), (of("own"), None));
    txn.rollback_to(&savepoint).unwrap();
    assert_eq!((get(&txn, "a"), get(&txn, "b")), (of("1"), of("1")));
    assert_eq!(store.reads(), 2);
}

#[test]
fn a_locking_read_is_not_answered_from_what_is_kept_and_leaves_nothing_there() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("read", "1"), ("locked", "1")]);
    let txn = begin(&db);
    assert_eq!(get(&txn, "read"), of("1"));
    fill(&db, &[("read", "2"), ("locked", "2"), ("new", "2")]);
    let newest = |key| txn.blocking().get_for_update(key).unwrap();
    // Under the lock, and looked at once more under a lock that is held.
    for _ in 0..2 {
        for key in ["read", "locked", "new"] {
            assert_eq!(newest(key).as_deref(), Some(&b"2"[..]), "{key}");
        }
    }
    let looked = store.reads();
    assert_eq!(get(&txn, "read"), of("1"));
    assert_eq!(store.reads(), looked, "it was kept");
    // At the start timestamp, and asked for: the lock has left nothing.
    assert_eq!((get(&txn, "locked"), get(&txn, "new")), (of("1"), None));
    assert_eq!(store.reads(), looked + 2);
    assert_eq!(newest("read").as_deref(), Some(&b"2"[..]));
}

#[test]
fn a_lock_of_an_optimistic_transaction_reads_past_what_is_kept() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    let txn = db.blocking().begin(BeginOptions::optimistic()).unwrap();
    let options = || LockOptions {
        return_values: true,
        ..LockOptions::default()
    };
    for asked in 1..3 {
        txn.blocking().lock_keys(["a"], options()).unwrap();
        assert_eq!(store.read("a"), asked);
    }
    assert_eq!(txn.read_cache().keys, 0);
    txn.blocking().rollback().unwrap();
}

#[test]
fn a_range_is_read_from_the_store_and_keeps_nothing() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1"), ("b", "2")]);
    let txn = begin(&db);
    assert_eq!(txn.blocking().range::<&str>(..).count(), 2);
    assert_eq!(txn.read_cache().keys, 0);
    assert_eq!(get(&txn, "a"), of("1"));
    assert_eq!(store.read("a"), 1);
}

#[test]
fn a_statement_view_reads_what_its_transaction_has_kept() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    let txn = begin(&db);
    assert_eq!(get(&txn, "a"), of("1"));
    let view = txn.statement_view().unwrap();
    txn.put("a", "own").unwrap();
    assert_eq!(view.blocking().get("a").unwrap().unwrap(), "1");
    assert_eq!(store.read("a"), 1);
    txn.put("later", "own").unwrap();
    for _ in 0..2 {
        let values = view.blocking().batch_get(["later", "a"]).unwrap();
        assert_eq!(values, [None, of("1").map(Into::into)]);
    }
    assert_eq!(store.batches(), [1]);
}

#[test]
fn a_snapshot_keeps_what_it_has_read_for_all_its_clones() {
    let (store, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(view.blocking().get("a").unwrap().unwrap(), "1");
    fill(&db, &[("a", "2")]);
    assert_eq!(view.clone().blocking().get("a").unwrap().unwrap(), "1");
    assert_eq!(store.read("a"), 1);
    assert_eq!(figures(view.read_cache()), (1, 1, 1));
    for _ in 0..2 {
        let values = view.blocking().batch_get(["absent", "a"]).unwrap();
        assert_eq!(values, [None, Some("1".into())]);
    }
    assert_eq!(store.batches(), [1]);
    let later = db.blocking().snapshot().unwrap();
    assert_eq!(later.blocking().get("a").unwrap().unwrap(), "2");
}

#[test]
fn nothing_is_kept_of_a_transaction_that_has_ended() {
    let (_, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    for commits in [true, false] {
        let txn = begin(&db);
        assert_eq!(get(&txn, "a"), of("1"));
        if commits {
            txn.blocking().commit().unwrap();
        } else {
            txn.blocking().rollback().unwrap();
        }
        assert_eq!(txn.read_cache().bytes, 0);
        assert!(matches!(
            txn.blocking().get("a"),
            Err(Error::TransactionClosed { .. })
        ));
    }
}

#[test]
fn a_read_that_failed_is_not_kept() {
    let (inner, db) = keeping(LIMIT);
    fill(&db, &[("a", "1")]);
    let store = Arc::new(FaultyStore::new(inner.clone(), FaultPlan::new(1)));
    let db = Db::new(store.clone());
    let txn = begin(&db);
    for fault in [Fault::Error, Fault::LostRequest, Fault::LostAnswer] {
        store.inject(Request::Get, fault);
        let failed = txn.blocking().get("a");
        assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
        store.inject(Request::Get, fault);
        let failed = txn.blocking().batch_get(["a", "b"]);
        assert!(matches!(failed, Err(Error::Store { .. })), "{failed:?}");
        assert_eq!(txn.read_cache().keys, 0);
    }
    assert_eq!(get(&txn, "a"), of("1"));
    // Kept: whatever is wrong with the store does not matter any more.
    store.inject(Request::Get, Fault::Error);
    assert_eq!(get(&txn, "a"), of("1"));
    assert!(txn.blocking().get("b").is_err());
}

/// The bound holds at each moment, answers are the same with anything kept or gone, and what has no room at all is
/// handed out all the same.
#[test]
fn threads_that_read_more_than_there_is_room_for_read_what_is_there() {
    const KEYS: usize = 400;
    const READS: usize = 2_000;
    let name = "threads_that_read_more_than_there_is_room_for_read_what_is_there";
    let seed = seed(name);
    let limit = 64 << 10;
    let (store, db) = keeping(limit);
    // Some 400 bytes with each key, and a value in twenty that is larger than all the room.
    let value = |key: usize| match key % 20 {
        0 => None,
        1 => Some(vec![key as u8; limit + key]),
        length => Some(vec![key as u8; 10 * length]),
    };
    let writer = begin(&db);
    for key in 0..KEYS {
        if let Some(value) = value(key) {
            writer.put(format!("{key:03}"), value).unwrap();
        }
    }
    writer.blocking().commit().unwrap();
    let txn = begin(&db);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let txn = &txn;
            scope.spawn(move || {
                let mut rng = rng(seed, thread);
                let mut key = || match rng.random_range(0..KEYS) {
                    often if often % 4 == 0 => often % 40,
                    key => key,
                };
                for _ in 0..READS {
                    let (one, two) = (key(), key());
                    let found = txn.blocking().get(format!("{one:03}")).unwrap();
                    assert_eq!(found.as_deref(), value(one).as_deref(), "{one}");
                    let both = [one, two].map(|key| format!("{key:03}"));
                    let found = txn.blocking().batch_get(both).unwrap();
                    assert_eq!(found[0].as_deref(), value(one).as_deref(), "{one}");
                    assert_eq!(found[1].as_deref(), value(two).as_deref(), "{two}");
                    let stats = txn.read_cache();
                    assert!(stats.bytes <= limit, "{stats:?}");
                }
            });
        }
    });
    let stats = txn.read_cache();
    println!("{name}: {stats:?}");
    assert!(stats.bytes > limit / 2 && stats.keys < KEYS, "{stats:?}");
    assert!(stats.hits > 0);
    assert_eq!(stats.hits + stats.misses, 4 * READS as u64 * 3);
    assert_eq!(store.reads() as u64, stats.misses);
}
