//! How long a lock call may wait.

use crate::error::Error;
use crate::lock::Wait;
use crate::store::{LockTerms, Timestamp};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long a request stands in TiKV's queue before the holder is looked at.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How long a call may wait.
pub(super) struct Patience {
    pub(super) began: Instant,
    until: Option<Instant>,
    deadline: Option<Instant>,
}

impl Patience {
    pub(super) fn new(terms: &LockTerms) -> Self {
        let began = Instant::now();
        let until = match terms.wait {
            Wait::Forever => None,
            Wait::NoWait => Some(began),
            Wait::For(budget) => began.checked_add(budget),
        };
        Self {
            began,
            until,
            deadline: terms.deadline,
        }
    }

    /// What is left, and at most until the holder is to be looked at. None if nothing is.
    pub(super) fn left(&self) -> Option<Duration> {
        let now = Instant::now();
        let ends = [self.until, self.deadline].into_iter().flatten().min();
        let left = ends.map_or(LOOK_AFTER, |end| end.saturating_duration_since(now));
        Some(left.min(LOOK_AFTER)).filter(|left| !left.is_zero())
    }

    /// Until when a call waits for what this transaction has under way itself; also one that does not wait for others.
    pub(super) fn end(&self) -> Option<Instant> {
        let until = self.until.filter(|_| self.waits());
        [until, self.deadline].into_iter().flatten().min()
    }

    pub(super) fn waits(&self) -> bool {
        self.until != Some(self.began)
    }

    /// The error of a call that waits no longer for a key.
    pub(super) fn over(&self, key: Bytes, holders: Vec<Timestamp>) -> Error {
        if !self.waits() {
            return Error::LockNotAvailable { key, holders };
        }
        let is_first = |deadline: Instant| self.until.is_none_or(|until| deadline < until);
        if self.deadline.is_some_and(is_first) {
            return Error::DeadlineExceeded;
        }
        Error::LockWaitTimeout {
            key,
            holders,
            waited: self.began.elapsed(),
        }
    }
}
