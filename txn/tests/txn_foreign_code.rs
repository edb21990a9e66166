//! Code of others that a transaction calls, wakers and memory hooks: with no lock held, and whatever it does.
#![allow(clippy::unwrap_used)]

mod txn_calls;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use txn_calls::{begin, lock};
use untorn_txn::store::mem::LogOptions;
use untorn_txn::{Db, LockOptions, MemStore, Transaction, TxnState};

/// More than anything here should take.
const IN_TIME: Duration = Duration::from_secs(60);

/// Runs in a thread, which may hang.
fn ends(run: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let running = thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    if ended.recv_timeout(IN_TIME) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    running.join().unwrap();
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("as meant");
    }
}

/// As executors have whose tasks live in their wakers.
struct Owns(#[allow(dead_code)] Transaction);

impl Wake for Owns {
    fn wake(self: Arc<Self>) {}
}

type Deed = Box<dyn FnOnce() + Send>;

/// Does something when it is called first.
struct Does(Mutex<Option<Deed>>);

impl Wake for Does {
    fn wake(self: Arc<Self>) {
        let deed = self.0.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
    }
}

#[track_caller]
fn is_pending<T>(call: std::pin::Pin<&mut impl Future<Output = T>>, waker: &Waker) {
    assert!(call.poll(&mut Context::from_waker(waker)).is_pending());
}

#[test]
fn a_memory_hook_may_write_the_key_that_is_written() {
    ends(|| {
        let db = Db::in_memory();
        let txn = begin(&db);
        let inside = txn.clone();
        let hook = move |_| inside.put("k", "of the hook").unwrap();
        txn.buffer().set_memory_hook(hook);
        txn.put("k", vec![1; 1 << 20]).unwrap();
        let value = txn.blocking().get("k").unwrap();
        assert_eq!(value.as_deref(), Some(&b"of the hook"[..]));
        txn.buffer().clear_memory_hook();
    });
}

/// Rule 14.
#[test]
fn a_memory_hook_may_end_the_transaction_whose_keys_are_unlocked() {
    ends(|| {
        let db = Db::in_memory();
        let txn = begin(&db);
        let keys: Vec<_> = (0..2000_u32).map(u32::to_be_bytes).collect();
        txn.blocking()
            .lock_keys(&keys, LockOptions::default())
            .unwrap();
        // Keeps the flags of before, so that memory grows.
        let savepoint = txn.savepoint().unwrap();
        let inside = txn.clone();
        txn.buffer().set_memory_hook(move |_| {
            assert_eq!(inside.held_locks(), 0);
            inside.blocking().rollback().unwrap();
        });
        assert_eq!(txn.blocking().unlock_keys(&keys).unwrap(), keys.len());
        assert_eq!(txn.state(), TxnState::RolledBack);
        txn.buffer().clear_memory_hook();
        drop(savepoint);
    });
}

/// Rule 14.
#[test]
fn a_memory_hook_may_lock_when_fair_mode_is_done() {
    ends(|| {
        let db = Db::in_memory();
        let txn = begin(&db);
        txn.fair_begin().unwrap();
        let keys: Vec<_> = (0..2000).map(|key| format!("{key:04}")).collect();
        for key in &keys {
            lock(&txn, &[key]).unwrap();
        }
        let inside = txn.clone();
        let flagged = keys.len();
        txn.buffer().set_memory_hook(move |_| {
            assert_eq!(inside.len(), flagged);
            lock(&inside, &["of the hook"]).unwrap();
        });
        txn.fair_done().unwrap();
        assert_eq!(txn.held_locks(), flagged + 1);
        txn.buffer().clear_memory_hook();
    });
}

#[test]
fn a_waker_that_is_replaced_may_own_who_holds_the_lock() {
    ends(|| {
        let db = Db::in_memory();
        let (holder, other) = (begin(&db), begin(&db));
        lock(&holder, &["k"]).unwrap();
        let mut call = pin!(other.get_for_update("k"));
        is_pending(call.as_mut(), &Waker::from(Arc::new(Owns(holder))));
        let mut context = Context::from_waker(Waker::noop());
        while call.as_mut().poll(&mut context).is_pending() {
            thread::yield_now();
        }
    });
}

#[test]
fn siblings_that_wait_for_one_answer_are_woken_in_spite_of_a_waker_that_panics() {
    ends(|| {
        let store = Arc::new(MemStore::new());
        let db = Db::new(store.clone());
        let (holder, txn) = (begin(&db), begin(&db));
        lock(&holder, &["k"]).unwrap();
        let mut asks = pin!(txn.get_for_update("k"));
        is_pending(asks.as_mut(), Waker::noop());
        let mut joins = pin!(txn.get_for_update("k"));
        is_pending(joins.as_mut(), &Waker::from(Arc::new(Panics)));
        thread::scope(|scope| {
            let sibling = scope.spawn(|| lock(&txn, &["k"]));
            holder.blocking().rollback().unwrap();
            let mut context = Context::from_waker(Waker::noop());
            while asks.as_mut().poll(&mut context).is_pending() {
                thread::yield_now();
            }
            sibling.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_log_takes_and_tells_commits_in_spite_of_a_waker_that_panics() {
    ends(|| {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(directory.path(), LogOptions::default()).unwrap();
        for round in 0..20 {
            let bad = begin(&db);
            bad.put("bad", "v").unwrap();
            thread::scope(|scope| {
                for n in 0..4 {
                    let txn = begin(&db);
                    scope.spawn(move || {
                        txn.put(format!("{round}/{n}"), "v").unwrap();
                        txn.blocking().commit().unwrap();
                    });
                }
                let mut commits = pin!(bad.commit());
                let waker = Waker::from(Arc::new(Panics));
                if let Poll::Ready(done) = commits.as_mut().poll(&mut Context::from_waker(&waker)) {
                    done.unwrap();
                }
            });
        }
    });
}

/// Who closes a circle of waits finds the victim, and calls its waker.
#[test]
fn the_waker_of_a_victim_may_do_anything_with_the_transaction_that_found_it() {
    let deeds: [fn(Transaction); 4] = [
        |old| old.blocking().rollback().unwrap(),
        |old| drop(old.blocking().commit()),
        |old| drop(lock(&old, &["c"]).unwrap()),
        |old| {
            let mut call = pin!(old.get_for_update("d"));
            let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        },
    ];
    for deed in deeds {
        ends(move || {
            let db = Db::in_memory();
            let (old, young) = (begin(&db), begin(&db));
            lock(&old, &["a"]).unwrap();
            lock(&young, &["b"]).unwrap();
            let inside = old.clone();
            let (done, is_done) = mpsc::channel();
            let deed = move || {
                deed(inside);
                done.send(()).unwrap();
            };
            let waker = Waker::from(Arc::new(Does(Mutex::new(Some(Box::new(deed))))));
            let mut victim = pin!(young.get_for_update("a"));
            is_pending(victim.as_mut(), &waker);
            let mut closing = pin!(old.get_for_update("b"));
            let _ = closing
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            is_done.recv().unwrap();
            let ended = victim
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(ended, Poll::Ready(Err(_))), "{ended:?}");
        });
    }
}
