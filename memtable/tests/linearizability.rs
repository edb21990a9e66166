//! Histories of three threads over everything that is promised to take effect at one instant: points, counters, snapshots, stages
//! and the end of all writes. Each is checked against every sequential order that it allows.

#![allow(clippy::unwrap_used)]

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Mutex;
use untorn_linearizability::ordered_map::{self, OrderedMap};
use untorn_linearizability::{Object, Specification, Trials};
use untorn_memtable::{Error, Exchange, FreezeError, Item, Kind, Memtable, StageId, Update};

const ROUNDS: usize = if cfg!(miri) {
    2
} else if cfg!(debug_assertions) {
    1000
} else {
    5000
};

/// What a key holds: its value, if it has one, and its tag.
type Held = (Kind, Option<u8>, u32);

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, u8),
    Delete(u8),
    Remove(u8),
    Tag(u8, u32),
    Entry(u8),
    Increment(u8),
    CompareAndSet(u8, Option<u8>, Option<u8>),
    Stats,
    Snapshot,
    /// These three by the first thread alone.
    Open,
    Release,
    CleanUp,
    Freeze,
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Done(Result<(), Error>),
    Held(Result<Option<Held>, Error>),
    Exchanged(Result<Option<Option<u8>>, Error>),
    Stats(usize, usize),
    All(Vec<(u8, Held)>),
    Frozen(Result<(), FreezeError>),
}

/// What the table holds, what it returns to when its open stages are cleaned up, and whether it is frozen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct State {
    entries: BTreeMap<u8, Held>,
    outer: Vec<BTreeMap<u8, Held>>,
    frozen: bool,
}

impl State {
    /// A frozen table refuses what would change it, and nothing else.
    fn write(&mut self, key: u8, new: Option<Held>) -> Result<(), Error> {
        match new {
            None if !self.entries.contains_key(&key) => {}
            _ if self.frozen => return Err(Error::Frozen),
            Some(held) => drop(self.entries.insert(key, held)),
            None => drop(self.entries.remove(&key)),
        }
        Ok(())
    }

    fn tag(&self, key: u8) -> u32 {
        self.entries.get(&key).map_or(0, |&(.., tag)| tag)
    }

    fn value(&self, key: u8) -> Option<u8> {
        self.entries.get(&key)?.1
    }
}

/// Values of several lengths, so that sizes tell them apart.
fn bytes(value: u8) -> Vec<u8> {
    vec![value; 1 + usize::from(value) % 3]
}

fn value(bytes: &[u8]) -> u8 {
    assert_eq!(bytes, self::bytes(bytes[0]), "torn");
    bytes[0]
}

struct Table;

impl Specification for Table {
    type Op = Op;
    type Answer = Answer;
    type State = State;

    fn initial(&self) -> State {
        State::default()
    }

    fn apply(&self, state: &mut State, op: &Op) -> Answer {
        match *op {
            Op::Insert(key, value) => {
                Answer::Done(state.write(key, Some((Kind::Value, Some(value), state.tag(key)))))
            }
            Op::Delete(key) => {
                Answer::Done(state.write(key, Some((Kind::Tombstone, None, state.tag(key)))))
            }
            Op::Remove(key) => {
                let held = state.entries.get(&key).copied();
                Answer::Held(state.write(key, None).map(|()| held))
            }
            Op::Tag(key, tag) => {
                let held = state.entries.get(&key).copied();
                let (kind, value, _) = held.unwrap_or((Kind::TagOnly, None, 0));
                Answer::Done(state.write(key, Some((kind, value, tag))))
            }
            Op::Entry(key) => Answer::Held(Ok(state.entries.get(&key).copied())),
            Op::Increment(key) => Answer::Done(match state.entries.get(&key).copied() {
                Some((kind, Some(value), tag)) => {
                    state.write(key, Some((kind, Some(value.wrapping_add(1)), tag)))
                }
                _ => Ok(()),
            }),
            Op::CompareAndSet(key, expected, new) => {
                let (found, tag) = (state.value(key), state.tag(key));
                let held = new.map(|value| (Kind::Value, Some(value), tag));
                Answer::Exchanged(match found == expected {
                    true => state.write(key, held).map(|()| None),
                    false => Ok(Some(found)),
                })
            }
            Op::Stats => {
                let values = state.entries.values().filter_map(|held| held.1);
                let values: usize = values.map(|value| bytes(value).len()).sum();
                Answer::Stats(state.entries.len(), state.entries.len() + values)
            }
            Op::Snapshot => {
                let entries = state.entries.iter();
                Answer::All(entries.map(|(&key, &held)| (key, held)).collect())
            }
            Op::Open => {
                state.outer.push(state.entries.clone());
                Answer::Done(Ok(()))
            }
            Op::Release => {
                state.outer.pop();
                Answer::Done(Ok(()))
            }
            Op::CleanUp => {
                if let Some(entries) = state.outer.pop() {
                    state.entries = entries;
                }
                Answer::Done(Ok(()))
            }
            Op::Freeze => {
                state.frozen |= state.outer.is_empty();
                Answer::Frozen(state.frozen.then_some(()).ok_or(FreezeError::StageOpen))
            }
        }
    }

