//! The log as those see it who commit: a queue in front of one thread.

use super::entry::Entry;
use super::error::LogFailure;
use crate::store::lock;
use crate::store::mem::core::Open;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;

/// Bytes after which no more commits go into a group.
const GROUP: usize = 4 << 20;

/// Commits on their way to the log's thread.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    thread: OnceLock<Thread>,
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
        let mut state = lock(&self.state);
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
        lock(&self.state).failure.clone()
    }

    /// Has the thread write what is queued, and end.
    pub(crate) fn end(&self) {
        lock(&self.state).is_ending = true;
        self.wake();
    }

    pub(super) fn is_ending(&self) -> bool {
        lock(&self.state).is_ending
    }

    /// The next group, if there is one.
    pub(super) fn take(&self) -> Vec<Queued> {
        let mut state = lock(&self.state);
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
            let mut state = lock(&self.state);
            state.failure = Some(failure.clone());
            std::mem::take(&mut state.commits)
        };
        for queued in commits {
            queued.open.fate.lose(failure.clone());
        }
    }

    pub(super) fn served_by(&self, thread: Thread) {
        // There is one thread for each queue.
        drop(self.thread.set(thread));
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
