//! Files that are cut off or changed at every byte.

use super::*;
use crate::store::mem::log::directory::Directory;

/// Three commits, and how long the first segment was before each and after the last.
fn three_commits() -> (Disk, Vec<usize>) {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    let mut lengths = vec![disk.content(FIRST).len()];
    for key in ["a", "b", "c"] {
        put(&db, key, "some value").unwrap();
        lengths.push(disk.content(FIRST).len());
    }
    let killed = disk.after_kill();
    drop((store, db));
    (killed, lengths)
}

fn keys(disk: &Disk) -> Result<String, OpenError> {
    let db = Db::new(open(disk, LogOptions::default())?);
    Ok(contents(&db).into_iter().map(|(key, _)| key).collect())
}

#[test]
fn a_file_that_is_cut_off_anywhere_has_the_commits_before_the_cut() {
    let (disk, lengths) = three_commits();
    let whole = disk.content(FIRST);
    assert_eq!(whole.len(), lengths[3]);
    for length in 0..=whole.len() {
        let cut = disk.with(FIRST, whole[..length].to_vec());
        let there = lengths.iter().filter(|&&end| end <= length).count();
        let expected = &"abc"[..there.saturating_sub(1)];
        assert_eq!(keys(&cut).unwrap(), expected, "cut at {length}");
        // What was cut off does not come back, and later commits are found after it.
        let db = Db::new(open(&cut, LogOptions::default()).unwrap());
        put(&db, "d", "v").unwrap();
        drop(db);
        assert_eq!(keys(&cut).unwrap(), format!("{expected}d"));
    }
}

#[test]
fn a_byte_that_changed_under_a_later_commit_is_damage_and_is_told_with_its_place() {
    let (disk, lengths) = three_commits();
    let whole = disk.content(FIRST);
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 0x40;
        let changed = disk.with(FIRST, changed);
        if place >= lengths[2] {
            // Nothing tells it from a write that was cut off.
            assert_eq!(keys(&changed).unwrap(), "ab", "byte {place}");
            continue;
        }
        let begin = lengths.iter().filter(|&&end| end <= place).max();
        match keys(&changed) {
            Err(OpenError::Corrupt { file, offset, .. }) => {
                assert_eq!(file.to_str(), Some(FIRST));
                let expected = begin.copied().unwrap_or(0);
                assert_eq!(offset, expected as u64, "byte {place}");
            }
            other => panic!("byte {place}: {other:?}"),
        }
        assert_eq!(changed.names().unwrap(), [FIRST]);
    }
}

#[test]
fn a_store_that_was_closed_bears_witness_for_its_last_commit() {
    let disk = Disk::default();
    let (store, db) = opened(&disk);
    put(&db, "a", "some value").unwrap();
    let end = disk.content(FIRST).len();
    drop((store, db));
    for place in 0..end {
        let mut changed = disk.content(FIRST);
        changed[place] ^= 1;
        let changed = disk.with(FIRST, changed);
        assert!(
            matches!(keys(&changed), Err(OpenError::Corrupt { .. })),
            "byte {place}"
        );
    }
}

#[test]
fn a_segment_that_is_missing_is_told() {
    let disk = Disk::default();
    for key in ["a", "b", "c"] {
        put(&opened(&disk).1, key, "v").unwrap();
    }
    assert_eq!(keys(&disk).unwrap(), "abc");
    disk.remove("0000000000000002.log").unwrap();
    let Err(OpenError::Missing { file }) = keys(&disk) else {
        panic!("it is gone");
    };
    assert_eq!(file.to_str(), Some("0000000000000002.log"));
}

/// A value that holds the bytes of a frame is no frame: it lacks the salt of its file.
#[test]
fn a_value_that_looks_like_a_log_is_a_value() {
    let (disk, lengths) = three_commits();
    let frames = disk.content(FIRST)[lengths[0]..].to_vec();
    let other = Disk::default();
    let (store, db) = opened(&other);
    let before = other.content(FIRST).len();
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", frames.clone()).unwrap();
    txn.blocking().commit().unwrap();
    let killed = other.after_kill();
    drop((txn, store, db));
    let mut torn = killed.content(FIRST);
    torn[before] ^= 1;
    let torn = killed.with(FIRST, torn);
    assert_eq!(keys(&torn).unwrap(), "");
}
