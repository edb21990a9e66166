//! The log as those see it who commit: a queue in front of one thread.

use super::entry::Entry;
use super::error::LogFailure;
use crate::mutant::planted;
use crate::store::mem::core::Open;
use crate::sync::{Mutex, OnceLock, Unparker};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes after which no more commits go into a group.
const GROUP: usize = 4 << 20;

/// Commits on their way to the log's thread.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    thread: OnceLock<Unparker>,
}

#[derive(Debug, Default)]
struct State {
    commits: VecDeque<Queued>,
    is_ending: bool,
    failure: Option<LogFailure>,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) open: Arc<Open>,
    pub(super) entry: Entry,
}

impl Queue {
    /// Hands a commit over, in the order of the calls.
    ///
    /// # Errors
    ///
    /// The failure after which the log takes nothing: the commit stays its owner's.
    pub(crate) fn push(&self, open: &Arc<Open>, entry: Entry) -> Result<(), LogFailure> {
        let mut state = self.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        open.fate.queue();
        state.commits.push_back(Queued {
            open: Arc::clone(open),
            entry,
        });
        drop(state);
        self.wake();
        Ok(())
    }

    /// The failure after which the log takes nothing.
    pub(crate) fn failure(&self) -> Option<LogFailure> {
        self.state.lock().failure.clone()
    }

    /// Has the thread write what is queued, and end.
    pub(crate) fn end(&self) {
        self.state.lock().is_ending = true;
        self.wake();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state.lock().is_ending
    }

    /// The next group, if there is one.
    pub(super) fn take(&self) -> Vec<Queued> {
        let mut state = self.state.lock();
        let mut bytes = 0;
        let fits = |queued: &&Queued| {
            let before = bytes;
            bytes += queued.entry.bytes().len();
            before < GROUP
        };
        let count = state.commits.iter().take_while(fits).count();
        state.commits.drain(..count).collect()
    }

    /// Takes nothing from now on; what was queued is lost.
    pub(super) fn fail(&self, failure: &LogFailure) {
        let commits = {
            let mut state = self.state.lock();
            if !planted("log-failure-noted-late") {
                state.failure = Some(failure.clone());
            }
            std::mem::take(&mut state.commits)
        };
        for queued in commits {
            queued.open.fate.lose(failure.clone());
        }
        if planted("log-failure-noted-late") {
            self.state.lock().failure = Some(failure.clone());
        }
    }

    /// Says who serves the queue, before it looks into it for the first time: a commit that meets nobody to wake is found
    /// then.
    pub(super) fn served_by(&self, thread: Unparker) {
        // There is one thread for each queue.
        self.thread.get_or_init(|| thread);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
