//! Operations on a memtable, beside a plain map that is copied at each stage, savepoint and snapshot.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use untorn_fuzz::{Key, Value};
use untorn_memtable::{
    Entry, Exchange, Kind, Memtable, RollbackError, Savepoint, Snapshot, StageId, Stats, Update,
    WriteBatch,
};

#[derive(Debug, Arbitrary)]
enum Write {
    Insert(Key, Value),
    Delete(Key),
    Tag(Key, u8),
}

#[derive(Debug, Arbitrary)]
enum Op {
    Write(Write),
    Remove(Key),
    Batch(Vec<Write>),
    Exchange(Key, Option<Value>),
    Stage,
    Release,
    CleanUp,
    Savepoint,
    RollBack(u8),
    DropSavepoint(u8),
    Snapshot,
    SnapshotBeforeStages,
    DropSnapshot(u8),
    Inspect(Key),
    Compact,
    Freeze,
}

#[derive(Debug, Arbitrary)]
struct Input {
    leaf_capacity: u8,
    ops: Vec<Op>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    kind: Kind,
    value: Vec<u8>,
    tag: u32,
}

type Model = BTreeMap<Vec<u8>, Content>;

/// What can be returned to, and what was there.
enum Mark {
    Stage(StageId, Model),
    Savepoint(usize, Model),
}

fn content(entry: Entry) -> (Vec<u8>, Content) {
    let content = Content {
        kind: entry.kind,
        value: entry.value.to_vec(),
        tag: entry.tag,
    };
    (entry.key.to_vec(), content)
}

fn write(model: &mut Model, write: &Write) {
    let (key, old) = match write {
        Write::Insert(key, _) | Write::Delete(key) | Write::Tag(key, _) => (key, model.get(&key.0)),
    };
    let tag = old.map_or(0, |old| old.tag);
    let new = match write {
        Write::Insert(_, value) => Content {
            kind: Kind::Value,
            value: value.0.clone(),
            tag,
        },
        Write::Delete(_) => Content {
            kind: Kind::Tombstone,
            value: Vec::new(),
            tag,
        },
        Write::Tag(_, tag) => Content {
            kind: old.map_or(Kind::TagOnly, |old| old.kind),
            value: old.map_or(Vec::new(), |old| old.value.clone()),
            tag: u32::from(*tag),
        },
    };
    model.insert(key.0.clone(), new);
}

fn stats(model: &Model) -> Stats {
    let mut stats = Stats::default();
    for (key, content) in model {
        stats.len += 1;
        stats.size += key.len() + content.value.len();
    }
    stats
}

