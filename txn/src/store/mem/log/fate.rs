//! What becomes of a commit that was handed to the log, and who waits for that.
//!
//! ```text
//! apart ---> queued ---> committed
//!               \------> lost
//! ```
//!
//! The committing thread queues it, under the mutex under which a transaction is also rolled back: from then on only the
//! log's thread decides. *Lost* is final: the log failed, and nobody knows whether its entry is on the disk.
//!
//! Somebody has to take the decision into the tables and give the locks back. Whoever waits does that, so that the log's
//! thread goes on with the next group: when it is polled after the decision, or when it is dropped. Where nobody
//! waits at the decision, the log's thread does it. It is done once, however many try.

use super::error::LogFailure;
use crate::Error;
use crate::mutant::planted;
use crate::store::Timestamp;
use crate::store::mem::core::{Core, Open};
use crate::sync::Mutex;
use crate::wake::wake_all;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(crate) struct Fate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    waiting: usize,
    wakers: Vec<Waker>,
}

#[derive(Debug, Default, Clone)]
enum Stage {
    #[default]
    Apart,
    Queued,
    Committed(Timestamp),
    Lost(LogFailure),
}

/// Who is to be told of a decision.
pub(super) struct Told {
    wakers: Vec<Waker>,
    /// Nobody waits, so nobody will take the decision into the tables.
    pub(super) is_alone: bool,
}

impl Told {
    pub(super) fn wake(self) {
        wake_all(self.wakers);
    }
}

impl Fate {
    /// The log has it, or had it.
    pub(crate) fn is_with_log(&self) -> bool {
        !matches!(self.state.lock().stage, Stage::Apart)
    }

    /// The failure under which it was lost.
    pub(crate) fn failure(&self) -> Option<LogFailure> {
        match &self.state.lock().stage {
            Stage::Lost(failure) => Some(failure.clone()),
            _ => None,
        }
    }

    pub(super) fn queue(&self) {
        self.state.lock().stage = Stage::Queued;
    }

    pub(super) fn commit(&self, time: Timestamp) -> Told {
        self.end(Stage::Committed(time))
    }

    pub(super) fn lose(&self, failure: LogFailure) {
        self.end(Stage::Lost(failure)).wake();
    }

    fn end(&self, stage: Stage) -> Told {
        let mut state = self.state.lock();
        state.stage = stage;
        Told {
            wakers: std::mem::take(&mut state.wakers),
            is_alone: state.waiting == 0,
        }
    }
}

/// Waits for a commit that the log has.
pub(crate) struct Waiting<'a> {
    core: &'a Core,
    open: Arc<Open>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(core: &'a Core, open: Arc<Open>) -> Self {
        open.fate.state.lock().waiting += 1;
        Self { core, open }
    }
}

impl Future for Waiting<'_> {
    type Output = Result<Timestamp, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.open.fate.state.lock();
        match &state.stage {
            Stage::Apart | Stage::Queued => {
                let waker = context.waker();
                if !state.wakers.iter().any(|known| known.will_wake(waker)) {
                    state.wakers.push(waker.clone());
                }
                Poll::Pending
            }
            Stage::Lost(failure) => Poll::Ready(Err(Error::store(failure.clone()))),
            &Stage::Committed(time) => {
                drop(state);
                self.core.finish(&self.open, time);
                Poll::Ready(Ok(time))
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.open.fate.state.lock();
        state.waiting -= 1;
        if let Stage::Committed(time) = state.stage
            && !planted("fate-left-without-a-look")
        {
            drop(state);
            self.core.finish(&self.open, time);
        }
    }
}
