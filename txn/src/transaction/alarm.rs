//! Wakes those who wait for a sibling when their time is up.
//!
//! One thread for all transactions of a database, started at the first need, ended with the last handle. It
//! holds wakers by instant and sleeps until the first of them; no caller's runtime is asked for a timer.

use crate::error::Error;
use crate::store::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Alarm {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    set: Mutex<Set>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Set {
    ended: bool,
    number: u64,
    wakers: BTreeMap<(Instant, u64), Waker>,
}

/// A waker that is set; taken out when this is dropped.
#[derive(Debug)]
pub(crate) struct Bell {
    shared: Arc<Shared>,
    at: (Instant, u64),
}

impl Alarm {
    /// Wakes `waker` at `when`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the operating system gives no thread.
    pub(crate) fn set(&self, when: Instant, waker: Waker) -> Result<Bell, Error> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("untorn-alarm".to_owned())
                .spawn(move || shared.run());
            *thread = Some(spawned.map_err(Error::store)?);
        }
        drop(thread);
        let mut set = lock(&self.shared.set);
        set.number += 1;
        let at = (when, set.number);
        set.wakers.insert(at, waker);
        drop(set);
        self.shared.changed.notify_one();
        Ok(Bell {
            shared: Arc::clone(&self.shared),
            at,
        })
    }
}

impl Shared {
    fn run(&self) {
        let mut set = lock(&self.set);
        while !set.ended {
            let now = Instant::now();
            match set.wakers.first_key_value() {
                Some((&(at, number), _)) if at <= now => {
                    let waker = set.wakers.remove(&(at, number));
                    drop(set);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    set = lock(&self.set);
                }
                Some((&(at, _), _)) => {
                    set = self
                        .changed
                        .wait_timeout(set, at - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                None => {
                    set = self
                        .changed
                        .wait(set)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let waker = lock(&self.shared.set).wakers.remove(&self.at);
        // Dropped after the mutex: what a waker's drop does is not ours.
        drop(waker);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        lock(&self.shared.set).ended = true;
        self.shared.changed.notify_all();
        // The thread may itself drop the last handle, through a waker: it cannot join itself.
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}