fn run(input: Input) {
    let table = Memtable::new().with_leaf_capacity(2 + usize::from(input.leaf_capacity % 6));
    let mut model = Model::new();
    let mut marks: Vec<Mark> = Vec::new();
    let mut savepoints: Vec<(usize, Savepoint<&Memtable>)> = Vec::new();
    let mut snapshots: Vec<(Snapshot<&Memtable>, Model)> = Vec::new();
    let mut made = 0;
    let is_stage = |mark: &Mark| matches!(mark, Mark::Stage(..));
    for op in input.ops {
        match op {
            Op::Write(one) => {
                let written = match &one {
                    Write::Insert(key, value) => table.insert(key, &value.0),
                    Write::Delete(key) => table.delete(key),
                    Write::Tag(key, tag) => table.update(key, |_| Update::Tag((*tag).into())),
                };
                assert_eq!(written.unwrap().staged, !marks.is_empty());
                write(&mut model, &one);
            }
            Op::Remove(key) => {
                let removed = table.remove(&key).unwrap();
                assert_eq!(removed.map(|entry| content(entry).1), model.remove(&key.0));
            }
            Op::Batch(writes) => {
                let mut batch = WriteBatch::new();
                for one in &writes {
                    match one {
                        Write::Insert(key, value) => batch.put(key, &value.0),
                        Write::Delete(key) => batch.delete(key),
                        Write::Tag(key, tag) => batch.tag(key, (*tag).into()),
                    };
                    write(&mut model, one);
                }
                table.apply(&batch).unwrap();
            }
            Op::Exchange(key, value) => {
                let old = model.get(&key.0);
                let held = old.filter(|old| old.kind == Kind::Value);
                let held = held.map(|old| old.value.clone());
                let new = value.as_ref().map(|value| &value.0[..]);
                let exchanged = table.compare_and_set(&key, held.as_deref(), new).unwrap();
                assert_eq!(exchanged, Exchange::Set);
                match value {
                    Some(value) => write(&mut model, &Write::Insert(key, value)),
                    None => drop(model.remove(&key.0)),
                }
            }
            Op::Stage => marks.push(Mark::Stage(table.open_stage(), model.clone())),
            Op::Release => {
                if let Some(place) = marks.iter().rposition(is_stage)
                    && let Mark::Stage(stage, _) = marks.remove(place)
                {
                    let released = table.release_stage(stage).unwrap();
                    assert_eq!(released.outermost, !marks.iter().any(is_stage));
                }
            }
            Op::CleanUp => {
                if let Some(place) = marks.iter().rposition(is_stage)
                    && let Mark::Stage(stage, before) = marks.remove(place)
                {
                    table.cleanup_stage(stage).unwrap();
                    marks.truncate(place);
                    model = before;
                }
            }
            Op::Savepoint => {
                savepoints.push((made, table.savepoint()));
                marks.push(Mark::Savepoint(made, model.clone()));
                made += 1;
            }
            Op::RollBack(pick) if !savepoints.is_empty() => {
                let (number, savepoint) = &savepoints[usize::from(pick) % savepoints.len()];
                let is_it = |mark: &Mark| matches!(mark, Mark::Savepoint(n, _) if n == number);
                let expected = match marks.iter().position(is_it) {
                    None => Err(RollbackError::Stale),
                    Some(place) if marks[place..].iter().any(is_stage) => {
                        Err(RollbackError::StageOpen)
                    }
                    Some(place) => {
                        marks.truncate(place + 1);
                        if let Mark::Savepoint(_, before) = &marks[place] {
                            model = before.clone();
                        }
                        Ok(())
                    }
                };
                assert_eq!(savepoint.roll_back(), expected);
            }
            Op::DropSavepoint(pick) if !savepoints.is_empty() => {
                let place = usize::from(pick) % savepoints.len();
                let (number, _) = savepoints.remove(place);
                marks.retain(|mark| !matches!(mark, Mark::Savepoint(n, _) if *n == number));
            }
            Op::Snapshot => snapshots.push((table.snapshot(), model.clone())),
            Op::SnapshotBeforeStages => {
                let before = marks.iter().find_map(|mark| match mark {
                    Mark::Stage(_, before) => Some(before),
                    Mark::Savepoint(..) => None,
                });
                let shown = before.unwrap_or(&model).clone();
                snapshots.push((Snapshot::before_stages(&table), shown));
            }
            Op::DropSnapshot(pick) if !snapshots.is_empty() => {
                drop(snapshots.swap_remove(usize::from(pick) % snapshots.len()));
            }
            Op::RollBack(_) | Op::DropSavepoint(_) | Op::DropSnapshot(_) => {}
            Op::Inspect(key) => {
                let held = model.get(&key.0);
                let found = table.entry(&key).map(|entry| content(entry).1);
                assert_eq!(found.as_ref(), held);
                let history = table.history(&key);
                let newest = history.first().cloned().map(|entry| content(entry).1);
                assert_eq!(newest.as_ref().filter(|_| held.is_some()), held);
            }
            Op::Compact => table.compact(),
            Op::Freeze => {
                let frozen = table.freeze();
                assert_eq!(frozen.is_err(), !marks.is_empty());
                if frozen.is_ok() {
                    assert!(table.insert("late", "write").is_err());
                    break;
                }
            }
        }
        assert_eq!(table.stats(), stats(&model));
    }
    let pinned = table.pin();
    let all = pinned.range_all::<&[u8]>(..);
    assert!(all.map(|item| content(item.to_entry())).eq(model));
    for (snapshot, shown) in snapshots {
        assert!(snapshot.range::<&[u8]>(..).map(content).eq(shown));
    }
}

fuzz_target!(|input: Input| run(input));
