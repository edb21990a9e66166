//! A batch is its writes one after another: however it is encoded, sorted and folded, and to whatever table it goes.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use untorn_fuzz::{Key, Value};
use untorn_memtable::{Entry, Error, Limits, Memtable, MemtableSet, Update, WriteBatch};

#[derive(Debug, Arbitrary)]
enum Write {
    Put(Key, Value),
    Delete(Key),
    Tag(Key, u8),
}

#[derive(Debug, Arbitrary)]
struct Input {
    leaf_capacity: u8,
    batches: Vec<(Vec<Write>, Again)>,
}

/// What becomes of a batch that was applied.
#[derive(Debug, Arbitrary)]
enum Again {
    Drop,
    /// It is emptied and filled with the next writes.
    Clear,
    /// The next writes are added to it.
    Extend,
}

fn content(table: &Memtable) -> Vec<Entry> {
    let pinned = table.pin();
    let all = pinned.range_all::<&[u8]>(..);
    all.map(|item| item.to_entry()).collect()
}

fn run(input: Input) {
    let capacity = 2 + usize::from(input.leaf_capacity % 6);
    let (whole, single) = (
        Memtable::new().with_leaf_capacity(capacity),
        Memtable::new().with_leaf_capacity(capacity),
    );
    let set = MemtableSet::new(Limits {
        table: 2 << 10,
        ..Limits::default()
    });
    let mut in_set = BTreeMap::new();
    let mut batch = WriteBatch::new();
    let (mut len, mut size) = (0, 0);
    let mut writes: Vec<Write> = Vec::new();
    for (more, again) in input.batches {
        for write in &more {
            match write {
                Write::Put(key, value) => {
                    batch.put(key, &value.0);
                    size += key.0.len() + value.0.len();
                }
                Write::Delete(key) => {
                    batch.delete(key);
                    size += key.0.len();
                }
                Write::Tag(key, tag) => {
                    batch.tag(key, (*tag).into());
                    size += key.0.len();
                }
            }
            len += 1;
        }
        writes.extend(more);
        assert_eq!((batch.len(), batch.size()), (len, size));
        whole.apply(&batch).unwrap();
        let written: BTreeMap<&[u8], bool> =
            writes.iter().fold(BTreeMap::new(), |mut all, write| {
                let (key, writes) = match write {
                    Write::Put(key, _) | Write::Delete(key) => (key, true),
                    Write::Tag(key, _) => (key, false),
                };
                *all.entry(&key.0[..]).or_default() |= writes;
                all
            });
        let alone = written.values().any(|writes| !writes);
        let applied = set.apply(&batch);
        assert_eq!(applied.err(), alone.then_some(Error::TagAlone));
        for write in &writes {
            match write {
                Write::Put(key, value) => single.insert(key, &value.0),
                Write::Delete(key) => single.delete(key),
                Write::Tag(key, tag) => single.update(key, |_| Update::Tag((*tag).into())),
            }
            .unwrap();
            match write {
                Write::Put(key, value) if !alone => {
                    in_set.insert(key.0.clone(), Some(value.0.clone()));
                }
                Write::Delete(key) if !alone => {
                    in_set.insert(key.0.clone(), None);
                }
                _ => {}
            }
        }
        assert_eq!(whole.stats(), single.stats());
        match again {
            Again::Drop => batch = WriteBatch::new(),
            Again::Clear => batch.clear(),
            Again::Extend => continue,
        }
        writes.clear();
        (len, size) = (0, 0);
    }
    assert_eq!(content(&whole), content(&single));
    for (key, value) in in_set {
        assert_eq!(set.get(key).as_deref(), value.as_deref());
    }
}

fuzz_target!(|input: Input| run(input));
