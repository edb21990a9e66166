//! An ordered map of small numbers: the specification that the table, its peers and the controls share.

use crate::{Object, Specification};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is done to the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Puts a value under a key.
    Insert(u8, u8),
    /// Takes the key out and answers its value.
    Remove(u8),
    /// Answers the key's value.
    Get(u8),
    /// Adds one to a value that is there.
    Increment(u8),
    /// Replaces the first value by the second, and answers what was there.
    CompareAndSet(u8, u8, u8),
    /// Answers how many keys there are.
    Len,
    /// Answers all keys with their values, of one instant.
    Snapshot,
}

/// What an operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Done,
    /// A key's value, or that it has none.
    Value(Option<u8>),
    /// A number of keys.
    Len(usize),
    /// Keys and values in order.
    All(Vec<(u8, u8)>),
}

/// The map.
pub type State = BTreeMap<u8, u8>;

/// The specification: what [`BTreeMap`] does.
#[derive(Debug, Clone, Copy)]
pub struct OrderedMap;

impl Specification for OrderedMap {
    type Op = Op;
    type Answer = Answer;
    type State = State;

    fn initial(&self) -> State {
        State::new()
    }

    fn apply(&self, state: &mut State, op: &Op) -> Answer {
        match *op {
            Op::Insert(key, value) => {
                state.insert(key, value);
                Answer::Done
            }
            Op::Remove(key) => Answer::Value(state.remove(&key)),
            Op::Get(key) => Answer::Value(state.get(&key).copied()),
            Op::Increment(key) => {
                if let Some(value) = state.get_mut(&key) {
                    *value = value.wrapping_add(1);
                }
                Answer::Done
            }
            Op::CompareAndSet(key, old, new) => {
                let found = state.get(&key).copied();
                if found == Some(old) {
                    state.insert(key, new);
                }
                Answer::Value(found)
            }
            Op::Len => Answer::Len(state.len()),
            Op::Snapshot => Answer::All(state.iter().map(|(&key, &value)| (key, value)).collect()),
        }
    }

    fn part(&self, op: &Op) -> Option<u64> {
        match *op {
            Op::Insert(key, _)
            | Op::Remove(key)
            | Op::Get(key)
            | Op::Increment(key)
            | Op::CompareAndSet(key, ..) => Some(key.into()),
            Op::Len | Op::Snapshot => None,
        }
    }

    fn only_reads(&self, op: &Op) -> bool {
        matches!(op, Op::Get(_) | Op::Len | Op::Snapshot)
    }
}

/// The control that is linearizable.
impl Object<OrderedMap> for Mutex<State> {
    fn new() -> Self {
        Mutex::default()
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        OrderedMap.apply(&mut self.lock().unwrap_or_else(PoisonError::into_inner), op)
    }
}

/// A plan of three threads with 40 operations each on four keys, chosen among what `choose` makes for a key.
pub fn plan(random: &mut StdRng, choose: impl Fn(&mut StdRng, u8) -> Op) -> Vec<Vec<Op>> {
    const THREADS: usize = 3;
    const OPS: usize = 40;
    const KEYS: u8 = 4;
    let mut op = || {
        let key = random.random_range(0..KEYS);
        choose(random, key)
    };
    (0..THREADS)
        .map(|_| (0..OPS).map(|_| op()).collect())
        .collect()
}
