//! Histories of three threads over what a buffer promises to do at one instant: values and flags, counters, snapshots, stages,
//! savepoints and rollbacks. Each is checked against every sequential order that it allows.
#![allow(clippy::unwrap_used)]

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Mutex;
use untorn_linearizability::{Object, Specification, Trials};
use untorn_txn::buffer::{Savepoint, Stage};
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

const ROUNDS: usize = if cfg!(debug_assertions) { 500 } else { 4000 };
const KEYS: u8 = 4;

/// What a key holds: a value (`Some(Some(_))`), a tombstone (`Some(None)`) or nothing of its own, and its flags.
type Held = (Option<Option<u8>>, KeyFlags);

#[derive(Debug, Clone)]
enum Op {
    Set(u8, u8),
    Delete(u8),
    Flag(u8, FlagOp),
    Get(u8),
    Flags(u8),
    Stats,
    Snapshot,
    /// To the buffer as it began. By any thread, but not beside those below.
    ToTheBeginning,
    /// These by the first thread alone.
    Open,
    Release,
    CleanUp,
    Savepoint,
    ToTheNewest,
    ToTheOldest,
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Done,
    StageOpen,
    Held(Option<Option<u8>>),
    Flags(Option<KeyFlags>),
    Stats(usize, usize),
    All(Vec<(u8, Option<u8>)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mark {
    Stage,
    Savepoint,
}

type Entries = BTreeMap<u8, Held>;

/// What the buffer holds, and for each open stage and savepoint what it held when that was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct State {
    entries: Entries,
    marks: Vec<(Mark, Entries)>,
}

impl State {
    fn roll_back(&mut self, place: Option<usize>) -> Answer {
        let Some(place) = place else {
            return Answer::Done;
        };
        if self.marks[place..]
            .iter()
            .any(|(mark, _)| *mark == Mark::Stage)
        {
            return Answer::StageOpen;
        }
        self.entries = self.marks[place].1.clone();
        self.marks.truncate(place + 1);
        Answer::Done
    }
}

/// Values of several lengths, so that sizes tell them apart.
fn bytes(value: u8) -> Vec<u8> {
    vec![value; 1 + usize::from(value) % 3]
}

fn content(entry: Entry) -> Option<u8> {
    entry.into_value().map(|value| {
        assert_eq!(value, bytes(value[0]), "torn");
        value[0]
    })
}

struct Buffer;

impl Specification for Buffer {
    type Op = Op;
    type Answer = Answer;
    type State = State;

    fn initial(&self) -> State {
        State::default()
    }

    fn apply(&self, state: &mut State, op: &Op) -> Answer {
        let flags = |state: &State, key| state.entries.get(key).map(|held: &Held| held.1);
        match op {
            Op::Set(key, value) => {
                let flags = flags(state, key).unwrap_or_default();
                state.entries.insert(*key, (Some(Some(*value)), flags));
            }
            Op::Delete(key) => {
                let flags = flags(state, key).unwrap_or_default();
                state.entries.insert(*key, (Some(None), flags));
            }
            Op::Flag(key, op) => {
                let held = state.entries.entry(*key).or_default();
                held.1 = held.1.apply(&[*op]);
            }
            Op::Get(key) => return Answer::Held(state.entries.get(key).and_then(|held| held.0)),
            Op::Flags(key) => return Answer::Flags(flags(state, key)),
            Op::Stats => {
                let values = state.entries.values().filter_map(|held| held.0?);
                let size: usize = values.map(|value| bytes(value).len()).sum();
                let len = state.entries.len();
                return Answer::Stats(len, len + size);
            }
            Op::Snapshot => {
                let held = |(key, held): (&u8, &Held)| Some((*key, held.0?));
                return Answer::All(state.entries.iter().filter_map(held).collect());
            }
            Op::ToTheBeginning => state.entries.clear(),
            Op::Open => state.marks.push((Mark::Stage, state.entries.clone())),
            Op::Savepoint => state.marks.push((Mark::Savepoint, state.entries.clone())),
            Op::Release => {
                if let Some(place) = newest(&state.marks, |(mark, _)| *mark == Mark::Stage) {
                    state.marks.remove(place);
                }
            }
            Op::CleanUp => {
                if let Some(place) = newest(&state.marks, |(mark, _)| *mark == Mark::Stage) {
                    state.entries = state.marks[place].1.clone();
                    state.marks.truncate(place);
                }
            }
            Op::ToTheNewest => {
                let place = newest(&state.marks, |(mark, _)| *mark == Mark::Savepoint);
                return state.roll_back(place);
            }
            Op::ToTheOldest => {
                let mut marks = state.marks.iter();
                let place = marks.position(|(mark, _)| *mark == Mark::Savepoint);
                return state.roll_back(place);
            }
        }
        Answer::Done
    }

    fn part(&self, op: &Op) -> Option<u64> {
        match *op {
            Op::Set(key, _) | Op::Delete(key) | Op::Flag(key, _) | Op::Get(key) => Some(key.into()),
            Op::Flags(key) => Some(key.into()),
            _ => None,
        }
    }