    fn part(&self, op: &Op) -> Option<u64> {
        match *op {
            Op::Insert(key, _)
            | Op::Delete(key)
            | Op::Remove(key)
            | Op::Tag(key, _)
            | Op::Entry(key)
            | Op::Increment(key)
            | Op::CompareAndSet(key, ..) => Some(key.into()),
            _ => None,
        }
    }

    fn only_reads(&self, op: &Op) -> bool {
        matches!(op, Op::Entry(_) | Op::Stats | Op::Snapshot)
    }
}

struct Subject {
    table: Memtable,
    open: Mutex<Vec<StageId>>,
}

fn held(kind: Kind, bytes: &[u8], tag: u32) -> Held {
    (kind, (kind == Kind::Value).then(|| value(bytes)), tag)
}

impl Object<Table> for Subject {
    fn new() -> Self {
        Subject {
            table: Memtable::new().with_leaf_capacity(2),
            open: Mutex::default(),
        }
    }

    fn apply(&self, thread: usize, op: &Op) -> Answer {
        let table = &self.table;
        let innermost = || {
            assert_eq!(thread, 0);
            self.open.lock().unwrap().pop()
        };
        match *op {
            Op::Insert(key, value) => Answer::Done(table.insert([key], bytes(value)).map(|_| ())),
            Op::Delete(key) => Answer::Done(table.delete([key]).map(|_| ())),
            Op::Remove(key) => Answer::Held(
                table
                    .remove([key])
                    .map(|entry| entry.map(|entry| held(entry.kind, &entry.value, entry.tag))),
            ),
            Op::Tag(key, tag) => {
                Answer::Done(table.update([key], |_| Update::Tag(tag)).map(|_| ()))
            }
            Op::Entry(key) => {
                let pinned = table.pin();
                let item = pinned.entry([key]);
                Answer::Held(Ok(item.map(|item| held(item.kind, item.value, item.tag))))
            }
            Op::Increment(key) => {
                let increment = |item: Option<Item<'_>>| match item {
                    Some(item) if item.kind == Kind::Value => Update::Put {
                        value: bytes(value(item.value).wrapping_add(1)).into(),
                        tag: item.tag,
                    },
                    _ => Update::Keep,
                };
                Answer::Done(table.update([key], increment).map(|_| ()))
            }
            Op::CompareAndSet(key, expected, new) => {
                let (expected, new) = (expected.map(bytes), new.map(bytes));
                let exchange = table.compare_and_set([key], expected.as_deref(), new.as_deref());
                Answer::Exchanged(exchange.map(|exchange| match exchange {
                    Exchange::Set => None,
                    Exchange::Found(found) => Some(found.map(|found| value(&found))),
                }))
            }
            Op::Stats => {
                let stats = table.stats();
                Answer::Stats(stats.len, stats.size)
            }
            Op::Snapshot => {
                let all = table.snapshot().range::<&[u8]>(..);
                let all =
                    all.map(|entry| (entry.key[0], held(entry.kind, &entry.value, entry.tag)));
                Answer::All(all.collect())
            }
            Op::Open => {
                assert_eq!(thread, 0);
                let stage = table.open_stage();
                self.open.lock().unwrap().push(stage);
                Answer::Done(Ok(()))
            }
            Op::Release => {
                if let Some(stage) = innermost() {
                    table.release_stage(stage).unwrap();
                }
                Answer::Done(Ok(()))
            }
            Op::CleanUp => {
                if let Some(stage) = innermost() {
                    table.cleanup_stage(stage).unwrap();
                }
                Answer::Done(Ok(()))
            }
            Op::Freeze => Answer::Frozen(table.freeze().map(|_| ())),
        }
    }
}

