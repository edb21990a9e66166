//! Isolation, from histories (rule 48): snapshot isolation holds, write skew is found where it was brought about, locking
//! reads exclude it. Each history has two judges that must agree.
#![allow(clippy::unwrap_used)]

mod histories;
mod scenario;

use histories::{Model, Outcome, Recorder, Work};
use rand::RngExt;
use scenario::{rng, seed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use untorn_txn::lock::Wait;
use untorn_txn::store::faults::{FaultPlan, FaultyStore};
use untorn_txn::{
    BeginOptions, Db, Error, MemStore, Mode, OnDrop, PipelinedOptions, PipelinedTransaction,
    Transaction, TxnState,
};

const KEYS: usize = 5;

fn list(value: Option<bytes::Bytes>) -> Vec<u64> {
    let text = value.map_or(String::new(), |value| {
        String::from_utf8(value.to_vec()).unwrap()
    });
    text.split_terminator(',')
        .map(|number| number.parse().unwrap())
        .collect()
}

fn text(list: &[u64]) -> String {
    list.iter().map(|number| format!("{number},")).collect()
}

/// A kind of transactions.
trait Subject: Sized {
    fn read(&self, key: &str) -> Result<Option<bytes::Bytes>, Error>;
    fn write(&self, key: &str, value: String) -> Result<(), Error>;
    fn commit(&self) -> Result<(), Error>;
    fn rollback(&self) -> Result<(), Error>;
    fn state(&self) -> TxnState;
}

impl Subject for Transaction {
    fn read(&self, key: &str) -> Result<Option<bytes::Bytes>, Error> {
        match self.options().mode {
            Mode::Pessimistic => self.blocking().get_for_update(key),
            Mode::Optimistic => self.blocking().get(key),
        }
    }
    fn write(&self, key: &str, value: String) -> Result<(), Error> {
        self.put(key, value)
    }
    fn commit(&self) -> Result<(), Error> {
        self.blocking().commit().map(drop)
    }
    fn rollback(&self) -> Result<(), Error> {
        self.blocking().rollback()
    }
    fn state(&self) -> TxnState {
        Transaction::state(self)
    }
}

impl Subject for PipelinedTransaction {
    fn read(&self, key: &str) -> Result<Option<bytes::Bytes>, Error> {
        self.blocking().get(key)
    }
    fn write(&self, key: &str, value: String) -> Result<(), Error> {
        self.blocking().put(key, value)
    }
    fn commit(&self) -> Result<(), Error> {
        self.blocking().commit().map(drop)
    }
    fn rollback(&self) -> Result<(), Error> {
        self.blocking().rollback()
    }
    fn state(&self) -> TxnState {
        PipelinedTransaction::state(self)
    }
}

const LOCK_WAIT: Wait = Wait::For(Duration::from_millis(50));

fn begin(db: &Db, mode: Mode) -> Result<Transaction, Error> {
    db.blocking().begin(BeginOptions {
        mode,
        lock_wait: LOCK_WAIT,
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    })
}

/// Every write is flushed.
fn begin_pipelined(db: &Db) -> Result<PipelinedTransaction, Error> {
    db.blocking().begin_pipelined(PipelinedOptions {
        min_keys: 1,
        min_bytes: 1,
        lock_wait: LOCK_WAIT,
        on_drop: OnDrop::Silent,
        ..PipelinedOptions::default()
    })
}

/// Fills in what is read, then appends: what was read of the same key is written back, longer.
fn perform(txn: &impl Subject, work: &mut Work) -> Result<(), Error> {
    for (key, seen) in &mut work.reads {
        *seen = list(txn.read(key)?);
    }
    for (key, number) in &work.appends {
        let read = work.reads.iter().find(|read| read.0 == *key);
        let mut longer = read.expect("what is appended to was read").1.clone();
        longer.push(*number);
        txn.write(key, text(&longer))?;
    }
    Ok(())
}

/// Commits unless it failed before; records the outcome.
fn finish(
    recorder: &Recorder,
    process: usize,
    txn: &impl Subject,
    done: Result<(), Error>,
    work: Work,
) {
    let result = done.and_then(|()| txn.commit());
    let outcome = match (result, txn.state()) {
        (Ok(()), _) => Outcome::Committed,
        (Err(_), TxnState::Undetermined) => Outcome::Unknown,
        (Err(_), TxnState::Open) => {
            drop(txn.rollback());
            Outcome::Failed
        }
        (Err(_), _) => Outcome::Failed,
    };
    recorder.end(process, work, outcome);
}

/// Threads that read two lists and append to one of them, or to both.
fn random_histories<T: Subject>(
    begin: impl Fn() -> Result<T, Error> + Sync,
    rounds: usize,
    seed: u64,
) -> Recorder {
    let recorder = Recorder::default();
    let (next, processes) = (AtomicU64::new(1), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (recorder, next, processes) = (&recorder, &next, &processes);
            let begin = &begin;
            scope.spawn(move || {
                let mut rng = rng(seed, thread);
                for _ in 0..rounds {
                    let first = rng.random_range(0..KEYS);
                    let second = (first + rng.random_range(1..KEYS)) % KEYS;
                    let keys = [first, second].map(|key| format!("k{key}"));
                    let both = rng.random_range(0..4) == 0;
                    let mut work = Work {
                        reads: keys.iter().map(|key| (key.clone(), vec![])).collect(),
                        appends: keys
                            .iter()
                            .take(if both { 2 } else { 1 })
                            .map(|key| (key.clone(), next.fetch_add(1, Ordering::Relaxed)))
                            .collect(),
                    };
                    // A process whose outcome is unknown may still be at work: each has its own number.
                    let process = processes.fetch_add(1, Ordering::Relaxed);
                    let Ok(txn) = begin() else { continue };
                    recorder.begin(process, &work);
                    let done = perform(&txn, &mut work);
                    finish(recorder, process, &txn, done, work);
                }
            });
        }
    });
    recorder
}

