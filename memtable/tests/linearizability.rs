//! Histories of a few threads, each checked against every sequential order that it allows (Wing and Gong, "Testing and verifying
//! concurrent objects", 1993). Two objects that are not linearizable show that the checker finds what it should.

#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use untorn_memtable::{Memtable, Update};

const THREADS: usize = 3;
const OPS_EACH: usize = 5;
const KEYS: u8 = 3;
const ROUNDS: usize = if cfg!(miri) {
    2
} else if cfg!(debug_assertions) {
    4000
} else {
    20_000
};

type State = BTreeMap<u8, u8>;

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(u8, u8),
    Remove(u8),
    Get(u8),
    /// Adds to a value that is there.
    Add(u8),
    Stats,
    Snapshot,
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Done,
    Value(Option<u8>),
    Stats(usize, usize),
    All(Vec<(u8, u8)>),
}

/// What the operation answers and leaves, one after another.
fn specified(op: Op, state: &mut State) -> Answer {
    match op {
        Op::Insert(key, value) => {
            state.insert(key, value);
            Answer::Done
        }
        Op::Remove(key) => Answer::Value(state.remove(&key)),
        Op::Get(key) => Answer::Value(state.get(&key).copied()),
        Op::Add(key) => {
            if let Some(value) = state.get_mut(&key) {
                *value = value.wrapping_add(1);
            }
            Answer::Done
        }
        Op::Stats => Answer::Stats(state.len(), 2 * state.len()),
        Op::Snapshot => Answer::All(state.iter().map(|(&key, &value)| (key, value)).collect()),
    }
}

trait Subject: Sync {
    fn new() -> Self;
    fn apply(&self, op: Op) -> Answer;
}

impl Subject for Memtable {
    fn new() -> Self {
        Memtable::new().with_leaf_capacity(2)
    }

    fn apply(&self, op: Op) -> Answer {
        match op {
            Op::Insert(key, value) => {
                self.insert([key], [value]).unwrap();
                Answer::Done
            }
            Op::Remove(key) => {
                Answer::Value(self.remove([key]).unwrap().map(|entry| entry.value[0]))
            }
            Op::Get(key) => Answer::Value(self.get([key]).map(|value| value[0])),
            Op::Add(key) => {
                let add = |item: Option<untorn_memtable::Item<'_>>| match item {
                    Some(item) => Update::Put {
                        value: vec![item.value[0].wrapping_add(1)].into(),
                        tag: 0,
                    },
                    None => Update::Keep,
                };
                self.update([key], add).unwrap();
                Answer::Done
            }
            Op::Stats => {
                let stats = self.stats();
                Answer::Stats(stats.len, stats.size)
            }
            Op::Snapshot => {
                let all = self.snapshot().range::<&[u8]>(..);
                Answer::All(all.map(|entry| (entry.key[0], entry.value[0])).collect())
            }
        }
    }
}

/// A control that is linearizable.
struct Locked(Mutex<State>);

impl Subject for Locked {
    fn new() -> Self {
        Locked(Mutex::default())
    }

    fn apply(&self, op: Op) -> Answer {
        specified(op, &mut self.0.lock().unwrap())
    }
}

/// A control whose overwrites take a key away before they put it back, as some maps do.
struct Torn(Mutex<State>);

impl Subject for Torn {
    fn new() -> Self {
        Torn(Mutex::default())
    }

    fn apply(&self, op: Op) -> Answer {
        if let Op::Insert(key, _) = op {
            self.0.lock().unwrap().remove(&key);
            thread::yield_now();
        }
        specified(op, &mut self.0.lock().unwrap())
    }
}

/// A control that counts after it wrote, as most maps do.
struct CountedLate {
    state: Mutex<State>,
    len: AtomicUsize,
}

impl Subject for CountedLate {
    fn new() -> Self {
        CountedLate {
            state: Mutex::default(),
            len: AtomicUsize::new(0),
        }
    }

    fn apply(&self, op: Op) -> Answer {
        if let Op::Stats = op {
            let len = self.len.load(Ordering::SeqCst);
            return Answer::Stats(len, 2 * len);
        }
        let (answer, before, after) = {
            let mut state = self.state.lock().unwrap();
            let before = state.len();
            (specified(op, &mut state), before, state.len())
        };
        thread::yield_now();
        self.len
            .fetch_add(after.wrapping_sub(before), Ordering::SeqCst);
        answer
    }
}

#[derive(Debug)]
struct Event {
    op: Op,
    answer: Answer,
    called: Instant,
    returned: Instant,
}

/// What happened when the threads did their operations at the same time.
fn history<S: Subject>(seed: u64) -> Vec<Event> {
    let subject = S::new();
    let waiting = AtomicUsize::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                let (subject, waiting) = (&subject, &waiting);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed * THREADS as u64 + thread);
                    let ops: [Op; OPS_EACH] = std::array::from_fn(|_| {
                        let key = random.random_range(0..KEYS);
                        match random.random_range(0..9) {
                            0..3 => Op::Insert(key, random.random()),
                            3 => Op::Remove(key),
                            4..6 => Op::Get(key),
                            6 => Op::Add(key),
                            7 => Op::Stats,
                            _ => Op::Snapshot,
                        }
                    });
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    while waiting.load(Ordering::SeqCst) > 0 {
                        thread::yield_now();
                    }
                    ops.map(|op| {
                        let called = Instant::now();
                        let answer = subject.apply(op);
                        Event {
                            op,
                            answer,
                            called,
                            returned: Instant::now(),
                        }
                    })
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Looks for an order of the events that agrees with time and with the specification.
fn is_linearizable(events: &[Event]) -> bool {
    fn search(
        events: &[Event],
        done: u32,
        state: &State,
        failed: &mut HashSet<(u32, State)>,
    ) -> bool {
        let left = || (0..events.len()).filter(|at| done & (1 << at) == 0);
        let Some(first_return) = left().map(|at| events[at].returned).min() else {
            return true;
        };
        if failed.contains(&(done, state.clone())) {
            return false;
        }
        // Next is one that was called before any of those that are left had returned.
        let found = left()
            .filter(|&at| events[at].called <= first_return)
            .any(|at| {
                let mut next = state.clone();
                specified(events[at].op, &mut next) == events[at].answer
                    && search(events, done | 1 << at, &next, failed)
            });
        if !found {
            failed.insert((done, state.clone()));
        }
        found
    }
    search(events, 0, &State::new(), &mut HashSet::new())
}

/// The first of so many histories that is not linearizable.
fn first_violation<S: Subject>(rounds: usize) -> Option<Vec<Event>> {
    (0..rounds as u64)
        .map(history::<S>)
        .find(|events| !is_linearizable(events))
}

#[test]
fn every_history_of_a_table_is_linearizable() {
    if let Some(mut events) = first_violation::<Memtable>(ROUNDS) {
        events.sort_by_key(|event| event.called);
        panic!("not linearizable: {events:#?}");
    }
}

#[test]
fn the_checker_accepts_a_map_behind_a_lock() {
    assert!(first_violation::<Locked>(ROUNDS / 4).is_none());
}

#[test]
fn the_checker_finds_overwrites_that_take_the_key_away() {
    assert!(first_violation::<Torn>(ROUNDS * 10).is_some());
}

#[test]
fn the_checker_finds_counters_that_come_late() {
    assert!(first_violation::<CountedLate>(ROUNDS * 10).is_some());
}
