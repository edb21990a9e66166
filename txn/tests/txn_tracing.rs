//! What a subscriber of `tracing` hears of transactions.
#![allow(clippy::unwrap_used)]

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, LockOptions, OnDrop, Transaction};

/// The names of spans, and the messages of events with their level.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// What was heard while `run` ran on this thread.
    fn during(run: impl FnOnce()) -> Vec<String> {
        let heard = Heard::default();
        tracing::subscriber::with_default(heard.clone(), run);
        std::mem::take(&mut *heard.0.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("untorn_txn")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(format!("span {}", span.metadata().name()));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(format!("{} ", event.metadata().level()));
        event.record(&mut message);
        self.note(message.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn begin(db: &Db, on_drop: OnDrop) -> Transaction {
    let options = BeginOptions {
        on_drop,
        ..BeginOptions::default()
    };
    db.blocking().begin(options).unwrap()
}

#[test]
fn begin_lock_commit_and_rollback_have_spans() {
    let db = Db::in_memory();
    let heard = Heard::during(|| {
        let txn = begin(&db, OnDrop::Silent);
        let locked = txn.blocking().lock_keys(["k"], LockOptions::default());
        locked.unwrap();
        txn.blocking().commit().unwrap();
        begin(&db, OnDrop::Silent).blocking().rollback().unwrap();
    });
    let spans: Vec<_> = heard
        .iter()
        .filter(|what| what.starts_with("span"))
        .collect();
    let expected = ["begin", "lock_keys", "commit", "begin", "rollback"];
    assert_eq!(
        spans,
        expected.map(|name| format!("span {name}")).each_ref()
    );
    for event in ["DEBUG begin", "DEBUG commit"] {
        assert!(heard.iter().any(|what| what == event), "{heard:?}");
    }
}

#[test]
fn an_attempt_that_fails_and_the_next_one_are_told() {
    let db = Db::in_memory();
    let heard = Heard::during(|| {
        let mut is_first = true;
        let done = db.blocking().run(BeginOptions::default(), |_| {
            match std::mem::take(&mut is_first) {
                true => Err(Error::SnapshotTooOld {
                    start_ts: 1,
                    safe_point: 2,
                }),
                false => Ok(()),
            }
        });
        done.unwrap();
    });
    let count = |what: &str| heard.iter().filter(|heard| *heard == what).count();
    assert_eq!(count("span attempt"), 2);
    assert_eq!(count("DEBUG transaction is tried again"), 1);
}

#[test]
fn a_deadlock_is_told_where_its_victim_is() {
    let db = Db::in_memory();
    let (elder, younger) = (begin(&db, OnDrop::Silent), begin(&db, OnDrop::Silent));
    let forever = || LockOptions {
        wait: Some(Wait::Forever),
        ..LockOptions::default()
    };
    elder.blocking().lock_keys(["a"], forever()).unwrap();
    younger.blocking().lock_keys(["b"], forever()).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| elder.blocking().lock_keys(["b"], forever()));
        let heard = Heard::during(|| {
            let failed = younger.blocking().lock_keys(["a"], forever());
            assert!(matches!(failed, Err(Error::Deadlock { .. })));
        });
        assert!(
            heard.iter().any(|what| what == "INFO deadlock"),
            "{heard:?}"
        );
        younger.blocking().rollback().unwrap();
        waits.join().unwrap().unwrap();
    });
}

/// Rule 61 and the policies of a drop.
#[test]
fn a_drop_with_something_to_commit_warns_unless_it_is_meant_to_be_silent() {
    let db = Db::in_memory();
    let warning = "WARN an open transaction was dropped: it is rolled back";
    for (on_drop, writes, warns) in [
        (OnDrop::Warn, true, true),
        (OnDrop::Warn, false, false),
        (OnDrop::Silent, true, false),
    ] {
        let heard = Heard::during(|| {
            let txn = begin(&db, on_drop);
            if writes {
                txn.put("k", "v").unwrap();
            }
        });
        let is_warned = heard.iter().any(|what| what == warning);
        assert_eq!(is_warned, warns, "{heard:?}");
    }
}
