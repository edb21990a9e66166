//! The end of a table's writes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use untorn_memtable::{Error, FreezeError, Frozen, Memtable, Stats, Update};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(table: &Memtable) -> Rows {
    let pinned = table.pin();
    let rows = pinned.range::<&[u8]>(..);
    rows.map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

#[test]
fn every_write_that_returned_is_in_and_no_other() {
    const WRITERS: u32 = 4;
    for round in 0..60 {
        let table = Memtable::new().with_leaf_capacity(if round % 2 == 0 { 2 } else { 48 });
        let (contents, seen) = thread::scope(|scope| {
            // Each overwrites its own keys, makes new ones and removes some, until it is refused.
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let table = &table;
                    scope.spawn(move || {
                        let mut contents = BTreeMap::new();
                        for n in 0u32.. {
                            let key = [writer, n % 50].map(u32::to_be_bytes).concat();
                            let value = n.to_be_bytes().to_vec();
                            let written = match n % 3 {
                                2 => table.remove(&key).map(|_| contents.remove(&key)),
                                _ => table
                                    .insert(&key, &value)
                                    .map(|_| contents.insert(key.clone(), value)),
                            };
                            match written {
                                Ok(_) => {}
                                Err(error) => {
                                    assert_eq!(error, Error::Frozen);
                                    return contents;
                                }
                            }
                        }
                        unreachable!("the table was never frozen")
                    })
                })
                .collect();
            while table.len() < 20 {
                std::hint::spin_loop();
            }
            let frozen = table.freeze().unwrap();
            let seen = (rows(&frozen), frozen.stats());
            let mut contents = BTreeMap::new();
            for writer in writers {
                contents.extend(writer.join().unwrap());
            }
            (contents, seen)
        });
        let size = contents.iter().map(|(key, value)| key.len() + value.len());
        let counted = Stats {
            len: contents.len(),
            size: size.sum(),
        };
        assert_eq!(seen, (contents.into_iter().collect(), counted));
        assert_eq!((rows(&table), table.stats()), seen);
    }
}

#[test]
fn a_frozen_table_refuses_each_kind_of_write_and_reads_on() {
    let table = Arc::new(Memtable::new());
    table.insert("k", "v").unwrap();
    let snapshot = table.snapshot();
    let frozen = Frozen::new(table.clone()).unwrap();
    assert!(table.is_frozen());
    assert_eq!(table.insert("k", "w"), Err(Error::Frozen));
    assert_eq!(table.insert("new", "w"), Err(Error::Frozen));
    assert_eq!(table.delete("k"), Err(Error::Frozen));
    assert_eq!(table.remove("k"), Err(Error::Frozen));
    assert_eq!(table.update("k", |_| Update::Tag(1)), Err(Error::Frozen));
    // What writes nothing is not refused.
    assert!(!table.update("k", |_| Update::Keep).unwrap().changed);
    assert_eq!(table.remove("absent"), Ok(None));

    assert_eq!(frozen.get("k").as_deref(), Some(&b"v"[..]));
    assert_eq!(snapshot.get("k").as_deref(), Some(&b"v"[..]));
    assert_eq!(frozen.snapshot().range::<&str>(..).count(), 1);
    assert_eq!(frozen.stats(), Stats { len: 1, size: 2 });
    assert_eq!(Frozen::new(table.clone()).unwrap().stats(), frozen.stats());
}

#[test]
fn an_open_stage_refuses_to_freeze() {
    let table = Memtable::new();
    let stage = table.open_stage();
    table.insert("k", "v").unwrap();
    assert_eq!(table.freeze().unwrap_err(), FreezeError::StageOpen);
    table.insert("k", "w").unwrap();
    table.release_stage(stage).unwrap();
    assert_eq!(table.freeze().unwrap().stats().len, 1);
    // A stage of a frozen table stays empty.
    let stage = table.open_stage();
    assert_eq!(table.insert("k", "x"), Err(Error::Frozen));
    table.cleanup_stage(stage).unwrap();
    assert_eq!(rows(&table), [(b"k".to_vec(), b"w".to_vec())]);
}
