//! Objects that are not linearizable, each of which has to be found out, and one that is.
#![allow(missing_docs, clippy::unwrap_used)]

use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use untorn_linearizability::ordered_map::{Answer, Op, OrderedMap, State, plan};
use untorn_linearizability::{Object, Specification, Trials};

const ROUNDS: usize = 2000;

fn any(random: &mut StdRng, key: u8) -> Op {
    match random.random_range(0..9) {
        0..3 => Op::Insert(key, random.random()),
        3 => Op::Remove(key),
        4..6 => Op::Get(key),
        6 => Op::Increment(key),
        7 => Op::Len,
        _ => Op::Snapshot,
    }
}

fn specified(state: &Mutex<State>, op: Op) -> Answer {
    OrderedMap.apply(&mut state.lock().unwrap(), &op)
}

#[test]
fn a_map_behind_a_lock_passes() {
    let verdict =
        Trials::new(ROUNDS).run::<_, Mutex<State>>(&OrderedMap, |random| plan(random, any));
    verdict.assert_linearizable();
    assert_eq!(verdict.rounds, ROUNDS);
}

fn must_fail<O: Object<OrderedMap>>() {
    let verdict = Trials::new(ROUNDS).run::<_, O>(&OrderedMap, |random| plan(random, any));
    println!(
        "after {} histories: {:?}",
        verdict.rounds,
        verdict.expect_violation()
    );
}

/// Its overwrites take a key away before they put it back, as some maps do.
struct Gap(Mutex<State>);

impl Object<OrderedMap> for Gap {
    fn new() -> Self {
        Gap(Mutex::default())
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        if let Op::Insert(key, _) = op {
            self.0.lock().unwrap().remove(key);
            thread::yield_now();
        }
        specified(&self.0, *op)
    }
}

#[test]
fn an_overwrite_that_takes_the_key_away_fails() {
    must_fail::<Gap>();
}

/// Looks for the value first and takes it out then, so that two may do so.
struct TwoRemoversWin(Mutex<State>);

impl Object<OrderedMap> for TwoRemoversWin {
    fn new() -> Self {
        TwoRemoversWin(Mutex::default())
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        match *op {
            Op::Remove(key) => {
                let found = specified(&self.0, Op::Get(key));
                thread::yield_now();
                specified(&self.0, Op::Remove(key));
                found
            }
            op => specified(&self.0, op),
        }
    }
}

#[test]
fn two_removers_that_both_win_fail() {
    must_fail::<TwoRemoversWin>();
}

/// Counts after it wrote, as most maps do.
struct CountedLate {
    state: Mutex<State>,
    len: AtomicUsize,
}

impl Object<OrderedMap> for CountedLate {
    fn new() -> Self {
        CountedLate {
            state: Mutex::default(),
            len: AtomicUsize::new(0),
        }
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        if let Op::Len = op {
            return Answer::Len(self.len.load(Ordering::SeqCst));
        }
        let (answer, before, after) = {
            let mut state = self.state.lock().unwrap();
            let before = state.len();
            (OrderedMap.apply(&mut state, op), before, state.len())
        };
        thread::yield_now();
        self.len
            .fetch_add(after.wrapping_sub(before), Ordering::SeqCst);
        answer
    }
}

#[test]
fn a_counter_that_comes_late_fails() {
    must_fail::<CountedLate>();
}

/// Reads key by key and calls it a snapshot.
struct ScanNotSnapshot(Mutex<State>);

impl Object<OrderedMap> for ScanNotSnapshot {
    fn new() -> Self {
        ScanNotSnapshot(Mutex::default())
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        let Op::Snapshot = op else {
            return specified(&self.0, *op);
        };
        let keys = 0..=u8::MAX;
        let found = keys.filter_map(|key| {
            if key < 8 {
                thread::yield_now();
            }
            let value = self.0.lock().unwrap().get(&key).copied()?;
            Some((key, value))
        });
        Answer::All(found.collect())
    }
}

#[test]
fn a_scan_that_is_called_a_snapshot_fails() {
    must_fail::<ScanNotSnapshot>();
}

/// Adds in two steps.
struct LostUpdate(Mutex<State>);

impl Object<OrderedMap> for LostUpdate {
    fn new() -> Self {
        LostUpdate(Mutex::default())
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        let Op::Increment(key) = *op else {
            return specified(&self.0, *op);
        };
        if let Answer::Value(Some(value)) = specified(&self.0, Op::Get(key)) {
            thread::yield_now();
            specified(&self.0, Op::Insert(key, value.wrapping_add(1)));
        }
        Answer::Done
    }
}

#[test]
fn an_update_that_loses_another_fails() {
    must_fail::<LostUpdate>();
}
