//! A contended lock changes hands: from the rollback of its holder to the moment at which the thread that waited runs
//! on with it.
//!
//! The thread is parked by then, so most of the time is the operating system's: [`Unpark`](super::Unpark) shows its
//! share.

use std::hint::spin_loop;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Timed;
use super::companion::Companion;
use super::engine::{Engine, EngineTxn, row, until_waiting};

/// How long the lock is held once the other thread waits: time to fall asleep.
pub(super) const HOLD: Duration = Duration::from_micros(20);

const GRANTED: &str = "the holder gives the lock back";

pub(super) fn hold() {
    let since = Instant::now();
    while since.elapsed() < HOLD {
        spin_loop();
    }
}

/// A store, and a thread that waits for a lock of it.
pub struct HandOff<E> {
    engine: Arc<E>,
    waiter: Companion,
}

impl<E: Engine> HandOff<E> {
    /// An empty store.
    pub fn new() -> Self {
        let engine = Arc::new(E::open());
        let waiter = Companion::new({
            let engine = engine.clone();
            move || {
                let txn = engine.begin();
                txn.lock(&row(1)).expect(GRANTED);
                let granted = Instant::now();
                txn.rollback().expect(GRANTED);
                granted
            }
        });
        Self { engine, waiter }
    }
}

impl<E: Engine> Default for HandOff<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Engine> Timed for HandOff<E> {
    fn time(&mut self) -> Duration {
        let holder = self.engine.begin();
        holder.lock(&row(1)).expect("the key is free");
        self.waiter.ask();
        until_waiting(&*self.engine, 1);
        hold();
        let released = Instant::now();
        holder.rollback().expect(GRANTED);
        self.waiter.answer().saturating_duration_since(released)
    }
}
