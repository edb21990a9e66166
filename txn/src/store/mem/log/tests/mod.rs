//! The log on a disk that fails, waits and forgets.

mod checkpoints;
mod crashes;
mod disk;
mod failures;
mod groups;
mod tails;

use super::{LogOptions, OpenError, SyncMode, open_in};
use crate::store::Begin;
use crate::store::mem::MemStore;
use crate::transaction::block_on;
use crate::{BeginOptions, Db, Error, Store, Timestamp};
use disk::Disk;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::sync::Arc;

fn open(disk: &Disk, options: LogOptions) -> Result<Arc<MemStore>, OpenError> {
    let (core, thread) = open_in(Arc::new(disk.clone()), options)?;
    Ok(Arc::new(MemStore {
        core,
        log: Some(thread),
    }))
}

fn opened(disk: &Disk) -> (Arc<MemStore>, Db) {
    let store = open(disk, LogOptions::default()).unwrap();
    let db = Db::new(store.clone());
    (store, db)
}

/// One commit that writes one key.
fn put(db: &Db, key: &str, value: &str) -> Result<Timestamp, Error> {
    let txn = db.blocking().begin(BeginOptions::default())?;
    txn.put(key, value)?;
    Ok(txn.blocking().commit()?.commit_ts.unwrap())
}

fn value(db: &Db, key: &str) -> Option<String> {
    let view = db.blocking().snapshot().unwrap();
    let value = view.blocking().get(key).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn contents(db: &Db) -> Vec<(String, String)> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let view = db.blocking().snapshot().unwrap();
    let pairs = view.blocking().range::<&[u8]>(..).map(Result::unwrap);
    pairs.map(|(key, value)| (text(key), text(value))).collect()
}

fn seeded(scenario: &str) -> SmallRng {
    let seed = match std::env::var("UNTORN_SEED") {
        Ok(given) => given.parse().expect("UNTORN_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{scenario}: UNTORN_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// The name of the first segment.
const FIRST: &str = "0000000000000001.log";

#[test]
fn a_store_that_is_opened_again_has_what_was_committed_and_nothing_else() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    put(&db, "a", "1").unwrap();
    put(&db, "b", "1").unwrap();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("a", "2").unwrap();
    txn.delete("b").unwrap();
    txn.blocking().commit().unwrap();
    let open_one = db.blocking().begin(BeginOptions::default()).unwrap();
    open_one.blocking().get_for_update("a").unwrap();
    open_one.put("c", "1").unwrap();
    drop((txn, open_one, db, store));

    let (store, db) = opened(&disk);
    assert_eq!(contents(&db), [("a".to_owned(), "2".to_owned())]);
    assert!(store.locks().is_empty());
    put(&db, "a", "3").unwrap();
    drop((store, db));
    assert_eq!(value(&opened(&disk).1, "a").as_deref(), Some("3"));
}

/// Rule 45: also over a clock that was set back, which an oracle that stands ahead of it amounts to.
#[test]
fn timestamps_rise_over_a_restart() {
    let disk = Disk::default();
    let mut newest = 0;
    for _ in 0..4 {
        let (store, db) = opened(&disk);
        let first = db.blocking().timestamp().unwrap();
        assert!(first > newest);
        store.core.oracle.forward(first + (1 << 40));
        let committed = put(&db, "k", "v").unwrap();
        // Given out after the last frame, which is on the disk already.
        newest = db.blocking().timestamp().unwrap();
        assert!(newest > committed);
        let killed = disk.after_kill();
        drop((store, db));
        let (_, db) = opened(&killed);
        assert!(db.blocking().timestamp().unwrap() > newest);
        assert!(matches!(
            db.blocking().snapshot_at(newest),
            Err(Error::SnapshotTooOld { .. })
        ));
    }
}

/// Rule 49: how the transactions of the log ended is known after a restart.
#[test]
fn a_status_tells_after_a_restart_how_a_transaction_ended() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    txn.blocking().commit().unwrap();
    let rolled_back = block_on(store.begin(Begin::default())).unwrap();
    let start = txn.start_ts();
    drop((txn, db, store));
    let (store, _) = opened(&disk);
    let status = |start| block_on(store.status(start, "k".into())).unwrap();
    assert!(matches!(
        status(start),
        crate::store::TxnStatus::Committed(time) if time > start
    ));
    assert_eq!(status(rolled_back), crate::store::TxnStatus::RolledBack);
}

#[test]
fn commits_that_wait_for_no_sync_are_there_after_a_kill() {
    for sync in [
        SyncMode::Never,
        SyncMode::Every(std::time::Duration::from_secs(3600)),
    ] {
        let disk = Disk::default();
        let db = Db::new(open(&disk, LogOptions::default().sync(sync)).unwrap());
        let synced = disk.syncs();
        for n in 0..5 {
            put(&db, &format!("k{n}"), "v").unwrap();
        }
        assert_eq!(disk.syncs(), synced);
        let killed = disk.after_kill();
        assert_eq!(contents(&opened(&killed).1).len(), 5);
    }
}
