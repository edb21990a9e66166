//! The one thread of a database: timers, and work that nobody waits for.
//!
//! It is started at the first need and ended with the last handle. It sleeps until the first timer is due or a task
//! is woken. A timer wakes a waker or runs a job; a task is a future that was handed over: a heartbeat, a lock that
//! is given back, a commit whose caller has left. No runtime of a caller's is asked for anything.
//!
//! Everything is changed under one mutex, and nothing of others' runs while it is held. The thread notes until when
//! it sleeps; a timer that is due later than that does not wake it, so setting one and taking it out again costs a
//! map's insertion and removal and nothing else.

mod run;

use crate::error::Error;
use crate::store::lock;
use crate::wake::wake;
use run::{Due, Place, Shared, Task};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A timer that is set; taken out when this is dropped.
#[derive(Debug)]
pub(crate) struct Bell {
    shared: Arc<Shared>,
    place: Place,
}

impl Worker {
    /// Wakes `waker` at `when`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the operating system gives no thread, [`Error::DatabaseClosed`].
    pub(crate) fn wake_at(&self, when: Instant, waker: Waker) -> Result<Bell, Error> {
        self.set(when, Due::Wake(waker))
    }

    /// Runs `job` at `when`, on the thread. It must not take long.
    ///
    /// # Errors
    ///
    /// As [`wake_at`](Self::wake_at).
    pub(crate) fn run_at(
        &self,
        when: Instant,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<Bell, Error> {
        self.set(when, Due::Run(Box::new(job)))
    }

    fn set(&self, when: Instant, due: Due) -> Result<Bell, Error> {
        self.start()?;
        let mut state = lock(&self.shared.state);
        if state.ended {
            return Err(Error::DatabaseClosed);
        }
        state.number += 1;
        let place = (when, state.number);
        state.timers.insert(place, due);
        let is_early = state.is_asleep && state.sleeps_until.is_none_or(|until| when < until);
        drop(state);
        if is_early {
            self.shared.changed.notify_all();
        }
        Ok(Bell {
            shared: Arc::clone(&self.shared),
            place,
        })
    }

    /// Has the thread run a future to its end. Where there is no thread the future is dropped.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Err(error) = self.start() {
            tracing::error!(%error, "work of a database is left undone");
            return;
        }
        let task = Arc::new(Task::new(&self.shared, future));
        let mut state = lock(&self.shared.state);
        if !state.ended {
            state.tasks += 1;
            state.ready.push_back(task);
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// Ready at `when`, or at once where there is no thread.
    pub(crate) async fn sleep_until(&self, when: Instant) {
        let mut bell = None;
        poll_fn(|context| {
            if Instant::now() >= when {
                return Poll::Ready(());
            }
            // Set anew at each poll: the waker may be another one.
            match self.wake_at(when, context.waker().clone()) {
                Ok(set) => {
                    bell = Some(set);
                    Poll::Pending
                }
                Err(_) => Poll::Ready(()),
            }
        })
        .await;
    }

    /// The outcome of `future`, or `None` if that is not there by `end`, or when the thread is ended.
    pub(crate) async fn within<T>(
        &self,
        end: Option<Instant>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let mut bell = None;
        poll_fn(|context| {
            if let Poll::Ready(done) = future.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            let Some(end) = end else {
                return Poll::Pending;
            };
            if Instant::now() >= end {
                return Poll::Ready(None);
            }
            match self.wake_at(end, context.waker().clone()) {
                Ok(set) => bell = Some(set),
                // Nobody looks at the clock any more.
                Err(Error::DatabaseClosed) => return Poll::Ready(None),
                // Nor where there is no thread; but there may be one later, and the future decides.
                Err(_) => bell = None,
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the thread was ended: then time does not pass any more.
    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.shared.state).ended
    }

    /// Ready once no task is left, or at `end`; says whether none is.
    pub(crate) async fn idle(&self, end: Instant) -> bool {
        let idle = poll_fn(|context| {
            let mut state = lock(&self.shared.state);
            if state.tasks == 0 {
                return Poll::Ready(());
            }
            state.idle.push(context.waker().clone());
            Poll::Pending
        });
        self.within(Some(end), idle).await.is_some()
    }

    /// For models: does what is set for later and what was handed over, once.
    #[cfg(untorn_loom)]
    pub(crate) fn run_once(&self) {
        let timers = std::mem::take(&mut lock(&self.shared.state).timers);
        for due in timers.into_values() {
            match due {
                Due::Wake(waker) => wake(waker),
                Due::Run(job) => job(),
            }
        }
        let ready = std::mem::take(&mut lock(&self.shared.state).ready);
        ready.iter().for_each(|task| self.shared.poll(task));
    }

    /// Ends the thread. What was handed over and is not done is dropped; who waits for a time or for the last task is woken.
    pub(crate) fn end(&self) {
        let (timers, ready, idle) = {
            let mut state = lock(&self.shared.state);
            state.ended = true;
            (
                std::mem::take(&mut state.timers),
                std::mem::take(&mut state.ready),
                std::mem::take(&mut state.idle),
            )
        };
        self.shared.changed.notify_all();
        // After the mutex: what a drop or a waker does is not ours.
        drop(ready);
        let waiting = timers.into_values().filter_map(Due::into_waker);
        waiting.chain(idle).for_each(wake);
        let thread = lock(&self.thread).take();
        // The thread may itself drop the last handle, through a task: it cannot join itself.
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            drop(thread.join());
        }
    }

    /// Starts the thread if it does not run. Not in a model: there, time does not pass.
    fn start(&self) -> Result<(), Error> {
        if cfg!(untorn_loom) {
            return Ok(());
        }
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            if lock(&self.shared.state).ended {
                return Err(Error::DatabaseClosed);
            }
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
                .name("untorn-db".to_owned())
                .spawn(move || shared.run());
            *thread = Some(spawned.map_err(Error::store)?);
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let due = lock(&self.shared.state).timers.remove(&self.place);
        // After the mutex: what a waker's drop does is not ours.
        drop(due);
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn timers_run_in_the_order_in_which_they_are_due_and_not_once_they_are_dropped() {
        let worker = Worker::default();
        let (tell, told) = mpsc::channel();
        let now = Instant::now();
        // Until all are set the worker is at something else.
        let (all_set, until_set) = mpsc::channel::<()>();
        let wait = move || assert!(until_set.recv().is_err());
        let _first = worker.run_at(now, wait).unwrap();
        let set = |millis: u64, name: &'static str| {
            let tell = tell.clone();
            let when = now + Duration::from_millis(millis);
            worker
                .run_at(when, move || {
                    tell.send(name).unwrap();
                })
                .unwrap()
        };
        let _late = set(40, "late");
        let dropped = set(10, "dropped");
        let _early = set(20, "early");
        drop(dropped);
        drop(all_set);
        assert_eq!(told.recv().unwrap(), "early");
        assert_eq!(told.recv().unwrap(), "late");
    }

    #[test]
    fn a_task_that_panics_does_not_end_the_others() {
        let worker = Arc::new(Worker::default());
        let (tell, told) = mpsc::channel();
        worker.spawn(async { panic!("as planned") });
        let inner = Arc::clone(&worker);
        worker.spawn(async move {
            inner
                .sleep_until(Instant::now() + Duration::from_millis(5))
                .await;
            tell.send(()).unwrap();
        });
        told.recv().unwrap();
        let idle = worker.idle(Instant::now() + Duration::from_secs(10));
        assert!(crate::transaction::block_on(idle));
        worker.end();
        worker.spawn(async { unreachable!("the worker has ended") });
        assert!(
            worker
                .wake_at(Instant::now(), Waker::noop().clone())
                .is_err()
        );
    }
}
