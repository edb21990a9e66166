//! The public face of the lock table.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::LockError;
use super::acquire::Acquire;
use super::core::{Begun, Core};
use super::request::{
    Granted, HeldLock, Holder, LockMode, LockRequest, OwnerId, Wait, WaitingCall,
};
use super::stats::LockStats;
use super::taking::Taking;

/// Settings of a [`LockTable`].
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::lock::{LockTable, LockTableOptions};
///
/// let options = LockTableOptions::default().deadlock_delay(Duration::from_millis(2));
/// let table = LockTable::with_options(options);
/// assert!(table.is_empty());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockTableOptions {
    /// How long a call waits before all that it waits for is searched for a deadlock. Default: 500 us. A deadlock of
    /// few owners is found at once.
    pub deadlock_delay: Duration,
}

impl Default for LockTableOptions {
    fn default() -> Self {
        Self {
            deadlock_delay: Duration::from_micros(500),
        }
    }
}

impl LockTableOptions {
    /// Sets [`Self::deadlock_delay`].
    #[must_use]
    pub fn deadlock_delay(mut self, delay: Duration) -> Self {
        self.deadlock_delay = delay;
        self
    }
}

/// Exclusive and shared locks on keys: first come, first served, with timeouts and deadlock detection.
///
/// A clone is the same table. Every method may be called from any number of threads at once. What is promised, how it
/// works and what it costs is told in the [module](super).
///
/// The table keeps the `Bytes` that it is given while the key is held or waited for, and with it the buffer which that
/// is a part of.
#[derive(Clone)]
pub struct LockTable {
    shared: Arc<Shared>,
}

/// What all handles of a table share. Its drop ends the timer thread.
pub(super) struct Shared {
    pub(super) core: Arc<Core>,
    timer_thread: Mutex<Option<JoinHandle<()>>>,
}

impl LockTable {
    /// An empty table with the default settings.
    pub fn new() -> Self {
        Self::with_options(LockTableOptions::default())
    }

    /// An empty table.
    pub fn with_options(options: LockTableOptions) -> Self {
        let core = Arc::new(Core::new(options.deadlock_delay));
        Self {
            shared: Arc::new(Shared {
                core,
                timer_thread: Mutex::new(None),
            }),
        }
    }

