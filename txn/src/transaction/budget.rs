//! How long one call may wait, over all its stages.

use crate::error::Error;
use crate::lock::Wait;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// The wait budget and the deadline of one call. The first to end names the error.
///
/// The clock is read when the call first has to wait for somebody: what it does before that takes no time that counts, and most
/// calls never have to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    begun: Option<Instant>,
    wait: Wait,
    pub(super) deadline: Option<Instant>,
}

impl Budget {
    pub(super) fn new(wait: Wait, deadline: Option<Instant>) -> Self {
        let wait = match wait {
            Wait::For(Duration::ZERO) => Wait::NoWait,
            other => other,
        };
        Self {
            begun: None,
            wait,
            deadline,
        }
    }

    /// The call waits from now on, or has begun to before.
    pub(super) fn start(&mut self) -> Instant {
        *self.begun.get_or_insert_with(Instant::now)
    }

    fn waited(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    pub(super) fn is_no_wait(&self) -> bool {
        self.wait == Wait::NoWait
    }

    /// What there is for a request that is sent at once.
    pub(super) fn whole_wait(&self) -> Wait {
        self.wait
    }

    /// What is left for a later one.
    pub(super) fn wait(&mut self) -> Wait {
        match self.wait {
            Wait::For(budget) => Wait::For(budget.saturating_sub(self.start().elapsed())),
            other => other,
        }
    }

    /// When waiting ends at the latest. A call that does not wait for locks waits for answers all the same: those its
    /// deadline alone ends.
    pub(super) fn ends(&mut self) -> Option<Instant> {
        let budget = match self.wait {
            Wait::For(budget) => self.start().checked_add(budget),
            Wait::NoWait | Wait::Forever => None,
        };
        [budget, self.deadline].into_iter().flatten().min()
    }

    /// The error for a wait on `key` that has come to its end.
    pub(super) fn ended(&mut self, key: &Bytes) -> Error {
        if self.deadline.is_some() && self.ends() == self.deadline {
            return Error::DeadlineExceeded;
        }
        Error::LockWaitTimeout {
            key: key.clone(),
            holders: Vec::new(),
            waited: self.waited(),
        }
    }

    /// A request's error in terms of the whole call: a budget that an earlier stage had used up is a timeout.
    pub(super) fn in_all(&self, error: Error) -> Error {
        match error {
            Error::LockNotAvailable { .. } if !self.is_no_wait() => {
                error.after_waiting(self.waited())
            }
            Error::LockWaitTimeout { key, holders, .. } => Error::LockWaitTimeout {
                key,
                holders,
                waited: self.waited(),
            },
            other => other,
        }
    }
}
