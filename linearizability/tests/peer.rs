//! `crossbeam-skiplist` 0.1.3, which is not linearizable: an overwrite leaves the key absent for a moment, and two removers of one
//! entry both win. Both are found, so the checker finds what is wrong in real maps and not only in controls made to be found.
#![allow(missing_docs, clippy::unwrap_used)]

use crossbeam_skiplist::SkipMap;
use rand::RngExt;
use rand::rngs::StdRng;
use untorn_linearizability::ordered_map::{Answer, Op, OrderedMap, plan};
use untorn_linearizability::{Object, Trials};

/// So many that none failing would be a surprise: about one in a hundred does.
const ROUNDS: usize = 3_000;

struct Skiplist(SkipMap<u8, u8>);

impl Object<OrderedMap> for Skiplist {
    fn new() -> Self {
        Skiplist(SkipMap::new())
    }

    fn apply(&self, _thread: usize, op: &Op) -> Answer {
        match *op {
            Op::Insert(key, value) => {
                self.0.insert(key, value);
                Answer::Done
            }
            Op::Remove(key) => Answer::Value(self.0.remove(&key).map(|entry| *entry.value())),
            Op::Get(key) => Answer::Value(self.0.get(&key).map(|entry| *entry.value())),
            op => unreachable!("{op:?} is not asked for"),
        }
    }
}

fn must_fail(choose: fn(&mut StdRng, u8) -> Op) {
    let trials = Trials::new(ROUNDS).count_all();
    let verdict = trials.run::<_, Skiplist>(&OrderedMap, |random| plan(random, choose));
    println!(
        "crossbeam-skiplist: {} of {} histories are not linearizable; the first:",
        verdict.wrong, verdict.rounds
    );
    println!("{:?}", verdict.expect_violation());
    let thread = std::thread::current();
    let (test, checked) = (thread.name().unwrap_or_default(), verdict.rounds);
    println!("HISTORIES peer_{test} threads=3 operations=40 checked={checked} as_expected=true");
}

#[test]
fn an_overwrite_takes_the_key_away_for_a_moment() {
    must_fail(|random, key| match random.random_range(0..2) {
        0 => Op::Insert(key, random.random()),
        _ => Op::Get(key),
    });
}

#[test]
fn two_removers_both_win() {
    must_fail(|random, key| match random.random_range(0..2) {
        0 => Op::Insert(key, random.random()),
        _ => Op::Remove(key),
    });
}
