//! Snapshots that are read without copying show what they show otherwise, and what a plain map says.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use untorn_memtable::{Entry, Item, Kind, Limits, Memtable, MemtableSet};

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, u8),
    Delete(u8),
    Remove(u8),
    Rotate,
    Flush,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40_u8;
    prop_oneof![
        8 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => key.clone().prop_map(Op::Delete),
        2 => key.prop_map(Op::Remove),
        1 => Just(Op::Rotate),
        1 => Just(Op::Flush),
    ]
}

/// What a key holds: a value, or `None` for a tombstone.
type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn bounds() -> impl Strategy<Value = (Bound<[u8; 1]>, Bound<[u8; 1]>)> {
    let bound = || {
        prop_oneof![
            (0..42_u8).prop_map(|key| Bound::Included([key])),
            (0..42_u8).prop_map(|key| Bound::Excluded([key])),
            Just(Bound::Unbounded),
        ]
    };
    (bound(), bound())
}

fn within(model: &Model, bounds: (Bound<[u8; 1]>, Bound<[u8; 1]>)) -> Model {
    let (lower, upper) = bounds;
    let is_in = |key: &[u8]| {
        (match lower {
            Bound::Included(low) => key >= &low[..],
            Bound::Excluded(low) => key > &low[..],
            Bound::Unbounded => true,
        }) && (match upper {
            Bound::Included(high) => key <= &high[..],
            Bound::Excluded(high) => key < &high[..],
            Bound::Unbounded => true,
        })
    };
    let all = model.clone().into_iter();
    all.filter(|(key, _)| is_in(key)).collect()
}

fn held(kind: Kind, value: &[u8]) -> Option<Vec<u8>> {
    assert_ne!(kind, Kind::TagOnly);
    (kind == Kind::Value).then(|| value.to_vec())
}

fn lent(item: Item<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
    (item.key.to_vec(), held(item.kind, item.value))
}

fn owned(entry: Entry) -> (Vec<u8>, Option<Vec<u8>>) {
    (entry.key.to_vec(), held(entry.kind, &entry.value))
}

/// Empties a range from both ends, as the bits say.
fn drain<T>(
    mut range: impl DoubleEndedIterator<Item = T>,
    ends: &[bool],
    show: impl Fn(T) -> (Vec<u8>, Option<Vec<u8>>),
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for forward in ends.iter().cycle() {
        let next = if *forward {
            range.next()
        } else {
            range.next_back()
        };
        let Some(item) = next else { break };
        if *forward { &mut front } else { &mut back }.push(show(item));
    }
    assert!(range.next().is_none() && range.next_back().is_none());
    front.extend(back.into_iter().rev());
    front
}

/// The snapshot, of a table or of a set, shows the model, whichever way it is read.
macro_rules! assert_shows {
    ($snapshot:ident, $model:ident, $bounds:ident, $ends:ident) => {
        let shown: Vec<_> = within(&$model, $bounds).into_iter().collect();
        let pinned = $snapshot.pin();
        prop_assert_eq!(&drain(pinned.range_all($bounds), &$ends, lent), &shown);
        prop_assert_eq!(&drain($snapshot.range($bounds), &$ends, owned), &shown);
        for key in 0..42 {
            let holds = $model.get(&[key][..]);
            let entry = pinned.entry([key]).map(|item| lent(item).1);
            prop_assert_eq!(entry.as_ref(), holds);
            prop_assert_eq!(pinned.get([key]), holds.and_then(Option::as_deref));
        }
    };
}

proptest! {
    #[test]
    fn a_table(
        before in prop::collection::vec(op(), 0..120),
        after in prop::collection::vec(op(), 0..60),
        bounds in bounds(),
        ends in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let table = Memtable::new().with_leaf_capacity(4);
        let mut model = Model::new();
        let write = |op: &Op, model: &mut Model| match *op {
            Op::Insert(key, value) => {
                table.insert([key], [value]).unwrap();
                model.insert(vec![key], Some(vec![value]));
            }
            Op::Delete(key) => {
                table.delete([key]).unwrap();
                model.insert(vec![key], None);
            }
            Op::Remove(key) => {
                table.remove([key]).unwrap();
                model.remove(&[key][..]);
            }
            Op::Rotate | Op::Flush => {}
        };
        before.iter().for_each(|op| write(op, &mut model));
        let snapshot = table.snapshot();
        after.iter().for_each(|op| write(op, &mut Model::new()));

        assert_shows!(snapshot, model, bounds, ends);
    }

    #[test]
    fn a_set_of_tables(
        before in prop::collection::vec(op(), 0..120),
        after in prop::collection::vec(op(), 0..60),
        bounds in bounds(),
        ends in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let set = MemtableSet::new(Limits::default());
        // The tables' keys, from the oldest on.
        let mut tables = vec![Model::new()];
        let write = |op: &Op, tables: &mut Vec<Model>| {
            let active = tables.last_mut().unwrap();
            match *op {
                Op::Insert(key, value) => {
                    set.insert([key], [value]).unwrap();
                    active.insert(vec![key], Some(vec![value]));
                }
                Op::Delete(key) | Op::Remove(key) => {
                    set.delete([key]).unwrap();
                    active.insert(vec![key], None);
                }
                Op::Rotate if active.is_empty() => {}
                Op::Rotate => {
                    let _ = set.rotate();
                    tables.push(Model::new());
                }
                Op::Flush => {
                    if let Some(flush) = set.next_flush() {
                        flush.complete();
                        tables.remove(0);
                    }
                }
            }
        };
        before.iter().for_each(|op| write(op, &mut tables));
        let snapshot = set.snapshot();
        let mut model = Model::new();
        tables.iter().for_each(|table| model.extend(table.clone()));
        after.iter().for_each(|op| write(op, &mut tables));

        assert_shows!(snapshot, model, bounds, ends);
    }
}
