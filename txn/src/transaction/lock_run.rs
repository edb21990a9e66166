//! One lock request, for keys that were announced in the register under consecutive numbers, so that siblings wait for
//! them instead of asking.
//!
//! What the store answers is noted for all keys together. Keys that it did not get to are laid down again, and
//! siblings may go on with them. If the request is dropped while the store has it, or is answered by nobody, its keys
//! are given back under their numbers, because nobody knows what became of them.

use super::Core;
use super::lock_keys::{Asking, Found};
use super::register::{Hold, Known, Withdrawn};
use crate::error::Error;
use crate::store::{Answer, LockAnswers, LockKey, LockTerms, Locked};
use bytes::Bytes;
use std::sync::Arc;

/// A request whose keys are announced.
pub(super) struct Run<'a> {
    core: &'a Arc<Core>,
    keys: Vec<LockKey>,
    primary: Bytes,
    at: At,
}

/// How far the request is.
#[derive(PartialEq)]
enum At {
    Announced,
    /// The store has it, and nobody knows what it does.
    Sent,
    Noted,
}

#[derive(Debug, thiserror::Error)]
#[error("the store gave no answer to a lock request for one key")]
struct NotAnswered;

impl<'a> Run<'a> {
    /// Of keys that were announced under numbers from `first` on. Whether a key is presumed absent is read now, once.
    pub(super) fn new(core: &'a Arc<Core>, keys: &[Bytes], first: u64, primary: Bytes) -> Self {
        let keys = keys.iter().zip(first..).map(|(key, attempt)| LockKey {
            absent: core.is_to_check(key),
            ..LockKey::new(key.clone(), attempt)
        });
        Self {
            core,
            keys: keys.collect(),
            primary,
            at: At::Announced,
        }
    }

    /// Sends the request and notes the answer. Says of how many of the keys there was one.
    pub(super) async fn send(
        mut self,
        asking: Asking<'_>,
        found: &mut [Found],
    ) -> Result<usize, Error> {
        let core = self.core;
        let terms = self.terms(asking);
        self.at = At::Sent;
        let answer = core.store().lock(core.start_ts, &self.keys, &terms);
        if let (Answer::Waiting(_), Some(first)) = (&answer, self.keys.first()) {
            core.register.queued(&first.key);
        }
        let answered = match answer.await {
            Ok(answers) => self.note(answers, asking, found),
            Err(error) => {
                if !matches!(error, Error::Store { .. }) {
                    self.at = At::Announced;
                }
                Err(error)
            }
        };
        answered.map_err(|error| asking.budget.whole(core.told_by_store(error)))
    }

    fn terms(&self, asking: Asking<'_>) -> LockTerms {
        let Asking {
            options, budget, ..
        } = asking;
        LockTerms {
            mode: asking.mode,
            for_update: asking.for_update,
            force: asking.force,
            wait: budget.wait(),
            deadline: budget.deadline,
            value: options.return_values,
            existence: options.check_existence,
            only_if_exists: options.only_if_exists,
            ttl: self.core.options.lock_ttl,
            ..LockTerms::new(self.primary.clone())
        }
    }

    fn note(
        &mut self,
        answers: LockAnswers,
        asking: Asking<'_>,
        found: &mut [Found],
    ) -> Result<usize, Error> {
        let core = self.core;
        let count = answers.len().min(self.keys.len());
        let mut failed = (count == 0 && self.keys.len() == 1).then(|| Error::store(NotAnswered));
        let (mut granted, mut unknown) = (Vec::with_capacity(count), Vec::new());
        let mut free: Vec<(Bytes, u64)> = self.keys[count..].iter().map(numbered).collect();
        for ((key, answer), found) in self.keys.iter().zip(answers).zip(found) {
            match answer {
                Ok(locked) => {
                    let hold = locked.locked.then(|| self.hold(key, asking, &locked));
                    match &hold {
                        Some(hold) => granted.push((key.key.clone(), hold.clone())),
                        None => free.push(numbered(key)),
                    }
                    *found = Found {
                        hold,
                        exists: locked.exists,
                        for_update_ts: locked.for_update_ts,
                        checked: key.absent,
                        value: locked.value,
                        ..Found::default()
                    };
                }
                Err(error) => {
                    match error {
                        Error::Store { .. } => unknown.push(numbered(key)),
                        _ => free.push(numbered(key)),
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        self.at = At::Noted;
        core.register.not_granted(&free);
        core.register.unanswered(&unknown);
        let (surplus, starts_to_beat) = core.register.granted(&granted);
        core.give_back(Withdrawn::of(unknown));
        core.give_back(Withdrawn::of(surplus));
        if starts_to_beat {
            core.start_to_beat();
        }
        failed.map_or(Ok(count), Err)
    }

    fn hold(&self, key: &LockKey, asking: Asking<'_>, locked: &Locked) -> Hold {
        Hold {
            attempt: key.attempt,
            mode: asking.mode,
            known: Known::of(locked.exists),
            for_update_ts: locked.for_update_ts,
            conflict_ts: locked.conflict_ts,
            primary: self.primary.clone(),
        }
    }
}

fn numbered(key: &LockKey) -> (Bytes, u64) {
    (key.key.clone(), key.attempt)
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.at == At::Noted {
            return;
        }
        let keys: Vec<_> = self.keys.iter().map(numbered).collect();
        if self.at == At::Announced {
            return self.core.register.not_granted(&keys);
        }
        self.core.register.unanswered(&keys);
        self.core.give_back(Withdrawn::of(keys));
    }
}
