//! Checkpoints, and what they replace.

use super::*;
use crate::store::mem::log::directory::Directory;
use crate::store::mem::log::segment::Kind;
use crate::store::mem::log::writer::SEGMENTS;
use std::sync::Arc;

/// Commits until a checkpoint above this number is there; says which.
fn until_checkpoint(disk: &Disk, db: &Db, above: u64) -> u64 {
    let newest = || {
        let names = disk.names().unwrap();
        names
            .iter()
            .filter_map(|name| Kind::Checkpoint.number(name))
            .max()
    };
    for n in 0_u64.. {
        put(db, &format!("k{}", n % 7), &n.to_string()).unwrap();
        if let Some(number) = newest().filter(|&number| number > above) {
            return number;
        }
    }
    unreachable!()
}

fn often() -> LogOptions {
    LogOptions::default().checkpoint_after(2_000)
}

#[test]
fn a_checkpoint_replaces_the_log_before_it_and_deletions_stay_deletions() {
    let disk = Disk::default();
    let store = open(&disk, often()).unwrap();
    let db = Db::new(store.clone());
    put(&db, "gone", "v").unwrap();
    put(&db, "stays", "v").unwrap();
    let number = until_checkpoint(&disk, &db, 0);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.delete("gone").unwrap();
    txn.blocking().commit().unwrap();
    until_checkpoint(&disk, &db, number);
    let expected = contents(&db);
    assert!(expected.iter().all(|(key, _)| key != "gone"));
    let killed = disk.after_kill();
    drop((txn, db, store));
    let (store, db) = opened(&killed);
    assert_eq!(contents(&db), expected);
    let names = killed.names().unwrap();
    let checkpoints = names.iter().filter(|name| name.ends_with("checkpoint"));
    assert_eq!(checkpoints.count(), 1, "{names:?}");
    assert_eq!(store.stats().keys, expected.len());
}

/// The log does not grow beyond what a checkpoint is written for, and the one that is being written.
#[test]
fn the_log_of_a_store_that_is_written_on_and_on_stays_small() {
    let disk = Disk::default();
    let store = open(&disk, often()).unwrap();
    let db = Db::new(store.clone());
    let mut number = 0;
    for _ in 0..10 {
        number = until_checkpoint(&disk, &db, number);
    }
    drop((db, store));
    let names = disk.names().unwrap();
    let segments = names.iter().filter(|name| name.ends_with("log"));
    assert!(segments.count() <= 3, "{names:?}");
}

#[test]
fn many_short_lives_do_not_leave_many_files() {
    // The last checkpoint, the segments since, the one in use, the one that the next checkpoint begins, and that.
    const MOST: usize = 1 + SEGMENTS + 1 + 1 + 1;
    let disk = Disk::default();
    for n in 0..60 {
        let (store, db) = opened(&disk);
        put(&db, "k", &n.to_string()).unwrap();
        let files = disk.names().unwrap().len();
        assert!(files <= MOST, "{files} files");
        drop((store, db));
    }
    assert_eq!(value(&opened(&disk).1, "k").as_deref(), Some("59"));
}

/// How transactions before a checkpoint ended is said to be unknown, never guessed.
#[test]
fn a_status_from_before_the_checkpoint_is_not_told() {
    let disk = Disk::default();
    let store = open(&disk, often()).unwrap();
    let db = Db::new(store.clone());
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("first", "v").unwrap();
    txn.blocking().commit().unwrap();
    until_checkpoint(&disk, &db, 0);
    let start = txn.start_ts();
    let killed = disk.after_kill();
    drop((txn, db, store));
    let (store, _db) = opened(&killed);
    assert!(matches!(
        block_on(store.status(start, "first".into())),
        Err(Error::Store { .. })
    ));
}

#[test]
fn damage_in_a_checkpoint_is_told_wherever_it_is() {
    let disk = Disk::default();
    let store = open(&disk, often()).unwrap();
    let db = Db::new(store.clone());
    until_checkpoint(&disk, &db, 0);
    let killed = disk.after_kill();
    drop((db, store));
    let names = killed.names().unwrap();
    let name = names
        .iter()
        .find(|name| name.ends_with("checkpoint"))
        .unwrap();
    let whole = killed.content(name);
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 4;
        let cut = whole[..place].to_vec();
        for wrong in [changed, cut] {
            let disk = Arc::new(killed.with(name, wrong));
            let opened = open_in(disk, LogOptions::default());
            assert!(
                matches!(opened, Err(OpenError::Corrupt { .. })),
                "byte {place}"
            );
        }
    }
}
