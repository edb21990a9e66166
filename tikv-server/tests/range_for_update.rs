//! A range that locks its rows, over regions, beside a transaction that writes them.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::thread;
use two_regions::{comes, two_regions};
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::TikvOptions;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, RangeLockOptions, Transaction};

fn begin(db: &Db) -> Transaction {
    db.blocking().begin(BeginOptions::default()).unwrap()
}

fn apply(db: &Db, rows: &[(&str, &str)]) {
    let txn = begin(db);
    for (key, value) in rows {
        txn.put(key, value).unwrap();
    }
    txn.blocking().commit().unwrap();
}

fn rows(txn: &Transaction, page: usize) -> Result<Vec<String>, Error> {
    let options = RangeLockOptions {
        page,
        ..RangeLockOptions::default()
    };
    let rows = txn.blocking().range_for_update::<&str>(.., options);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    rows.map(|row| row.map(|(key, value)| format!("{}={}", text(&key), text(&value))))
        .collect()
}

#[test]
fn what_others_have_locked_is_skipped_in_every_region() {
    let (_cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store);
    apply(&db, &["a", "b", "c", "x", "y", "z"].map(|key| (key, "1")));
    let skipping = RangeLockOptions {
        skip_locked: true,
        limit: Some(2),
        ..RangeLockOptions::default()
    };
    let take_two = || {
        let txn = begin(&db);
        let rows = txn
            .blocking()
            .range_for_update::<&str>(.., skipping.clone());
        let keys: Vec<_> = rows.map(|row| row.unwrap().0).collect();
        (txn, keys)
    };
    let (_first, keys) = take_two();
    assert_eq!(keys, ["a", "b"]);
    let (_second, keys) = take_two();
    assert_eq!(keys, ["c", "x"]);
    let (third, keys) = take_two();
    assert_eq!(keys, ["y", "z"]);
    let (_fourth, keys) = take_two();
    assert!(keys.is_empty());
    third.blocking().rollback().unwrap();
    let (_fifth, keys) = take_two();
    assert_eq!(keys, ["y", "z"]);
}

fn no_wait() -> LockOptions {
    LockOptions {
        wait: Some(Wait::NoWait),
        ..LockOptions::default()
    }
}

#[test]
fn only_what_exists_is_locked_also_by_the_first_statement() {
    let (_cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store);
    apply(&db, &[("a", "1"), ("b", "1"), ("y", "1"), ("z", "1")]);

    let rival = begin(&db);
    rival.blocking().get_for_update("a").unwrap();
    rival.delete("a").unwrap();
    let reader = begin(&db);
    let options = RangeLockOptions {
        lock: LockOptions {
            only_if_exists: true,
            ..LockOptions::default()
        },
        ..RangeLockOptions::default()
    };
    thread::scope(|scope| {
        let read = scope.spawn(|| {
            let rows = reader.blocking().range_for_update::<&str>(.., options);
            rows.map(|row| row.unwrap().0).collect::<Vec<_>>()
        });
        // The first row is gone when it is read or when it is locked: the next one stands for the transaction.
        rival.blocking().commit().unwrap();
        assert_eq!(read.join().unwrap(), ["b", "y", "z"]);
    });
    begin(&db).blocking().lock_keys(["a"], no_wait()).unwrap();
    let denied = begin(&db).blocking().lock_keys(["z"], no_wait());
    assert!(matches!(denied, Err(Error::LockNotAvailable { .. })));
    assert_eq!(reader.blocking().commit().unwrap().keys, 3);
}

#[test]
fn it_waits_for_a_writer_and_yields_what_he_has_left() {
    let (cluster, store) = two_regions(TikvOptions::default());
    let db = Db::new(store);
    apply(&db, &[("a", "1"), ("b", "1"), ("y", "1"), ("z", "1")]);

    let writer = begin(&db);
    for key in ["b", "z"] {
        writer.blocking().get_for_update(key).unwrap();
    }
    writer.put("b", "2").unwrap();
    writer.delete("z").unwrap();
    let reader = begin(&db);
    reader.put("x", "own").unwrap();
    thread::scope(|scope| {
        let read = scope.spawn(|| rows(&reader, 2));
        let is_locked = || cluster.locks().iter().any(|lock| lock.key == "a");
        comes(is_locked, "the first row is locked");
        writer.blocking().commit().unwrap();
        let read = read.join().unwrap().unwrap();
        assert_eq!(read, ["a=1", "b=2", "x=own", "y=1"]);
    });
    // All of it is locked now, and shows the same.
    assert_eq!(rows(&reader, 9).unwrap(), ["a=1", "b=2", "x=own", "y=1"]);
    for key in ["a", "b", "x", "y"] {
        let denied = begin(&db).blocking().lock_keys([key], no_wait());
        assert!(matches!(denied, Err(Error::LockNotAvailable { .. })));
    }
}