    /// Asks for a lock; the answer is a future.
    ///
    /// The call takes its place in the queue now, not at the first poll. Granted at once if the key is free for it, or
    /// if the owner holds it in this mode or a stronger one (`already_held`).
    ///
    /// # Errors
    ///
    /// Told by the future: [`LockError::NotAvailable`] if it must not wait, [`LockError::Timeout`],
    /// [`LockError::DeadlineExceeded`], [`LockError::Deadlock`], [`LockError::Cancelled`], and
    /// [`LockError::TimerUnavailable`] if the first future that has to wait cannot start the timer thread.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use untorn_txn::lock::{LockMode, LockRequest, LockTable};
    /// # fn block_on<F: std::future::Future>(f: F) -> F::Output {
    /// #     let mut f = std::pin::pin!(f);
    /// #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop { if let std::task::Poll::Ready(v) = f.as_mut().poll(&mut cx) { return v } }
    /// # }
    /// let table = LockTable::new();
    /// let key = Bytes::from_static(b"k");
    /// let first = table.acquire(1, &key, LockMode::Exclusive, &LockRequest::attempt(1));
    /// assert!(block_on(first).is_ok());
    /// let second = table.acquire(2, &key, LockMode::Exclusive, &LockRequest::attempt(1));
    /// assert_eq!(table.waiting()[0].blockers, [1]);
    /// table.release(1, &key, 1);
    /// assert!(block_on(second).is_ok());
    /// ```
    pub fn acquire(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Acquire {
        let shared = self.shared.clone();
        match shared.core.begin(owner, key, mode, request) {
            Begun::Ended(result) => {
                Acquire::ended(shared, owner, key.clone(), request.attempt, result)
            }
            Begun::Waiting(waiter) => match shared.start_timer() {
                Ok(()) => {
                    shared.core.arm(&waiter);
                    Acquire::waiting(shared, waiter)
                }
                Err(reason) => {
                    shared.core.abandon(&waiter);
                    let error = LockError::TimerUnavailable { reason };
                    Acquire::ended(shared, owner, key.clone(), request.attempt, Err(error))
                }
            },
        }
    }

    /// Asks for a lock and parks the thread until the answer is there. Needs no runtime, and can do without the timer
    /// thread if that cannot be started.
    ///
    /// # Errors
    ///
    /// As [`Self::acquire`], without [`LockError::TimerUnavailable`].
    pub fn acquire_blocking(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Result<Granted, LockError> {
        let core = &self.shared.core;
        match core.begin(owner, key, mode, request) {
            Begun::Ended(result) => result,
            Begun::Waiting(waiter) => {
                core.look_near(&waiter);
                let mut timed = false;
                let outcome = core.park(&waiter, || {
                    timed = self.shared.start_timer().is_ok();
                    if timed {
                        core.arm(&waiter);
                    }
                    timed
                });
                if timed {
                    core.timer.disarm(&waiter);
                }
                core.finish(&waiter, outcome)
            }
        }
    }

    /// Asks for a lock and does not wait. The cheapest way to ask.
    ///
    /// # Errors
    ///
    /// [`LockError::NotAvailable`].
    pub fn try_acquire(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        attempt: u64,
    ) -> Result<Granted, LockError> {
        let request = LockRequest {
            wait: Wait::NoWait,
            deadline: None,
            attempt,
        };
        match self.shared.core.begin(owner, key, mode, &request) {
            Begun::Ended(result) => result,
            // Not reached: such a request does not wait. Answered soundly all the same.
            Begun::Waiting(waiter) => {
                self.shared.core.abandon(&waiter);
                Err(LockError::NotAvailable {
                    key: key.clone(),
                    holders: Vec::new(),
                })
            }
        }
    }

    /// For locks that an owner takes one after another, without waiting and without upgrades.
    pub(crate) fn taking(&self, owner: OwnerId, mode: LockMode) -> Taking<'_> {
        Taking::new(&self.shared.core, owner, mode)
    }

    /// Undoes the acquisition of `owner` on `key` under this attempt number; false if there is none.
    ///
    /// The owner lets go of the key with its last acquisition, and falls back to shared with its last exclusive one.
    /// Calls that wait, the owner's own included, are not withdrawn. A request that came twice under one number is
    /// undone by one release.
    pub fn release(&self, owner: OwnerId, key: &[u8], attempt: u64) -> bool {
        let core = &self.shared.core;
        let release = |queue: &mut super::queue::KeyQueue, ended: &mut super::waiter::Ended| {
            queue.release(owner, attempt, ended)
        };
        core.change_and_wake(key, release).unwrap_or(false)
    }

    /// Undoes every acquisition of `owner` on these keys, whatever its attempt number; says how many of the keys the
    /// owner held. Keys are let go of one after another. Calls that wait are not withdrawn.
    pub fn release_all<K: AsRef<[u8]>>(
        &self,
        owner: OwnerId,
        keys: impl IntoIterator<Item = K>,
    ) -> usize {
        let core = &self.shared.core;
        let held = |key: &K| {
            let released = core.change_and_wake(key.as_ref(), |queue, ended| {
                queue.release_owner(owner, ended)
            });
            released.unwrap_or(false)
        };
        keys.into_iter().filter(held).count()
    }

    /// Ends every waiting call of `owner` with [`LockError::Cancelled`]; says how many. Calls made later are not
    /// affected.
    pub fn cancel_owner(&self, owner: OwnerId) -> usize {
        let core = &self.shared.core;
        core.graph
            .calls(owner)
            .iter()
            .filter(|waiter| core.cancel(waiter))
            .count()
    }

    /// Who holds a key, ascending, at one instant.
    pub fn holders(&self, key: &[u8]) -> Vec<Holder> {
        self.shared
            .core
            .keys
            .look(key, |queue| queue.holders())
            .unwrap_or_default()
    }

    /// The mode in which `owner` holds a key, if it does.
    pub fn mode_of(&self, owner: OwnerId, key: &[u8]) -> Option<LockMode> {
        self.shared
            .core
            .keys
            .look(key, |queue| queue.mode_of(owner))
            .flatten()
    }

    /// Every key that is held, in no order. For people: each key is told as it was at some instant during the call,
    /// and writers of a part of the table are held up while that part is read.
    pub fn held(&self) -> Vec<HeldLock> {
        let mut held = Vec::new();
        self.shared.core.keys.for_each(|key, queue| {
            let holders = queue.holders();
            if !holders.is_empty() {
                held.push(HeldLock {
                    key: key.clone(),
                    holders,
                    waiters: queue.waiters(),
                });
            }
        });
        held
    }

    /// Every call that waits, the one that has waited longest first. For people: see [`Self::held`].
    pub fn waiting(&self) -> Vec<WaitingCall> {
        let core = &self.shared.core;
        let mut waiting = core.graph.all();
        waiting.sort_by_key(|waiter| waiter.since);
        let call = |waiter: Arc<super::waiter::Waiter>| {
            let blockers = core
                .keys
                .look(&waiter.key, |queue| queue.blockers_of(&waiter))?;
            waiter.is_waiting().then(|| WaitingCall {
                owner: waiter.owner,
                key: waiter.key.clone(),
                mode: waiter.mode,
                attempt: waiter.attempt,
                waited: waiter.since.elapsed(),
                blockers,
            })
        };
        waiting.into_iter().filter_map(call).collect()
    }

    /// The keys for which calls of `owner` wait. What others wait for costs it nothing.
    pub(crate) fn waited_for_by(&self, owner: OwnerId) -> HashSet<Bytes> {
        let calls = self.shared.core.graph.calls(owner);
        calls.iter().map(|call| call.key.clone()).collect()
    }

    /// The counters, each exact at rest.
    pub fn stats(&self) -> LockStats {
        self.shared.core.counters.read()
    }

    /// How many keys are held or waited for: exact at rest.
    pub fn len(&self) -> usize {
        self.shared.core.keys.len()
    }

    /// Whether no key is held or waited for: exact at rest.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for LockTable {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LockTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners_waiting = self.shared.core.graph.len();
        f.debug_struct("LockTable")
            .field("keys", &self.len())
            .field("owners_waiting", &owners_waiting)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Starts the timer thread if it does not run. Not in a model: there, time does not pass.
    fn start_timer(&self) -> Result<(), String> {
        if cfg!(untorn_loom) {
            return Ok(());
        }
        let mut thread = self
            .timer_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let core = self.core.clone();
            let builder = std::thread::Builder::new().name("untorn-locks".into());
            let spawned = builder.spawn(move || core.run_timer());
            *thread = Some(spawned.map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.timer.stop();
        let thread = self
            .timer_thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A task that the timer thread woke may own the last handle; a thread cannot join itself, it ends right after.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // The timer thread runs no code of others but wakers, whose panics are caught: there is nothing to hear.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    fn rows(n: u32) -> Vec<Bytes> {
        (0..n)
            .map(|row| Bytes::copy_from_slice(&row.to_be_bytes()))
            .collect()
    }

    #[test]
    fn an_empty_table_keeps_a_bounded_capacity() {
        let table = LockTable::new();
        let keys = rows(200_000);
        for key in &keys {
            assert!(table.try_acquire(1, key, LockMode::Exclusive, 0).is_ok());
        }
        assert_eq!(table.len(), keys.len());
        assert!(table.shared.core.keys.capacity() >= keys.len());
        assert_eq!(table.release_all(1, &keys), keys.len());
        assert!(table.is_empty());
        let left = table.shared.core.keys.capacity();
        assert!(left < 20_000, "capacity for {left} keys is left");
    }

    #[test]
    fn a_wait_that_ended_leaves_nothing_in_timer_and_graph() {
        let table = LockTable::new();
        let key = Bytes::from_static(b"k");
        assert!(table.try_acquire(1, &key, LockMode::Exclusive, 0).is_ok());
        let request = LockRequest {
            wait: Wait::Forever,
            deadline: None,
            attempt: 0,
        };
        let long = LockRequest::default();
        let calls: Vec<Acquire> = (2..50)
            .map(|owner| {
                let request = if owner % 2 == 0 { &request } else { &long };
                table.acquire(owner, &key, LockMode::Shared, request)
            })
            .collect();
        assert_eq!(table.shared.core.graph.len(), 48);
        let (dropped, kept): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .enumerate()
            .partition(|(at, _)| at % 3 == 0);
        drop(dropped);
        table.release(1, &key, 0);
        for (_, call) in kept {
            assert!(call.wait().is_ok());
        }
        assert_eq!(table.shared.core.graph.len(), 0);
        assert_eq!(table.shared.core.timer.len(), 0);
        assert_eq!(table.release_all(3, [&key]), 1);
    }
}
