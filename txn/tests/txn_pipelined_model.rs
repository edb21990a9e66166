//! Pipelined transactions beside a model: random writes, reads, stages and flushes, in front of a store to which flushes come twice
//! and late.
#![allow(clippy::unwrap_used)]

mod scenario;
mod txn_pipelined_db;

use rand::RngExt;
use rand::rngs::SmallRng;
use scenario::{rng, seed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use txn_pipelined_db::{begin, newest};
use untorn_txn::buffer::Stage;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore, Request};
use untorn_txn::{BeginOptions, Db, Error, MemStore, PipelinedTransaction};

const KEYS: usize = 12;
const STEPS: usize = 120;

type Content = BTreeMap<String, String>;
/// Own writes: a value, or deleted.
type Own = BTreeMap<String, Option<String>>;

struct Beside {
    txn: PipelinedTransaction,
    stored: Content,
    own: Own,
    /// The open stages, with what was written before each.
    stages: Vec<(Stage, Own)>,
}

impl Beside {
    fn seen(&self, key: &str) -> Option<String> {
        match self.own.get(key) {
            Some(own) => own.clone(),
            None => self.stored.get(key).cloned(),
        }
    }

    fn step(&mut self, rng: &mut SmallRng, number: usize) {
        let key = format!("{:02}", rng.random_range(0..KEYS));
        let value = number.to_string();
        let calls = self.txn.blocking();
        match rng.random_range(0..20) {
            0..6 => {
                calls.put(&key, &value).unwrap();
                self.own.insert(key, Some(value));
            }
            6..9 => {
                calls.delete(&key).unwrap();
                self.own.insert(key, None);
            }
            9..12 => match self.own.get(&key) {
                Some(Some(_)) => {
                    let refused = calls.insert(&key, &value);
                    assert!(
                        matches!(refused, Err(Error::KeyExists { .. })),
                        "{refused:?}"
                    );
                }
                // It would fail the flush.
                None if self.stored.contains_key(&key) => {}
                _ => {
                    calls.insert(&key, &value).unwrap();
                    self.own.insert(key, Some(value));
                }
            },
            12..15 => {
                let seen = calls.get(&key).unwrap();
                let expected = self.seen(&key);
                assert_eq!(
                    seen.as_deref(),
                    expected.as_deref().map(str::as_bytes),
                    "{key}"
                );
            }
            15 => self.reads_all(),
            16 if self.stages.is_empty() => drop(calls.flush().unwrap()),
            17 if self.stages.len() < 3 => {
                let stage = self.txn.stage().unwrap();
                self.stages.push((stage, self.own.clone()));
            }
            _ => match self.stages.pop() {
                Some((stage, before)) if rng.random_bool(0.5) => {
                    stage.cleanup().unwrap();
                    self.own = before;
                }
                Some((stage, _)) => stage.release().unwrap(),
                None => {}
            },
        }
    }

    fn reads_all(&self) {
        let keys: Vec<String> = (0..KEYS).map(|n| format!("{n:02}")).collect();
        let seen = self.txn.blocking().batch_get(&keys).unwrap();
        for (key, seen) in keys.iter().zip(seen) {
            let expected = self.seen(key);
            assert_eq!(
                seen.as_deref(),
                expected.as_deref().map(str::as_bytes),
                "{key}"
            );
        }
    }

    /// What is stored afterwards.
    fn end(mut self, rng: &mut SmallRng, store: &MemStore) -> Content {
        while let Some((stage, _)) = self.stages.pop() {
            stage.release().unwrap();
        }
        self.reads_all();
        match rng.random_range(0..3) {
            0 => self.txn.blocking().rollback().unwrap(),
            1 => {
                drop(self.txn);
                // It does not wait for a flush under way, which takes back itself what it has locked.
                let until = Instant::now() + Duration::from_secs(60);
                while !store.locks().is_empty() && Instant::now() < until {
                    thread::yield_now();
                }
            }
            _ => {
                self.txn.blocking().commit().unwrap();
                for (key, value) in self.own {
                    match value {
                        Some(value) => drop(self.stored.insert(key, value)),
                        None => drop(self.stored.remove(&key)),
                    }
                }
            }
        }
        self.stored
    }
}

fn stored(db: &Db) -> Content {
    newest(db).into_iter().collect()
}

#[test]
fn whatever_is_flushed_when_the_transaction_behaves_as_one_that_keeps_all_in_memory() {
    let seed = seed("whatever_is_flushed_when");
    for round in 0..60 {
        let mut rng = rng(seed, round);
        let plan = FaultPlan::new(seed)
            .chance(Fault::Duplicate, 0.2)
            .chance(Fault::LateDuplicate, 0.3)
            .only([Request::Flush, Request::Flushed]);
        let inner = Arc::new(MemStore::new());
        let db = Db::new(Arc::new(FaultyStore::new(inner.clone(), plan)));
        let before = db.blocking().begin(BeginOptions::default()).unwrap();
        for n in (0..KEYS).step_by(3) {
            before.put(format!("{n:02}"), "before").unwrap();
        }
        before.blocking().commit().unwrap();
        for _ in 0..3 {
            let mut beside = Beside {
                txn: begin(&db, rng.random_range(1..6)),
                stored: stored(&db),
                own: Own::new(),
                stages: Vec::new(),
            };
            for number in 0..STEPS {
                beside.step(&mut rng, number);
            }
            let expected = beside.end(&mut rng, &inner);
            assert_eq!(stored(&db), expected, "round {round}");
            assert!(inner.locks().is_empty());
        }
    }
}
