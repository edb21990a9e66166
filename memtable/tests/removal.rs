//! Removing by what the key holds.

#![allow(clippy::unwrap_used)]

use std::thread;
use untorn_memtable::{Kind, Memtable, Update};

#[test]
fn only_what_may_go_is_taken_out() {
    let table = Memtable::new();
    assert_eq!(table.remove_if("absent", |_| true).unwrap(), None);
    table.insert("k", "kept").unwrap();
    assert_eq!(
        table.remove_if("k", |item| item.value == b"other").unwrap(),
        None
    );
    assert_eq!(table.get("k").as_deref(), Some(&b"kept"[..]));
    table.delete("k").unwrap();
    let gone = table
        .remove_if("k", |item| item.kind == Kind::Tombstone)
        .unwrap();
    assert_eq!(gone.map(|entry| entry.kind), Some(Kind::Tombstone));
    assert_eq!(table.len(), 0);
}

/// Whoever is first, the refreshed key is there: a sweeper that looked before takes nothing out that came since.
#[test]
fn a_sweeper_takes_out_nothing_that_was_refreshed() {
    const EXPIRED: u32 = 1;
    const FRESH: u32 = 2;
    let table = Memtable::new();
    let put = |tag| {
        table.update("k", |_| Update::Put {
            value: b"session".into(),
            tag,
        })
    };
    let (mut swept, mut spared) = (0, 0);
    for _ in 0..2_000 {
        put(EXPIRED).unwrap();
        thread::scope(|scope| {
            let sweeper = scope.spawn(|| table.remove_if("k", |item| item.tag == EXPIRED).unwrap());
            put(FRESH).unwrap();
            match sweeper.join().unwrap() {
                Some(entry) => {
                    assert_eq!(entry.tag, EXPIRED);
                    swept += 1;
                }
                None => spared += 1,
            }
        });
        assert_eq!(table.entry("k").map(|entry| entry.tag), Some(FRESH));
    }
    assert_eq!(swept + spared, 2_000);
}

#[test]
fn a_key_that_was_removed_leaves_nothing_once_what_was_written_since_is_taken_back() {
    let table = Memtable::new();
    table.insert("k", [0; 1000]).unwrap();
    let outer = table.open_stage();
    table.remove("k").unwrap();
    let inner = table.open_stage();
    table.insert("k", [0; 1000]).unwrap();
    table.cleanup_stage(inner).unwrap();
    assert_eq!(table.get("k"), None);
    table.release_stage(outer).unwrap();
    table.compact();
    let memory = table.memory();
    assert_eq!((table.len(), memory.entries, memory.superseded), (0, 0, 0));
}

/// What is there before the stage is there after it: it is not buried for what is on top.
#[test]
fn a_key_that_was_removed_in_a_stage_is_back_after_it() {
    let table = Memtable::new();
    table.insert("k", "v").unwrap();
    let outer = table.open_stage();
    table.remove("k").unwrap();
    let inner = table.open_stage();
    table.insert("k", "again").unwrap();
    table.cleanup_stage(inner).unwrap();
    table.compact();
    assert_eq!(table.get("k"), None);
    table.cleanup_stage(outer).unwrap();
    table.compact();
    assert_eq!(table.get("k").as_deref(), Some(&b"v"[..]));
    assert_eq!(table.len(), 1);
}
