//! A lock request for one key, told by what is different from the first one of a transaction.

use super::bed::PATIENCE;
use crate::lock::{LockMode, Wait};
use crate::store::{ForUpdate, LockKey, LockTerms};
use bytes::Bytes;
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub(super) struct OneKey {
    pub(super) key: LockKey,
    pub(super) terms: LockTerms,
}

/// The first lock request of a transaction: exclusive, fresh, not waited for, nothing asked.
pub(super) fn request(key: &Bytes) -> OneKey {
    OneKey {
        key: LockKey::new(key.clone(), 1),
        terms: LockTerms {
            wait: Wait::NoWait,
            ..LockTerms::new(key.clone())
        },
    }
}

/// As [`request`], waited for as long as a case waits for anything.
pub(super) fn patient(key: &Bytes) -> OneKey {
    request(key).wait(Wait::For(PATIENCE))
}

impl OneKey {
    pub(super) fn attempt(mut self, attempt: u64) -> Self {
        self.key.attempt = attempt;
        self
    }

    /// Presumed to have no value.
    pub(super) fn absent(mut self) -> Self {
        self.key.absent = true;
        self
    }

    /// The value, and whether there is one.
    pub(super) fn with_value(mut self) -> Self {
        self.terms.value = true;
        self.terms.existence = true;
        self
    }

    pub(super) fn with_existence(mut self) -> Self {
        self.terms.existence = true;
        self
    }

    pub(super) fn only_if_exists(mut self) -> Self {
        self.terms.only_if_exists = true;
        self
    }

    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.terms.wait = wait;
        self
    }

    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.terms.deadline = Some(deadline);
        self
    }

    pub(super) fn seen_at(mut self, at: u64) -> Self {
        self.terms.for_update = ForUpdate::At(at);
        self
    }

    pub(super) fn forced(mut self) -> Self {
        self.terms.force = true;
        self
    }

    /// Shared, of a transaction that has locked its primary.
    pub(super) fn shared(mut self, primary: &Bytes) -> Self {
        self.terms.mode = LockMode::Shared;
        self.terms.primary = primary.clone();
        self
    }

    pub(super) fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }
}
