//! What a recorder of the `metrics` facade hears of transactions.
#![allow(clippy::unwrap_used)]

mod txn_held_store;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use txn_held_store::HeldStore;
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, OnDrop, PipelinedOptions};

/// Adds counters up.
#[derive(Default)]
struct Sums {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Sums {
    fn of(&self, name: &str) -> u64 {
        let counters = self.counters.lock().unwrap();
        let name = format!("untorn_txn_{name}_total");
        counters
            .get(&name)
            .map_or(0, |sum| sum.load(Ordering::Relaxed))
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().unwrap();
        let sum = counters.entry(key.name().to_owned()).or_default();
        Counter::from_arc(Arc::clone(sum))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn silent() -> BeginOptions {
    BeginOptions {
        on_drop: OnDrop::Silent,
        ..BeginOptions::default()
    }
}

#[test]
fn each_end_of_a_transaction_and_each_lock_is_counted_once() {
    let sums = Sums::default();
    with_local_recorder(&sums, || {
        let db = Db::in_memory();
        let no_wait = || LockOptions {
            wait: Some(Wait::NoWait),
            ..LockOptions::default()
        };
        let first = db.blocking().begin(silent()).unwrap();
        first.blocking().lock_keys(["a", "b"], no_wait()).unwrap();
        first.blocking().lock_keys(["b", "c"], no_wait()).unwrap();
        let second = db.blocking().begin(silent()).unwrap();
        assert!(second.blocking().lock_keys(["a"], no_wait()).is_err());
        second.blocking().rollback().unwrap();
        first.put("a", "1").unwrap();
        first.blocking().commit().unwrap();
        drop(db.blocking().begin(silent()).unwrap());
        let late = db.blocking().begin(BeginOptions::optimistic()).unwrap();
        late.insert("a", "2").unwrap();
        assert!(late.blocking().commit().is_err());
    });
    let seen = [
        ("begun", 4),
        ("committed", 1),
        ("commit_failed", 1),
        ("rolled_back", 2),
        ("keys_locked", 3),
        ("lock_calls_failed", 1),
        ("deadlocks", 0),
        ("locks_lost", 0),
    ];
    for (name, count) in seen {
        assert_eq!(sums.of(name), count, "{name}");
    }
}

#[test]
fn attempts_after_the_first_are_counted() {
    let sums = Sums::default();
    with_local_recorder(&sums, || {
        let db = Db::in_memory();
        let mut left = 2;
        let done: Result<(), Error> = db.blocking().run(silent(), |_| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            Err(Error::LockLost {
                start_ts: 1,
                primary: None,
                loss: untorn_txn::Loss::Refused,
            })
        });
        done.unwrap();
    });
    assert_eq!((sums.of("retried"), sums.of("begun")), (2, 3));
}

#[test]
fn reads_are_counted_by_whether_they_were_kept() {
    let sums = Sums::default();
    with_local_recorder(&sums, || {
        let db = Db::new(Arc::new(HeldStore::keeping(1 << 20, 0)));
        let txn = db.blocking().begin(silent()).unwrap();
        txn.blocking().get("a").unwrap();
        txn.blocking().get("a").unwrap();
        txn.blocking().batch_get(["a", "b", "c"]).unwrap();
    });
    assert_eq!((sums.of("reads_kept"), sums.of("reads_asked")), (2, 3));
}

/// Flushes have threads of their own, so the recorder is that of the process.
#[test]
fn each_flush_is_counted_and_each_that_fails() {
    let sums = Arc::new(Sums::default());
    metrics::set_global_recorder(Arc::clone(&sums)).unwrap();
    let db = Db::in_memory();
    let options = PipelinedOptions {
        on_drop: OnDrop::Silent,
        ..PipelinedOptions::default()
    };
    let txn = db.blocking().begin_pipelined(options.clone()).unwrap();
    for value in ["1", "2"] {
        txn.blocking().put("k", value).unwrap();
        txn.blocking().flush().unwrap();
    }
    txn.blocking().commit().unwrap();
    let txn = db.blocking().begin_pipelined(options).unwrap();
    txn.blocking().insert("k", "3").unwrap();
    assert!(txn.blocking().commit().is_err());
    assert_eq!((sums.of("flushed"), sums.of("flushes_failed")), (2, 1));
}