const KEYS: u8 = 4;

fn point(random: &mut StdRng) -> Op {
    let key = random.random_range(0..KEYS);
    // Few values, so that a comparison is often met.
    let mut value = || random.random_range(0..4u8);
    let (first, second) = (value(), value());
    let some = |value: u8| (value > 0).then_some(value);
    match random.random_range(0..10) {
        0..3 => Op::Insert(key, first),
        3 => Op::Delete(key),
        4 => Op::Remove(key),
        5 => Op::Tag(key, first.into()),
        6..8 => Op::Entry(key),
        8 => Op::Increment(key),
        _ => Op::CompareAndSet(key, some(first), some(second)),
    }
}

/// Three threads that do `ops` each, of which the first also does what `first` makes.
fn check(rounds: usize, ops: usize, op: fn(&mut StdRng) -> Op, first: fn(&mut StdRng) -> Op) {
    let plan = |random: &mut StdRng| {
        let mut thread = |op: fn(&mut StdRng) -> Op| (0..ops).map(|_| op(random)).collect();
        vec![thread(first), thread(op), thread(op)]
    };
    let verdict = Trials::new(rounds).run::<_, Subject>(&Table, plan);
    verdict.assert_linearizable();
    evidence(ops, verdict.rounds);
}

/// One line for `docs/VERIFICATION.md`, under the name of the test.
fn evidence(ops: usize, checked: usize) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    println!("HISTORIES {test} threads=3 operations={ops} checked={checked} as_expected=true");
}

#[test]
fn points_are_linearizable() {
    check(ROUNDS, 40, point, point);
}

fn point_or_whole(random: &mut StdRng) -> Op {
    match random.random_range(0..8) {
        0 => Op::Stats,
        1 => Op::Snapshot,
        _ => point(random),
    }
}

#[test]
fn stats_and_snapshots_are_linearizable() {
    check(ROUNDS, 40, point_or_whole, point_or_whole);
}

#[test]
fn stages_are_linearizable() {
    check(ROUNDS, 20, point_or_whole, |random| {
        match random.random_range(0..6) {
            0..2 => Op::Open,
            2 => Op::Release,
            3 => Op::CleanUp,
            _ => point_or_whole(random),
        }
    });
}

#[test]
fn the_end_of_writes_is_linearizable() {
    check(ROUNDS, 10, point_or_whole, |random| {
        match random.random_range(0..10) {
            0 => Op::Freeze,
            1 => Op::Open,
            2..4 => Op::CleanUp,
            _ => point_or_whole(random),
        }
    });
}

/// The table as the map that its peers are, so that what passes here is what fails there.
impl Object<OrderedMap> for Subject {
    fn new() -> Self {
        <Subject as Object<Table>>::new()
    }

    fn apply(&self, _thread: usize, op: &ordered_map::Op) -> ordered_map::Answer {
        use ordered_map::{Answer, Op};
        let table = &self.table;
        match *op {
            Op::Insert(key, new) => {
                table.insert([key], bytes(new)).unwrap();
                Answer::Done
            }
            Op::Remove(key) => {
                let removed = table.remove([key]).unwrap();
                Answer::Value(removed.map(|entry| value(&entry.value)))
            }
            Op::Get(key) => Answer::Value(table.get([key]).map(|bytes| value(&bytes))),
            op => unreachable!("{op:?} is not asked for"),
        }
    }
}

#[test]
fn what_fails_in_crossbeam_skiplist_passes_here() {
    let plan = |random: &mut StdRng| {
        ordered_map::plan(random, |random, key| match random.random_range(0..3) {
            0 => ordered_map::Op::Insert(key, random.random()),
            1 => ordered_map::Op::Remove(key),
            _ => ordered_map::Op::Get(key),
        })
    };
    let verdict = Trials::new(ROUNDS).run::<_, Subject>(&OrderedMap, plan);
    verdict.assert_linearizable();
    evidence(40, verdict.rounds);
}
