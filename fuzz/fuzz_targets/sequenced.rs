//! Versions under numbers in any order, encoded into keys of a table, beside a plain map of keys and numbers.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use untorn_fuzz::{Key, Value};
use untorn_memtable::{Error, Memtable, SequencedMemtable, WriteBatch};

#[derive(Debug, Arbitrary)]
enum Op {
    Insert(Number, Key, Value),
    Delete(Number, Key),
    Batch(Number, Vec<(Key, Option<Value>)>),
    Get(Number, Key),
    Range(Number, Key, Key),
    /// In steps of so many.
    Prune(Number, u8),
}

/// Mostly small, so that numbers meet; and the ends.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Number {
    Small(u8),
    Last(u8),
}

impl Number {
    fn get(self) -> u64 {
        match self {
            Number::Small(n) => n.into(),
            Number::Last(n) => u64::MAX - u64::from(n),
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Input {
    leaf_capacity: u8,
    ops: Vec<Op>,
}

/// By key, then from the newest to the oldest; nothing where it was deleted.
type Model = BTreeMap<(Vec<u8>, Reverse<u64>), Option<Vec<u8>>>;

/// What the number sees of each key.
fn at(model: &Model, number: u64) -> BTreeMap<&[u8], (u64, &Option<Vec<u8>>)> {
    let mut seen = BTreeMap::new();
    for ((key, Reverse(written)), value) in model {
        if *written <= number {
            seen.entry(&key[..]).or_insert((*written, value));
        }
    }
    seen
}

fn run(input: Input) {
    let capacity = 2 + usize::from(input.leaf_capacity % 6);
    let table = SequencedMemtable::over(Memtable::new().with_leaf_capacity(capacity));
    let mut model = Model::new();
    let mut oldest = 0;
    for op in input.ops {
        match op {
            Op::Insert(number, key, _) if number.get() < oldest => {
                let refused = Err(Error::Pruned { oldest });
                assert_eq!(table.insert_at(number.get(), &key, "late"), refused);
            }
            Op::Insert(number, key, value) => {
                table.insert_at(number.get(), &key, &value.0).unwrap();
                model.insert((key.0, Reverse(number.get())), Some(value.0));
            }
            Op::Delete(number, key) if number.get() < oldest => {
                let refused = Err(Error::Pruned { oldest });
                assert_eq!(table.delete_at(number.get(), &key), refused);
            }
            Op::Delete(number, key) => {
                table.delete_at(number.get(), &key).unwrap();
                model.insert((key.0, Reverse(number.get())), None);
            }
            Op::Batch(number, writes) => {
                let mut batch = WriteBatch::new();
                for (key, value) in &writes {
                    match value {
                        Some(value) => batch.put(key, &value.0),
                        None => batch.delete(key),
                    };
                }
                let applied = table.apply_at(number.get(), &batch);
                if number.get() < oldest {
                    assert_eq!(applied, Err(Error::Pruned { oldest }));
                } else {
                    applied.unwrap();
                    for (key, value) in writes {
                        let value = value.map(|value| value.0);
                        model.insert((key.0, Reverse(number.get())), value);
                    }
                }
            }
            Op::Get(number, key) => {
                let found = table.get_at(number.get(), &key);
                if number.get() < oldest {
                    assert_eq!(found, Err(Error::Pruned { oldest }));
                } else {
                    let seen = at(&model, number.get());
                    let held = seen.get(&key.0[..]).and_then(|(_, value)| value.as_deref());
                    assert_eq!(found.unwrap().as_deref(), held);
                }
            }
            Op::Range(number, low, high) => {
                let range = table.range_at(number.get(), &low.0[..]..&high.0[..]);
                let found: Result<Vec<_>, _> = range.collect();
                if number.get() < oldest {
                    // An empty range may have nothing to refuse.
                    assert!(found.is_err() || found == Ok(Vec::new()));
                } else {
                    let seen = at(&model, number.get());
                    let held = seen
                        .iter()
                        .filter(|(key, _)| low.0.as_slice() <= **key && **key < high.0.as_slice());
                    let held = held.map(|(key, (number, _))| (*key, *number));
                    let found = found.unwrap();
                    let pinned = table.pin();
                    let lent = pinned.range_at(number.get(), &low.0[..]..&high.0[..]);
                    assert!(
                        lent.map(|item| item.unwrap().to_version())
                            .eq(found.iter().cloned())
                    );
                    let found = found.iter();
                    assert!(
                        found
                            .map(|version| (&version.entry.key[..], version.sequence))
                            .eq(held)
                    );
                }
            }
            Op::Prune(number, versions) => {
                oldest = oldest.max(number.get());
                let kept: Vec<_> = at(&model, number.get())
                    .iter()
                    .map(|(key, (written, _))| (key.to_vec(), *written))
                    .collect();
                let before = model.len();
                model.retain(|(key, Reverse(written)), _| {
                    *written > number.get() || kept.contains(&(key.clone(), *written))
                });
                let mut pruner = table.pruner(number.get()).unwrap();
                while pruner.step(versions.into()).unwrap() {}
                assert_eq!(pruner.removed(), before - model.len());
            }
        }
        assert_eq!(table.stats().len, model.len());
    }
    let versions: Vec<_> = table
        .versions::<&[u8]>(..)
        .collect::<Result<_, _>>()
        .unwrap();
    let versions = versions
        .iter()
        .map(|version| (version.entry.key.to_vec(), Reverse(version.sequence)));
    assert!(versions.eq(model.keys().cloned()));
}

fuzz_target!(|input: Input| run(input));