/// One line for `docs/VERIFICATION.md`, once both judges have said what they had to.
fn evidence(test: &str, rounds: usize, recorder: &Recorder) {
    let committed = recorder.committed();
    println!(
        "HISTORIES isolation_{test} threads=4 operations={rounds} checked=1 committed={committed} as_expected=true"
    );
}

fn finally(db: &Db) -> BTreeMap<String, Vec<u64>> {
    let all = db.blocking().snapshot().unwrap();
    let all = all.blocking().range::<&[u8]>(..).map(Result::unwrap);
    all.map(|(key, value)| (String::from_utf8(key.to_vec()).unwrap(), list(Some(value))))
        .collect()
}

#[test]
fn optimistic_transactions_are_snapshot_isolated() {
    let seed = seed("optimistic_transactions_are_snapshot_isolated");
    let db = Db::in_memory();
    let recorder = random_histories(|| begin(&db, Mode::Optimistic), 150, seed);
    assert!(recorder.committed() > 50, "{}", recorder.committed());
    assert!(recorder.is(Model::SnapshotIsolation, &finally(&db)));
    evidence("optimistic", 150, &recorder);
}

/// Each generation of one is a part of its commit, and its conflicts are found when it is flushed. Also under faults.
#[test]
fn pipelined_transactions_are_snapshot_isolated() {
    let seed = seed("pipelined_transactions_are_snapshot_isolated");
    for chance in [0.0, 0.02] {
        let plan = FaultPlan::all(seed, chance);
        let store = Arc::new(FaultyStore::new(Arc::new(MemStore::new()), plan));
        let db = Db::new(store.clone());
        let recorder = random_histories(|| begin_pipelined(&db), 100, seed);
        store.heal();
        assert!(recorder.committed() > 20, "{}", recorder.committed());
        assert!(recorder.is(Model::SnapshotIsolation, &finally(&db)));
    }
}

#[test]
fn pessimistic_transactions_that_lock_what_they_read_are_serializable() {
    let seed = seed("pessimistic_transactions_that_lock_what_they_read_are_serializable");
    let db = Db::in_memory();
    let recorder = random_histories(|| begin(&db, Mode::Pessimistic), 150, seed);
    assert!(recorder.committed() > 50, "{}", recorder.committed());
    let finally = finally(&db);
    assert!(recorder.is(Model::Serializable, &finally));
    assert!(recorder.is(Model::SnapshotIsolation, &finally));
    evidence("pessimistic", 150, &recorder);
}

/// The control: two at a time read both lists and append to one each.
#[test]
fn write_skew_is_allowed_and_found() {
    let db = Db::in_memory();
    let recorder = Recorder::default();
    for round in 0..10 {
        let keys = ["x", "y"].map(str::to_owned);
        let reads = keys.clone().map(|key| (key, vec![])).to_vec();
        let mut pair: Vec<_> = keys
            .into_iter()
            .enumerate()
            .map(|(process, key)| {
                let work = Work {
                    reads: reads.clone(),
                    appends: vec![(key, 2 * round + process as u64 + 1)],
                };
                recorder.begin(process, &work);
                (process, begin(&db, Mode::Optimistic).unwrap(), work)
            })
            .collect();
        for (_, txn, work) in &mut pair {
            perform(txn, work).unwrap();
        }
        for (process, txn, work) in pair {
            finish(&recorder, process, &txn, Ok(()), work);
        }
    }
    assert_eq!(recorder.committed(), 20);
    let finally = finally(&db);
    assert!(recorder.is(Model::SnapshotIsolation, &finally));
    assert!(!recorder.is(Model::Serializable, &finally));
}

/// A second control, of both models: one who overwrites what it did not see.
#[test]
fn a_lost_update_is_found() {
    let recorder = Recorder::default();
    for process in 0..2 {
        let work = Work {
            reads: vec![("x".into(), vec![])],
            appends: vec![("x".into(), process as u64 + 1)],
        };
        recorder.begin(process, &work);
        recorder.end(process, work, Outcome::Committed);
    }
    let both = BTreeMap::from([("x".to_owned(), vec![1, 2])]);
    let reader = Work {
        reads: vec![("x".into(), vec![1, 2])],
        appends: vec![],
    };
    recorder.begin(2, &reader);
    recorder.end(2, reader, Outcome::Committed);
    assert!(!recorder.is(Model::SnapshotIsolation, &both));
    assert!(!recorder.is(Model::Serializable, &both));
}

#[test]
fn faults_break_no_isolation() {
    let seed = seed("faults_break_no_isolation");
    for (mode, model) in [
        (Mode::Optimistic, Model::SnapshotIsolation),
        (Mode::Pessimistic, Model::Serializable),
    ] {
        let plan = FaultPlan::all(seed, 0.02);
        let store = Arc::new(FaultyStore::new(Arc::new(MemStore::new()), plan));
        let db = Db::new(store.clone());
        let recorder = random_histories(|| begin(&db, mode), 60, seed);
        store.heal();
        assert!(recorder.committed() > 0);
        assert!(recorder.is(model, &finally(&db)));
        let test = match mode {
            Mode::Optimistic => "optimistic_under_faults",
            Mode::Pessimistic => "pessimistic_under_faults",
        };
        evidence(test, 60, &recorder);
    }
}
