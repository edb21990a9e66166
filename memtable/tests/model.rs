//! Random operations against a plain sequential model, with leaves so small that everything splits.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use untorn_memtable::{
    Entry, Kind, Memtable, RollbackError, Savepoint, Snapshot, StageId, Stats, Update, WriteBatch,
};

/// Bits that survive rollbacks in the tables with stages.
const PERSISTENT: u32 = 0b11;

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, Vec<u8>),
    Delete(u8),
    Remove(u8),
    Tag(u8, u32),
    /// Of inserts, deletions and tags.
    Batch(Vec<Op>),
    Stage,
    Release,
    CleanUp,
    Savepoint,
    RollBack(usize),
    DropSavepoint(usize),
    Snapshot,
    SnapshotBeforeStages,
    DropSnapshot,
    Range(u8, u8),
}

const KEYS: std::ops::Range<u8> = 0..24;

/// What a batch can do, too.
fn write() -> impl Strategy<Value = Op> + Clone {
    prop_oneof![
        8 => (KEYS, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(k, v)| Op::Insert(k, v)),
        2 => (KEYS, Just(200usize)).prop_map(|(k, n)| Op::Insert(k, vec![k; n])),
        3 => KEYS.prop_map(Op::Delete),
        3 => (KEYS, 0..16u32).prop_map(|(k, t)| Op::Tag(k, t)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => write(),
        3 => KEYS.prop_map(Op::Remove),
        3 => prop::collection::vec(write(), 0..12).prop_map(Op::Batch),
        2 => Just(Op::Stage),
        1 => Just(Op::Release),
        2 => Just(Op::CleanUp),
        2 => Just(Op::Savepoint),
        3 => any::<usize>().prop_map(Op::RollBack),
        1 => any::<usize>().prop_map(Op::DropSavepoint),
        1 => Just(Op::Snapshot),
        1 => Just(Op::SnapshotBeforeStages),
        1 => Just(Op::DropSnapshot),
        2 => (KEYS, KEYS).prop_map(|(a, b)| Op::Range(a, b)),
    ]
}

/// Keys with long shared prefixes, short keys, and the empty key.
fn key(n: u8) -> Vec<u8> {
    match n % 4 {
        0 => vec![b'k'; usize::from(n / 4)],
        1 => format!("a/long/shared/prefix/{n:03}").into_bytes(),
        2 => [b"a/long/shared/prefix/".as_slice(), &[n, 0]].concat(),
        _ => vec![n],
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    kind: Kind,
    value: Vec<u8>,
    tag: u32,
}

/// What the writes left.
type Written = BTreeMap<Vec<u8>, Content>;

/// The table's contents: what the writes left, and the persistent bits, which no rollback takes back.
#[derive(Debug, Clone, Default)]
struct Model {
    written: Written,
    bits: BTreeMap<Vec<u8>, u32>,
}

impl Model {
    fn get(&self, key: &[u8]) -> Option<Content> {
        let bits = self.bits.get(key).copied().unwrap_or_default();
        match self.written.get(key) {
            Some(content) => Some(Content {
                tag: content.tag | bits,
                ..content.clone()
            }),
            None if bits != 0 => Some(Content {
                kind: Kind::TagOnly,
                value: Vec::new(),
                tag: bits,
            }),
            None => None,
        }
    }

    fn set(&mut self, key: &[u8], kind: Kind, value: Vec<u8>, tag: u32, mask: u32) {
        self.bits.insert(key.to_vec(), tag & mask);
        let tag = tag & !mask;
        self.written
            .insert(key.to_vec(), Content { kind, value, tag });
    }

    fn write(&mut self, op: &Op, mask: u32) {
        let old = |key: &[u8]| self.get(key);
        match op {
            Op::Insert(k, value) => {
                let tag = old(&key(*k)).map_or(0, |content| content.tag);
                self.set(&key(*k), Kind::Value, value.clone(), tag, mask);
            }
            Op::Delete(k) => {
                let tag = old(&key(*k)).map_or(0, |content| content.tag);
                self.set(&key(*k), Kind::Tombstone, Vec::new(), tag, mask);
            }
            Op::Tag(k, tag) => {
                let (kind, value) = match old(&key(*k)) {
                    Some(old) => (old.kind, old.value),
                    None => (Kind::TagOnly, Vec::new()),
                };
                self.set(&key(*k), kind, value, *tag, mask);
            }
            other => panic!("{other:?} is no write"),
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self
            .written
            .keys()
            .chain(self.bits.keys())
            .cloned()
            .collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| self.get(key).is_some());
        keys
    }

    fn stats(&self) -> Stats {
        let keys = self.keys();
        Stats {
            len: keys.len(),
            size: keys
                .iter()
                .map(|key| key.len() + self.get(key).map_or(0, |content| content.value.len()))
                .sum(),
        }
    }
}

fn pick_of<T>(all: &[T], pick: usize) -> Option<&T> {
    all.get(pick.checked_rem(all.len())?)
}

fn content(entry: Option<Entry>) -> Option<Content> {
    entry.map(|entry| Content {
        kind: entry.kind,
        value: entry.value.to_vec(),
        tag: entry.tag,
    })
}

/// What a rollback can return to, with what the writes had left by then.
enum Mark {
    Stage(StageId, Written),
    /// A savepoint by its number.
    Savepoint(usize, Written),
}

/// The open stages and live savepoints, outermost first.
#[derive(Default)]
struct Marks(Vec<Mark>);

impl Marks {
    /// Takes the innermost open stage out, and leaves the savepoints that were made in it.
    fn pop_stage(&mut self) -> Option<(usize, StageId, Written)> {
        let is_stage = |mark: &Mark| matches!(mark, Mark::Stage(..));
        let place = self.0.iter().rposition(is_stage)?;
        match self.0.remove(place) {
            Mark::Stage(stage, written) => Some((place, stage, written)),
            Mark::Savepoint(..) => unreachable!("a stage was found there"),
        }
    }

    fn place_of(&self, savepoint: usize) -> Option<usize> {
        let is_it =
            |mark: &Mark| matches!(mark, Mark::Savepoint(number, _) if *number == savepoint);
        self.0.iter().position(is_it)
    }

    fn has_stage_from(&self, place: usize) -> bool {
        self.0[place..]
            .iter()
            .any(|mark| matches!(mark, Mark::Stage(..)))
    }

    fn outermost_stage(&self) -> Option<&Written> {
        self.0.iter().find_map(|mark| match mark {
            Mark::Stage(_, written) => Some(written),
            Mark::Savepoint(..) => None,
        })
    }
}

fn run(ops: &[Op], capacity: usize, mask: u32) {
    let table = Memtable::with_persistent_tag(mask).with_leaf_capacity(capacity);
    let mut model = Model::default();
    let mut marks = Marks::default();
    let mut savepoints: Vec<(usize, Savepoint<&Memtable>)> = Vec::new();
    let mut made = 0;
    let mut snapshots: Vec<(Snapshot<&Memtable>, Written)> = Vec::new();
    for op in ops {
        match op {
            Op::Insert(k, value) => {
                let written = table.insert(key(*k), value).unwrap();
                assert_eq!(written.staged, !marks.0.is_empty());
                model.write(op, mask);
            }
            Op::Delete(k) => {
                table.delete(key(*k)).unwrap();
                model.write(op, mask);
            }
            Op::Batch(writes) => {
                let mut batch = WriteBatch::new();
                for write in writes {
                    match write {
                        Op::Insert(k, value) => batch.put(key(*k), value),
                        Op::Delete(k) => batch.delete(key(*k)),
                        Op::Tag(k, tag) => batch.tag(key(*k), *tag),
                        other => panic!("{other:?} is in no batch"),
                    };
                    model.write(write, mask);
                }
                let written = table.apply(&batch).unwrap();
                assert_eq!(written.changed, !writes.is_empty());
                assert_eq!(written.staged, !writes.is_empty() && !marks.0.is_empty());
            }
            Op::Remove(k) => {
                let key = key(*k);
                if mask != 0 {
                    assert!(table.remove(&key).is_err());
                } else {
                    let removed = table.remove(&key).unwrap();
                    assert_eq!(content(removed), model.get(&key));
                    model.written.remove(&key);
                }
            }
            Op::Tag(k, tag) => {
                let key = key(*k);
                let old = model.get(&key);
                table
                    .update(&key, |item| {
                        assert_eq!(
                            item.map(|item| item.to_entry().kind),
                            old.as_ref().map(|old| old.kind)
                        );
                        Update::Tag(*tag)
                    })
                    .unwrap();
                model.write(op, mask);
            }
            Op::Stage => {
                let stage = table.open_stage();
                marks.0.push(Mark::Stage(stage, model.written.clone()));
            }
            Op::Release => {
                if let Some((_, stage, _)) = marks.pop_stage() {
                    let released = table.release_stage(stage).unwrap();
                    assert_eq!(released.outermost, !marks.has_stage_from(0));
                }
            }
            Op::CleanUp => {
                if let Some((place, stage, written)) = marks.pop_stage() {
                    table.cleanup_stage(stage).unwrap();
                    model.written = written;
                    marks.0.truncate(place);
                }
            }
            Op::Savepoint => {
                savepoints.push((made, table.savepoint()));
                marks.0.push(Mark::Savepoint(made, model.written.clone()));
                made += 1;
            }
            Op::RollBack(pick) => {
                if let Some((number, savepoint)) = pick_of(&savepoints, *pick) {
                    let expected = match marks.place_of(*number) {
                        None => Err(RollbackError::Stale),
                        Some(place) if marks.has_stage_from(place) => Err(RollbackError::StageOpen),
                        Some(place) => {
                            marks.0.truncate(place + 1);
                            if let Some(Mark::Savepoint(_, written)) = marks.0.last() {
                                model.written = written.clone();
                            }
                            Ok(())
                        }
                    };
                    assert_eq!(savepoint.roll_back(), expected);
                }
            }
            Op::DropSavepoint(pick) => {
                if !savepoints.is_empty() {
                    let (number, savepoint) = savepoints.remove(pick % savepoints.len());
                    drop(savepoint);
                    if let Some(place) = marks.place_of(number) {
                        marks.0.remove(place);
                    }
                }
            }
            Op::Snapshot => snapshots.push((table.snapshot(), model.written.clone())),
            Op::SnapshotBeforeStages => {
                let written = marks.outermost_stage().unwrap_or(&model.written);
                snapshots.push((Snapshot::before_stages(&table), written.clone()));
            }
            Op::DropSnapshot => drop(snapshots.pop()),
            Op::Range(a, b) => {
                let (a, b) = (key(*a), key(*b));
                let pinned = table.pin();
                let shown: Vec<_> = pinned
                    .range_all(&a[..]..&b[..])
                    .map(|item| item.key.to_vec())
                    .collect();
                let keys: Vec<_> = model
                    .keys()
                    .into_iter()
                    .filter(|key| a <= *key && *key < b)
                    .collect();
                assert_eq!(shown, keys);
                let mut back: Vec<_> = pinned
                    .range_all(&a[..]..=&b[..])
                    .rev()
                    .map(|item| item.key.to_vec())
                    .collect();
                back.reverse();
                let keys: Vec<_> = model
                    .keys()
                    .into_iter()
                    .filter(|key| a <= *key && *key <= b)
                    .collect();
                assert_eq!(back, keys);
            }
        }
        assert_eq!(table.stats(), model.stats(), "after {op:?}");
        for (snapshot, written) in &snapshots {
            let shown: Vec<_> = snapshot
                .range::<&[u8]>(..)
                .map(|entry| entry.key.to_vec())
                .collect();
            assert_eq!(
                shown,
                written.keys().cloned().collect::<Vec<_>>(),
                "after {op:?}"
            );
        }
    }
    for n in 0..24 {
        let key = key(n);
        assert_eq!(content(table.entry(&key)), model.get(&key));
        for (snapshot, written) in &snapshots {
            let shown = snapshot
                .entry(&key)
                .map(|entry| (entry.kind, entry.value.to_vec()));
            assert_eq!(
                shown,
                written.get(&key).map(|old| (old.kind, old.value.clone()))
            );
        }
    }
    let mut pairs = Vec::new();
    let pinned = table.pin();
    let mut range = pinned.range::<&[u8]>(..);
    let mut back = Vec::new();
    while let Some((key, value)) = range.next() {
        pairs.push((key.to_vec(), value.to_vec()));
        if let Some((key, value)) = range.next_back() {
            back.push((key.to_vec(), value.to_vec()));
        }
    }
    assert_eq!(range.next_back(), None);
    pairs.extend(back.into_iter().rev());
    let expected: Vec<_> = model
        .keys()
        .into_iter()
        .filter_map(|key| {
            let content = model.get(&key)?;
            (content.kind == Kind::Value).then_some((key, content.value))
        })
        .collect();
    assert_eq!(pairs, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else if cfg!(debug_assertions) { 300 } else { 1500 }))]

    #[test]
    fn leaves_of_two_behave_like_the_model(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops, 2, 0);
    }

    #[test]
    fn leaves_of_four_with_persistent_bits_behave_like_the_model(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops, 4, PERSISTENT);
    }

    #[test]
    fn full_leaves_behave_like_the_model(ops in prop::collection::vec(op(), 1..120)) {
        run(&ops, 48, PERSISTENT);
    }
}

#[test]
fn an_update_may_keep_the_key_as_it_is() {
    let table = Memtable::new();
    let written = table.update("k", |_| Update::Keep).unwrap();
    assert!(!written.changed);
    assert_eq!(table.len(), 0);
    table
        .update("k", |_| Update::Put {
            value: Cow::Borrowed(b"v"),
            tag: 7,
        })
        .unwrap();
    assert_eq!(table.entry("k").map(|entry| entry.tag), Some(7));
}
