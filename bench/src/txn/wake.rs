//! Two marks beside the hand-off to a thread: what the lock table adds, and what the operating system takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use untorn_txn::lock::{Acquire, LockMode, LockRequest, LockTable};

use super::Timed;
use super::companion::Companion;
use super::hand_off::hold;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A release with one task in the queue: the release, and the call of the task's waker.
pub struct WakeTask {
    table: LockTable,
    key: Bytes,
    holder: u64,
}

impl WakeTask {
    /// A table in which one owner holds the key.
    pub fn new() -> Self {
        let (table, key) = (LockTable::new(), Bytes::from_static(b"t_row___"));
        let held = table.try_acquire(1, &key, LockMode::Exclusive, 0);
        held.expect("the table is empty");
        Self {
            table,
            key,
            holder: 1,
        }
    }
}

impl Default for WakeTask {
    fn default() -> Self {
        Self::new()
    }
}

impl Timed for WakeTask {
    fn time(&mut self) -> Duration {
        let next = self.holder + 1;
        let request = LockRequest::default();
        let mut call: Pin<Box<Acquire>> =
            Box::pin(
                self.table
                    .acquire(next, &self.key, LockMode::Exclusive, &request),
            );
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        assert!(call.as_mut().poll(&mut context).is_pending());
        let start = Instant::now();
        self.table.release(self.holder, &self.key, 0);
        let elapsed = start.elapsed();
        assert!(woken.0.load(Ordering::Acquire), "the task was not woken");
        assert!(call.as_mut().poll(&mut context).is_ready());
        self.holder = next;
        elapsed
    }
}

/// From the unpark of a thread that is parked to the moment at which it runs: no lock at all.
pub struct Unpark {
    signs: Arc<Signs>,
    sleeper: Companion,
}

#[derive(Default)]
struct Signs {
    parked: AtomicBool,
    go: AtomicBool,
}

impl Unpark {
    /// A thread that sleeps when it is asked to.
    pub fn new() -> Self {
        let signs = Arc::new(Signs::default());
        let sleeper = Companion::new({
            let signs = signs.clone();
            move || {
                signs.parked.store(true, Ordering::Release);
                while !signs.go.swap(false, Ordering::AcqRel) {
                    thread::park();
                }
                Instant::now()
            }
        });
        Self { signs, sleeper }
    }
}

impl Default for Unpark {
    fn default() -> Self {
        Self::new()
    }
}

impl Timed for Unpark {
    fn time(&mut self) -> Duration {
        self.sleeper.ask();
        while !self.signs.parked.swap(false, Ordering::AcqRel) {
            thread::yield_now();
        }
        hold();
        let start = Instant::now();
        self.signs.go.store(true, Ordering::Release);
        self.sleeper.unpark();
        self.sleeper.answer().saturating_duration_since(start)
    }
}
