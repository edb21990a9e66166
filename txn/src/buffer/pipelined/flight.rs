//! A flush under way, and waiting for it.

use super::Generation;
use crate::error::Error;
use crate::sync::Mutex;
use crate::wake::wake_all;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The flush of one generation, from its beginning.
pub(super) struct Flight {
    pub(super) generation: Generation,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<(), Error>>,
    waiting: Vec<Waker>,
}

impl Flight {
    pub(super) fn new(generation: Generation) -> Flight {
        Flight {
            generation,
            state: Mutex::default(),
        }
    }

    /// Ends it, once.
    pub(super) fn land(&self, outcome: Result<(), Error>) {
        let mut state = self.state.lock();
        state.outcome = Some(outcome);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake_all(waiting);
    }

    pub(super) fn has_landed(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// How it ended, when it has.
    pub(super) fn landed(&self) -> Landed<'_> {
        Landed { flight: self }
    }
}

/// The end of a flush.
pub(super) struct Landed<'f> {
    flight: &'f Flight,
}

impl Future for Landed<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.flight.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        // A waker that is no longer wanted is woken for nothing, once.
        let waker = context.waker();
        if !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        Poll::Pending
    }
}
