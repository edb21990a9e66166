//! The future of a call, and the handle that cancels one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use super::LockError;
use super::core::Core;
use super::request::{Granted, OwnerId};
use super::table::Shared;
use super::waiter::{Outcome, Waiter};

enum State {
    /// Ended when it was made; not told yet.
    Ended {
        result: Result<Granted, LockError>,
        owner: OwnerId,
        key: Bytes,
        attempt: u64,
    },
    Waiting(Arc<Waiter>),
    Told,
}

/// A call in flight: the future of [`LockTable::acquire`](super::LockTable::acquire).
///
/// It belongs to no runtime: it is woken by the thread that releases the lock, or by the table's own timer thread. The
/// call stands in the queue whether or not the future is polled. A drop withdraws it at once; a lock that it was
/// granted and did not tell of goes to the next. After it has been told, the future is spent: a further poll stays
/// pending.
#[must_use = "dropping it withdraws the call"]
pub struct Acquire {
    table: Arc<Shared>,
    state: State,
    has_looked: bool,
}

impl Acquire {
    pub(super) fn ended(
        table: Arc<Shared>,
        owner: OwnerId,
        key: Bytes,
        attempt: u64,
        result: Result<Granted, LockError>,
    ) -> Self {
        Self {
            table,
            state: State::Ended {
                result,
                owner,
                key,
                attempt,
            },
            has_looked: false,
        }
    }

    pub(super) fn waiting(table: Arc<Shared>, waiter: Arc<Waiter>) -> Self {
        Self {
            table,
            state: State::Waiting(waiter),
            has_looked: false,
        }
    }

    /// A handle that ends this wait from elsewhere, also from another thread. Cheap.
    pub fn canceller(&self) -> Canceller {
        let waiter = match &self.state {
            State::Waiting(waiter) => Some(waiter.clone()),
            State::Ended { .. } | State::Told => None,
        };
        Canceller {
            core: self.table.core.clone(),
            waiter,
        }
    }

    /// Parks the thread until the call has ended. Needs no runtime, and may be called inside one: it holds up that
    /// worker thread, but not the wake-up.
    ///
    /// A future that has been polled to its end has told its outcome; asked again, it is
    /// [`LockError::AlreadyTold`].
    ///
    /// # Errors
    ///
    /// As [`LockTable::acquire`](super::LockTable::acquire).
    pub fn wait(mut self) -> Result<Granted, LockError> {
        match std::mem::replace(&mut self.state, State::Told) {
            State::Ended { result, .. } => result,
            State::Waiting(waiter) => {
                self.look_near(&waiter);
                let outcome = self.table.core.park(&waiter, || true);
                self.finish(&waiter, outcome)
            }
            State::Told => Err(LockError::AlreadyTold),
        }
    }

    /// Has the task polled at this instant, if the call still waits then: for looking at something else meanwhile.
    /// Only the last instant counts, and it does nothing before the first poll that was pending.
    pub fn wake_at(&self, at: Instant) {
        if let State::Waiting(waiter) = &self.state {
            *waiter.wake_up.lock() = Some(at);
            self.table.core.timer.arm(waiter, at);
        }
    }

    /// Looks for a deadlock in sight, once, when it is waited for. Not when the call is made: who makes it may hold what the waker
    /// of a victim asks for.
    fn look_near(&mut self, waiter: &Arc<Waiter>) {
        if !std::mem::replace(&mut self.has_looked, true) {
            self.table.core.look_near(waiter);
        }
    }

    fn finish(&self, waiter: &Arc<Waiter>, outcome: Outcome) -> Result<Granted, LockError> {
        let core = &self.table.core;
        core.timer.disarm(waiter);
        core.finish(waiter, outcome)
    }
}

impl Future for Acquire {
    type Output = Result<Granted, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Told) {
            State::Ended { result, .. } => Poll::Ready(result),
            State::Told => Poll::Pending,
            State::Waiting(waiter) => {
                self.look_near(&waiter);
                // Waker first, then the word: who changes the word takes the waker afterwards.
                if waiter.is_waiting() {
                    waiter.wake_task(cx.waker());
                }
                match waiter.outcome() {
                    Some(outcome) => Poll::Ready(self.finish(&waiter, outcome)),
                    None => {
                        self.state = State::Waiting(waiter);
                        Poll::Pending
                    }
                }
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let core = &self.table.core;
        match std::mem::replace(&mut self.state, State::Told) {
            State::Ended {
                result: Ok(_),
                owner,
                key,
                attempt,
            } => core.forget(owner, &key, attempt),
            State::Waiting(waiter) => {
                core.abandon(&waiter);
                core.timer.disarm(&waiter);
            }
            State::Ended { .. } | State::Told => {}
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ended { .. } => "ended",
            State::Waiting(waiter) if waiter.is_waiting() => "waiting",
            State::Waiting(_) => "woken",
            State::Told => "told",
        };
        f.debug_tuple("Acquire").field(&state).finish()
    }
}

/// Ends one call's wait from elsewhere. A clone ends the same one.
#[derive(Clone)]
pub struct Canceller {
    core: Arc<Core>,
    waiter: Option<Arc<Waiter>>,
}

impl Canceller {
    /// Ends the wait with [`LockError::Cancelled`]. False if the call had ended before: then its outcome stands.
    pub fn cancel(&self) -> bool {
        self.waiter
            .as_ref()
            .is_some_and(|waiter| self.core.cancel(waiter))
    }

    /// For models, in which time does not pass: the wait's time is up.
    #[cfg(untorn_loom)]
    #[doc(hidden)]
    pub fn time_out(&self) {
        if let Some(waiter) = &self.waiter {
            self.core.time_out(waiter);
        }
    }

    /// For models: the deadlock delay has passed.
    #[cfg(untorn_loom)]
    #[doc(hidden)]
    pub fn search(&self) {
        if let Some(waiter) = &self.waiter {
            self.core
                .search(waiter, &mut Default::default(), usize::MAX);
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}
