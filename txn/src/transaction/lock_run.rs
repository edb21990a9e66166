//! A run of lock requests, announced together and sent one after another.
//!
//! Answers that the store has at once are noted together; before the call waits for one that it has not, it notes
//! what it has and lays the rest of the run down again, so that siblings can go on with it. A run that is dropped
//! notes what was granted, lays down what was not sent, and has the request in between given back under its number,
//! because nobody knows what became of it.

use super::Core;
use super::lock_keys::{Asking, Found};
use super::register::{Hold, Known, Withdrawn};
use crate::error::Error;
use crate::store::{Answer, LockKey, Locked};
use bytes::Bytes;
use std::sync::Arc;

/// Requests that were announced under consecutive numbers.
pub(super) struct Run<'a> {
    core: &'a Arc<Core>,
    keys: &'a [Bytes],
    first: u64,
    primary: Bytes,
    /// How many of the keys are answered, the noted ones included.
    done: usize,
    /// The request after these is with the store, and not answered.
    is_sent: bool,
    granted: Vec<(Bytes, Hold)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(core: &'a Arc<Core>, keys: &'a [Bytes], first: u64, primary: Bytes) -> Self {
        Self {
            core,
            keys,
            first,
            primary,
            done: 0,
            is_sent: false,
            granted: Vec::new(),
        }
    }

    /// Sends the requests, up to the first that has to wait and including it. Says how many were answered.
    pub(super) async fn send(
        mut self,
        asking: Asking<'_>,
        known: &mut [Found],
    ) -> Result<usize, Error> {
        let core = self.core;
        for (at, known) in known.iter_mut().enumerate().take(self.keys.len()) {
            let key = &self.keys[at];
            let checked = core.is_to_check(key);
            let request = self.request(at, asking, checked);
            let attempt = request.attempt;
            let answer = core.store().lock(core.start_ts, request);
            let waits = matches!(answer, Answer::Waiting(_));
            if waits {
                self.lay_down(at + 1);
                core.register.queued(key);
                self.is_sent = true;
            }
            let answer = answer.await;
            // Whoever does not answer may have granted it: it stays sent, and is given back.
            self.is_sent = matches!(answer, Err(Error::Store { .. }));
            let locked = answer.map_err(|error| asking.budget.whole(core.told_by_store(error)))?;
            self.done = at + 1;
            *known = self.found(key, attempt, asking, checked, locked);
            if waits {
                break;
            }
        }
        Ok(self.done)
    }

    fn request(&self, at: usize, asking: Asking<'_>, checked: bool) -> LockKey {
        let Asking {
            options, budget, ..
        } = asking;
        LockKey {
            primary: self.primary.clone(),
            mode: asking.mode,
            for_update: asking.for_update,
            force: asking.force,
            wait: budget.wait(),
            deadline: budget.deadline,
            value: options.return_values,
            existence: options.check_existence,
            absent: checked,
            only_if_exists: options.only_if_exists,
            ttl: self.core.options.lock_ttl,
            ..LockKey::new(self.keys[at].clone(), self.first + at as u64)
        }
    }

    fn found(
        &mut self,
        key: &Bytes,
        attempt: u64,
        asking: Asking<'_>,
        checked: bool,
        locked: Locked,
    ) -> Found {
        let mut found = Found {
            exists: locked.exists,
            for_update_ts: locked.for_update_ts,
            checked,
            value: locked.value,
            ..Found::default()
        };
        if !locked.locked {
            self.core
                .register
                .not_granted(std::slice::from_ref(key), attempt);
            return found;
        }
        let hold = Hold {
            attempt,
            mode: asking.mode,
            known: Known::of(locked.exists),
            for_update_ts: locked.for_update_ts,
            conflict_ts: locked.conflict_ts,
            primary: self.primary.clone(),
        };
        self.granted.push((key.clone(), hold.clone()));
        found.hold = Some(hold);
        found
    }

    /// Notes what is granted, and gives up the announcement of the keys from `from` on.
    fn lay_down(&mut self, from: usize) {
        let granted = std::mem::take(&mut self.granted);
        if !granted.is_empty() {
            let (locks, starts_to_beat) = self.core.register.granted(&granted);
            self.core.give_back(Withdrawn {
                locks,
                ..Withdrawn::default()
            });
            if starts_to_beat {
                self.core.start_to_beat();
            }
        }
        if from < self.keys.len() {
            let first = self.first + from as u64;
            self.core.register.not_granted(&self.keys[from..], first);
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let unsent = self.done + usize::from(self.is_sent);
        self.lay_down(unsent);
        if self.is_sent {
            let (key, attempt) = (&self.keys[self.done], self.first + self.done as u64);
            self.core.register.unanswered(key, attempt);
            self.core.give_back(Withdrawn {
                locks: vec![(key.clone(), attempt)],
                ..Withdrawn::default()
            });
        }
    }
}
