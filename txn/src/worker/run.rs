//! What the thread runs: timers when they are due, tasks when they are woken.

use crate::store::lock;
use crate::wake::{wake, wake_all};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

pub(super) type Place = (Instant, u64);

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ended: bool,
    /// When the thread looks again by itself; `None` while it is awake or sleeps without end.
    pub(super) sleeps_until: Option<Instant>,
    pub(super) is_asleep: bool,
    pub(super) number: u64,
    pub(super) timers: BTreeMap<Place, Due>,
    pub(super) ready: VecDeque<Arc<Task>>,
    pub(super) tasks: usize,
    /// Who waits for the last task.
    pub(super) idle: Vec<Waker>,
}

/// What a timer does.
pub(super) enum Due {
    Wake(Waker),
    Run(Box<dyn FnOnce() + Send>),
}

impl Due {
    pub(super) fn into_waker(self) -> Option<Waker> {
        match self {
            Self::Wake(waker) => Some(waker),
            Self::Run(_) => None,
        }
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Due")
    }
}

/// A future that the thread runs.
pub(super) struct Task {
    shared: Weak<Shared>,
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Task {
    pub(super) fn new(
        shared: &Arc<Shared>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            future: Mutex::new(Some(Box::pin(future))),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl Shared {
    pub(super) fn run(&self) {
        let mut state = lock(&self.state);
        while !state.ended {
            if let Some(task) = state.ready.pop_front() {
                drop(state);
                self.poll(&task);
                state = lock(&self.state);
                continue;
            }
            let now = Instant::now();
            let first = state.timers.first_key_value().map(|(&place, _)| place);
            match first {
                Some(place) if place.0 <= now => {
                    let due = state.timers.remove(&place);
                    drop(state);
                    match due {
                        Some(Due::Wake(waker)) => wake(waker),
                        Some(Due::Run(job)) => guarded(job),
                        None => {}
                    }
                    state = lock(&self.state);
                }
                Some((at, _)) => {
                    state.is_asleep = true;
                    state.sleeps_until = Some(at);
                    let waited = self.changed.wait_timeout(state, at - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    state.is_asleep = false;
                }
                None => {
                    state.is_asleep = true;
                    state.sleeps_until = None;
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                    state.is_asleep = false;
                }
            }
        }
    }

    pub(super) fn poll(&self, task: &Arc<Task>) {
        let waker = Waker::from(Arc::clone(task));
        let mut context = Context::from_waker(&waker);
        let mut future = lock(&task.future);
        let mut done = true;
        guarded(|| {
            if let Some(running) = future.as_mut() {
                done = running.as_mut().poll(&mut context).is_ready();
            } else {
                done = false;
            }
        });
        if !done {
            return;
        }
        let ended = future.take();
        drop(future);
        guarded(|| drop(ended));
        let mut state = lock(&self.state);
        state.tasks -= 1;
        let idle = if state.tasks == 0 {
            std::mem::take(&mut state.idle)
        } else {
            Vec::new()
        };
        drop(state);
        wake_all(idle);
    }
}

/// Runs what belongs to others. A panic there is reported and ends only that.
fn guarded(run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!("background work of a database panicked");
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut state = lock(&shared.state);
        if !state.ended && !state.ready.iter().any(|ready| Arc::ptr_eq(ready, &self)) {
            state.ready.push_back(self);
            drop(state);
            shared.changed.notify_all();
        }
    }
}