    fn only_reads(&self, op: &Op) -> bool {
        matches!(op, Op::Get(_) | Op::Flags(_) | Op::Stats | Op::Snapshot)
    }
}

fn newest<T>(marks: &[T], is_it: impl Fn(&T) -> bool) -> Option<usize> {
    marks.iter().rposition(is_it)
}

enum Handle {
    Stage(Stage),
    Savepoint(Savepoint),
}

struct Subject {
    buffer: MemBuffer,
    beginning: Savepoint,
    marks: Mutex<Vec<Handle>>,
}

impl Subject {
    /// Rolls back to the savepoint at `place`, as the specification does.
    fn roll_back(&self, marks: &mut Vec<Handle>, place: Option<usize>) -> Answer {
        let Some(Handle::Savepoint(savepoint)) = place.map(|place| &marks[place]) else {
            return Answer::Done;
        };
        match self.buffer.rollback_to(savepoint) {
            Ok(()) => {
                marks.truncate(place.unwrap() + 1);
                Answer::Done
            }
            Err(Error::StageOpen) => Answer::StageOpen,
            Err(error) => panic!("{error}"),
        }
    }

    fn take_stage(&self, thread: usize) -> Option<(usize, Stage)> {
        assert_eq!(thread, 0);
        let mut marks = self.marks.lock().unwrap();
        let place = newest(&marks, |mark| matches!(mark, Handle::Stage(_)))?;
        match marks.remove(place) {
            Handle::Stage(stage) => Some((place, stage)),
            Handle::Savepoint(_) => unreachable!("a stage was found there"),
        }
    }
}

impl Object<Buffer> for Subject {
    fn new() -> Self {
        let buffer = MemBuffer::new();
        Subject {
            beginning: buffer.savepoint(),
            buffer,
            marks: Mutex::default(),
        }
    }

    fn apply(&self, thread: usize, op: &Op) -> Answer {
        let buffer = &self.buffer;
        match *op {
            Op::Set(key, value) => buffer.set([key], bytes(value)).unwrap(),
            Op::Delete(key) => buffer.delete([key]).unwrap(),
            Op::Flag(key, op) => buffer.update_flags([key], [op]).unwrap(),
            Op::Get(key) => return Answer::Held(buffer.get([key]).map(content)),
            Op::Flags(key) => return Answer::Flags(buffer.get_flags([key])),
            Op::Stats => {
                let stats = buffer.stats();
                return Answer::Stats(stats.len, stats.size);
            }
            Op::Snapshot => {
                let all = buffer.snapshot_now().range::<&[u8]>(..);
                return Answer::All(all.map(|(key, entry)| (key[0], content(entry))).collect());
            }
            Op::ToTheBeginning => buffer.rollback_to(&self.beginning).unwrap(),
            Op::Open => self
                .marks
                .lock()
                .unwrap()
                .push(Handle::Stage(buffer.stage())),
            Op::Savepoint => {
                let savepoint = Handle::Savepoint(buffer.savepoint());
                self.marks.lock().unwrap().push(savepoint);
            }
            Op::Release => {
                if let Some((_, stage)) = self.take_stage(thread) {
                    stage.release().unwrap();
                }
            }
            Op::CleanUp => {
                if let Some((place, stage)) = self.take_stage(thread) {
                    stage.cleanup().unwrap();
                    self.marks.lock().unwrap().truncate(place);
                }
            }
            Op::ToTheNewest => {
                let mut marks = self.marks.lock().unwrap();
                let place = newest(&marks, |mark| matches!(mark, Handle::Savepoint(_)));
                return self.roll_back(&mut marks, place);
            }
            Op::ToTheOldest => {
                let mut marks = self.marks.lock().unwrap();
                let place = marks
                    .iter()
                    .position(|mark| matches!(mark, Handle::Savepoint(_)));
                return self.roll_back(&mut marks, place);
            }
        }
        Answer::Done
    }
}

fn point(random: &mut StdRng) -> Op {
    let key = random.random_range(0..KEYS);
    match random.random_range(0..10) {
        0..3 => Op::Set(key, random.random_range(0..4)),
        3 => Op::Delete(key),
        4 => Op::Flag(key, FlagOp::SetReadable),
        5 => Op::Flag(key, FlagOp::SetNewlyInserted),
        6 => Op::Flags(key),
        7 => Op::Stats,
        8 => Op::Snapshot,
        _ => Op::Get(key),
    }
}

/// Three threads that do so many operations each, the first of them what `first` makes.
fn check(ops: usize, op: fn(&mut StdRng) -> Op, first: fn(&mut StdRng) -> Op) {
    let plan = |random: &mut StdRng| {
        let mut thread = |op: fn(&mut StdRng) -> Op| (0..ops).map(|_| op(random)).collect();
        vec![thread(first), thread(op), thread(op)]
    };
    let verdict = Trials::new(ROUNDS).run::<_, Subject>(&Buffer, plan);
    verdict.assert_linearizable();
    println!(
        "{} histories of 3 x {ops} operations are linearizable",
        verdict.rounds
    );
}

#[test]
fn rollbacks_by_any_thread_are_linearizable() {
    fn point_or_rollback(random: &mut StdRng) -> Op {
        match random.random_range(0..6) {
            0 => Op::ToTheBeginning,
            _ => point(random),
        }
    }
    check(20, point_or_rollback, point_or_rollback);
}

#[test]
fn stages_and_savepoints_are_linearizable() {
    check(20, point, |random| match random.random_range(0..10) {
        0 => Op::Open,
        1 => Op::Release,
        2 => Op::CleanUp,
        3..5 => Op::Savepoint,
        5..7 => Op::ToTheNewest,
        7 => Op::ToTheOldest,
        _ => point(random),
    });
}
