//! One lock request, for keys that were announced in the register, so that siblings wait for them instead of asking.
//!
//! What the store answers is noted for all keys together. Keys that it did not get to are laid down again, and
//! siblings may go on with them. If the request is dropped while the store has it, or is answered by nobody, its keys
//! are given back under their numbers, because nobody knows what became of them.

use super::super::Core;
use super::super::register::{Announcement, Hold, Known, Slot};
use super::Asking;
use super::call::Call;
use crate::error::Error;
use crate::lock::LockMode;
use crate::metrics::lock_waited;
use crate::store::{Answer, LockAnswers, LockKey, LockTerms, Locked};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// A request whose keys are announced.
pub(super) struct Request<'a> {
    core: &'a Arc<Core>,
    announced: Announcement,
    keys: SmallVec<[LockKey; 1]>,
    terms: LockTerms,
    stage: Stage,
}

/// How far the request is.
#[derive(PartialEq)]
enum Stage {
    Announced,
    /// The store has it, and nobody knows what it does.
    Sent,
    Noted,
}

#[derive(Debug, thiserror::Error)]
#[error("the store gave no answer to a lock request for one key")]
struct NotAnswered;

impl<'a> Request<'a> {
    /// Whether a key is presumed absent is read now, once.
    pub(super) fn new(
        call: &Call<'a>,
        announced: Announcement,
        primary: Bytes,
        asking: &Asking<'_>,
    ) -> Self {
        let core = call.core;
        let mut keys = SmallVec::with_capacity(announced.len());
        for announced in &announced {
            let name = &call.keys[announced.at];
            keys.push(LockKey {
                absent: core.buffer.is_to_check(name),
                ..LockKey::new(name.clone(), announced.attempt)
            });
        }
        Self {
            core,
            announced,
            keys,
            terms: asking.terms(primary, core.options.lock_ttl),
            stage: Stage::Announced,
        }
    }

    /// Sends the request and notes the answer in the register and in `call`. Tells where the first key
    /// is that the store did not get to.
    pub(super) async fn send(
        &mut self,
        asking: &mut Asking<'_>,
        call: &mut Call<'_>,
    ) -> Result<Option<usize>, Error> {
        let core = self.core;
        self.stage = Stage::Sent;
        let answer = match core.store().lock(core.start_ts, &self.keys, &self.terms) {
            Answer::Ready(Some(answer)) => answer,
            waiting => {
                asking.budget.start();
                core.register.queued(self.announced[0].slot);
                waiting.await
            }
        };
        let answered = match answer {
            Ok(answers) => self.note(answers, asking.mode, call),
            Err(error) => {
                if !matches!(error, Error::Store { .. }) {
                    self.stage = Stage::Announced;
                }
                Err(error)
            }
        };
        answered.map_err(|error| asking.budget.in_all(core.told_by_store(error)))
    }

    fn note(
        &mut self,
        mut answers: LockAnswers,
        mode: LockMode,
        call: &mut Call<'_>,
    ) -> Result<Option<usize>, Error> {
        let core = self.core;
        let count = answers.len().min(self.keys.len());
        let mut granted: SmallVec<[(Slot, Hold); 1]> = SmallVec::with_capacity(count);
        let (mut unknown, mut free) = (Vec::new(), Vec::new());
        let mut failed = None;
        for (at, (announced, answer)) in self.announced.iter().zip(&mut answers).enumerate() {
            match answer {
                Ok(locked) => {
                    if !locked.waited.is_zero() {
                        lock_waited(locked.waited);
                    }
                    let hold = locked.locked.then(|| hold(announced.attempt, mode, locked));
                    match hold {
                        Some(hold) => granted.push((announced.slot, hold)),
                        None => free.push(self.numbered(at)),
                    }
                    let found = &mut call.found[announced.at];
                    found.hold = hold;
                    found.exists = locked.exists;
                    found.for_update_ts = locked.for_update_ts;
                    found.checked = self.keys[at].absent;
                    found.value = locked.value.take();
                }
                Err(error) => {
                    match error {
                        Error::Store { .. } => unknown.push(at),
                        _ => free.push(self.numbered(at)),
                    }
                    failed.get_or_insert(at);
                }
            }
        }
        self.stage = Stage::Noted;
        if granted.len() < self.keys.len() {
            free.extend((count..self.keys.len()).map(|at| self.numbered(at)));
            core.register.not_granted(&free);
        }
        let (surplus, starts_to_beat) = core.register.granted(&granted, &self.terms.primary);
        core.give_back(surplus);
        if !unknown.is_empty() {
            self.give_back(unknown);
        }
        if starts_to_beat {
            core.start_to_beat();
        }
        if let Some(failed) = failed {
            answers.swap_remove(failed)?;
        }
        if count == 0 && self.keys.len() == 1 {
            return Err(Error::store(NotAnswered));
        }
        Ok(self.announced.get(count).map(|left| left.at))
    }

    fn numbered(&self, at: usize) -> (Slot, u64) {
        (self.announced[at].slot, self.announced[at].attempt)
    }

    /// Gives keys back of which nobody knows what became of them.
    fn give_back(&self, unknown: Vec<usize>) {
        let numbered: Vec<_> = unknown.iter().map(|&at| self.numbered(at)).collect();
        self.core.register.unanswered(&numbered);
        let locks = unknown.iter().map(|&at| &self.keys[at]);
        let locks = locks.map(|key| (key.key.clone(), key.attempt)).collect();
        self.core.give_back(locks);
    }
}

fn hold(attempt: u64, mode: LockMode, locked: &Locked) -> Hold {
    Hold {
        attempt,
        mode,
        known: Known::of(locked.exists),
        for_update_ts: locked.for_update_ts,
        conflict_ts: locked.conflict_ts,
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let all = 0..self.keys.len();
        match self.stage {
            Stage::Noted => {}
            Stage::Sent => self.give_back(all.collect()),
            Stage::Announced => {
                let keys: Vec<_> = all.map(|at| self.numbered(at)).collect();
                self.core.register.not_granted(&keys);
            }
        }
    }
}
