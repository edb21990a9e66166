//! Locks of open transactions, and that none appears once a transaction has ended.
//!
//! A transaction notes every key that it asks for in [`Asked`], under a mutex that its end takes too: so a
//! request is either noted before the end, which then ends its wait and releases what it got, or it is refused.

use super::core::{COLLECTOR, Core, Open, for_update_ts};
use super::ended::End;
use super::record::Record;
use crate::error::{ConflictReason, Error, Loss};
use crate::lock::{Acquire, Granted, LockMode, LockRequest, Refused, Taking, Wait};
use crate::store::{
    Answer, Guard, LockAnswers, LockKey, LockTerms, Locked, Mutation, MutationOp, Prewrite,
    Timestamp, lock,
};
use bytes::Bytes;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The attempt number of locks taken by a prewrite; transactions count theirs from 1.
const PREWRITE: u64 = u64::MAX;
/// Notes of a transaction that may be in vain before it is looked which of its keys it still holds.
const REVIEW: usize = 1024;

/// The keys for which a transaction has asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    keys: Mutex<AskedKeys>,
}

#[derive(Debug, Default)]
struct AskedKeys {
    closed: bool,
    keys: Vec<Bytes>,
    /// Notes of locks that were let go, or waited for, since the last review.
    in_vain: usize,
    /// Attempts that were given back: a request that comes after that is refused.
    given_back: HashSet<u64>,
}

#[cfg(test)]
impl Asked {
    /// How many keys are noted.
    pub(super) fn noted(&self) -> usize {
        lock(&self.keys).keys.len()
    }
}

/// Why a lock was not taken at once.
enum NotTaken {
    HasToWait,
    Denied(Error),
}

/// Where a request for several keys came to an end.
enum Stop {
    AtTheEnd,
    Queued(Acquire),
    /// Before a key that is to be waited for.
    Blocked,
    Denied(Error),
}

/// The newest commit of a key and what it left, as seen under the key's lock.
pub(super) struct Seen {
    /// When, a committed `Lock` included.
    pub(super) time: Timestamp,
    pub(super) start: Timestamp,
    /// When the version itself was written.
    written: Timestamp,
    pub(super) value: Option<Bytes>,
    pub(super) exists: bool,
}

impl Core {
    /// Locks keys up to the first that is to be waited for; that one is waited for only if it is the only one.
    pub(super) fn lock_keys<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        let begun = self.open(start).and_then(|open| {
            let at = for_update_ts(terms.for_update, start, self.oracle.newest())?;
            self.renew(&open, terms.ttl);
            Ok((open, at))
        });
        let (open, at) = match begun {
            Ok(begun) => begun,
            Err(error) => return Answer::ready(Err(error)),
        };
        let may_queue = keys.len() == 1;
        let mut granted = 0;
        let mut stop = self.ask(&open, keys, terms, may_queue, &mut granted);
        if let Stop::Denied(Error::LockNotAvailable { holders, .. }) = &stop
            && self.resolve(holders)
        {
            let left = &keys[granted..];
            stop = self.ask(&open, left, terms, may_queue, &mut granted);
        }
        let denied = match (stop, keys) {
            (Stop::Queued(acquire), [key]) => {
                return Answer::waiting(async move {
                    let granted = self.wait(start, &key.key, acquire).await;
                    // A grant that came together with the end of the transaction was released by that.
                    if lock(&open.asked.keys).closed {
                        return Err(End::RolledBack.closed());
                    }
                    let seen = self.seen_at(at);
                    let locked = self.locked(&open, key, terms, at, seen, granted?.waited);
                    Ok(LockAnswers::from_iter([locked]))
                });
            }
            (Stop::Denied(error), _) => Some(Err(error)),
            _ => None,
        };
        let seen = self.seen_at(at);
        let mut answers = LockAnswers::with_capacity(granted + usize::from(denied.is_some()));
        for key in &keys[..granted] {
            answers.push(self.locked(&open, key, terms, at, seen, Duration::ZERO));
        }
        if let Some(denied) = denied {
            answers.push(denied);
        }
        Answer::ready(Ok(answers))
    }

    /// As of when keys are seen that are granted by now, where nothing is given: whoever held them before has committed
    /// below it.
    fn seen_at(&self, given: Option<Timestamp>) -> Timestamp {
        given.unwrap_or_else(|| self.oracle.next())
    }

    /// Notes keys and asks the lock table for them: what is free is granted at once, and counted. The first that is not
    /// free ends it, where that may be in its queue.
    fn ask(
        &self,
        open: &Open,
        keys: &[LockKey],
        terms: &LockTerms,
        may_queue: bool,
        granted: &mut usize,
    ) -> Stop {
        let mut asked = lock(&open.asked.keys);
        asked.keys.reserve(keys.len());
        let mut taking = self.locks.taking(open.held.at, terms.mode);
        for key in keys {
            if asked.closed {
                return Stop::Denied(End::RolledBack.closed());
            }
            if asked.given_back.contains(&key.attempt) {
                return Stop::Denied(Error::Cancelled);
            }
            if asked.in_vain >= REVIEW.max(asked.keys.len() / 2) {
                self.review(open, &mut asked);
            }
            let request = LockRequest {
                wait: terms.wait,
                deadline: terms.deadline,
                attempt: key.attempt,
            };
            match take(&mut taking, &key.key, &request, &mut asked) {
                Ok(()) => *granted += 1,
                Err(NotTaken::HasToWait) if may_queue => {
                    let queued = self.queue(open, &key.key, terms.mode, &request, &mut asked);
                    return Stop::Queued(queued);
                }
                Err(NotTaken::HasToWait) => return Stop::Blocked,
                Err(NotTaken::Denied(error)) => return Stop::Denied(error),
            }
        }
        Stop::AtTheEnd
    }

    /// Forgets what is no longer held.
    fn review(&self, open: &Open, asked: &mut AskedKeys) {
        let owner = open.held.at;
        asked.keys.sort_unstable();
        asked.keys.dedup();
        // What is still queued must stay noted, and only held keys can be told from the table.
        let waiting = self.locks.waiting();
        let is_waiting = |key: &Bytes| {
            waiting
                .iter()
                .any(|call| call.owner == owner && call.key == *key)
        };
        asked
            .keys
            .retain(|key| self.locks.mode_of(owner, key).is_some() || is_waiting(key));
        asked.in_vain = 0;
    }

    /// A place in the lock's queue; the key is noted with it.
    fn queue(
        &self,
        open: &Open,
        key: &Bytes,
        mode: LockMode,
        terms: &LockRequest,
        asked: &mut AskedKeys,
    ) -> Acquire {
        asked.keys.push(key.clone());
        asked.in_vain += 1;
        self.locks.acquire(open.held.at, key, mode, terms)
    }

    /// Waits in the queue, and looks from time to time whether who is in the way is still there.
    async fn wait(
        &self,
        owner: Timestamp,
        key: &Bytes,
        mut acquire: Acquire,
    ) -> Result<Granted, Error> {
        let granted = poll_fn(|context| {
            let ended = Pin::new(&mut acquire).poll(context);
            if ended.is_pending()
                && let Some(next) = self.resolve_holders(key, owner)
            {
                acquire.wake_at(next);
            }
            ended
        });
        Ok(granted.await?)
    }

    /// The answer to a lock that was granted; one that is not to stay is given back.
    fn locked(
        &self,
        open: &Open,
        asked: &LockKey,
        terms: &LockTerms,
        at: Option<Timestamp>,
        seen_at: Timestamp,
        waited: Duration,
    ) -> Result<Locked, Error> {
        let mut answer = Locked {
            locked: true,
            for_update_ts: seen_at,
            conflict_ts: None,
            exists: None,
            value: None,
            waited,
        };
        let look = terms.value || terms.existence || asked.absent || terms.only_if_exists;
        if !look && at.is_none() {
            return Ok(answer);
        }
        let seen = self.seen(&asked.key, terms.value);
        let start = open.held.at;
        let release = || {
            lock(&open.asked.keys).in_vain += 1;
            self.locks.release(start, &asked.key, asked.attempt);
        };
        // A shared lock only needs the value to stay: that somebody locked the key does not concern it.
        let newest = match terms.mode {
            LockMode::Exclusive => seen.time,
            LockMode::Shared => seen.written,
        };
        if at.is_some_and(|at| newest > at) {
            if !terms.force {
                release();
                return Err(Error::WriteConflict {
                    key: asked.key.clone(),
                    start_ts: start,
                    read_ts: answer.for_update_ts,
                    conflict_start_ts: seen.start,
                    conflict_commit_ts: newest,
                    reason: ConflictReason::ForUpdate,
                });
            }
            answer.conflict_ts = Some(newest);
        }
        if let Some(at) = at
            && let Err(too_old) = self.still_kept(at)
        {
            release();
            return Err(too_old);
        }
        if asked.absent && seen.exists {
            release();
            return Err(Error::KeyExists {
                key: asked.key.clone(),
            });
        }
        if terms.only_if_exists && !seen.exists {
            release();
            answer.locked = false;
        }
        answer.exists = look.then_some(seen.exists);
        answer.value = seen.value;
        Ok(answer)
    }

    /// The newest commit of a key whose lock the caller holds.
    pub(super) fn seen(&self, key: &[u8], with_value: bool) -> Seen {
        let mut seen = Seen {
            time: 0,
            start: 0,
            written: 0,
            value: None,
            exists: false,
        };
        let pinned = self.newest.pin();
        if let Some(item) = pinned.entry(key) {
            let record = Record::decode(item.tag, item.value);
            seen.time = record.time;
            seen.written = record.time;
            seen.start = record.start;
            seen.exists = record.value.is_some();
            if with_value {
                seen.value = record.value.map(Bytes::copy_from_slice);
            }
        }
        let touched = self.touched.pin();
        if let Some(item) = touched.entry(key) {
            let record = Record::decode(item.tag, item.value);
            if record.time > seen.time {
                seen.time = record.time;
                seen.start = record.start;
            }
        }
        seen
    }

    /// Locks what a prewrite writes and the transaction does not hold yet, one key after another.
    pub(super) async fn lock_all(&self, open: &Arc<Open>, request: &Prewrite) -> Result<(), Error> {
        let owner = open.held.at;
        let began = Instant::now();
        let until = match request.wait {
            Wait::For(budget) => began.checked_add(budget),
            Wait::Forever | Wait::NoWait => None,
        };
        for mutation in &request.mutations {
            let held = self.locks.mode_of(owner, &mutation.key);
            if held == Some(LockMode::Exclusive) {
                continue;
            }
            if mutation.guard == Guard::Locked {
                self.suffices(owner, mutation, held, &request.primary)?;
                continue;
            }
            if held.is_some() {
                return Err(UPGRADE);
            }
            let wait = match until {
                Some(until) => Wait::For(until.saturating_duration_since(Instant::now())),
                None => request.wait,
            };
            let terms = LockRequest {
                wait,
                deadline: request.deadline,
                attempt: PREWRITE,
            };
            let queued = match self.ask_to_write(open, &mutation.key, &terms) {
                Err(Error::LockNotAvailable { holders, .. }) if self.resolve(&holders) => {
                    self.ask_to_write(open, &mutation.key, &terms)
                }
                queued => queued,
            };
            // The keys before may have used up the budget.
            let queued = queued.map_err(|error| match no_wait(request.wait) {
                true => error,
                false => error.after_waiting(began.elapsed()),
            });
            if let Some(acquire) = queued? {
                self.wait(owner, &mutation.key, acquire).await?;
            }
        }
        Ok(())
    }

    /// Whether a lock that is not exclusive serves a mutation of a key that the transaction says it locked.
    fn suffices(
        &self,
        start_ts: Timestamp,
        mutation: &Mutation,
        held: Option<LockMode>,
        primary: &Bytes,
    ) -> Result<(), Error> {
        match held {
            Some(_) if mutation.op == MutationOp::Lock => Ok(()),
            Some(_) => Err(UPGRADE),
            None => Err(Error::LockLost {
                start_ts,
                primary: Some(primary.clone()),
                loss: Loss::Refused,
            }),
        }
    }

    /// As [`ask`](Self::ask), for one key, also once the transaction's own lock requests are refused. Its place in the
    /// queue, if it has to wait.
    fn ask_to_write(
        &self,
        open: &Open,
        key: &Bytes,
        terms: &LockRequest,
    ) -> Result<Option<Acquire>, Error> {
        let mut asked = lock(&open.asked.keys);
        if open.decision.verdict() != super::decision::Verdict::Undecided {
            return Err(End::RolledBack.closed());
        }
        let mode = LockMode::Exclusive;
        let mut taking = self.locks.taking(open.held.at, mode);
        match take(&mut taking, key, terms, &mut asked) {
            Ok(()) => Ok(None),
            Err(NotTaken::HasToWait) => Ok(Some(self.queue(open, key, mode, terms, &mut asked))),
            Err(NotTaken::Denied(error)) => Err(error),
        }
    }

    /// Releases these attempts, and refuses them if they come later.
    pub(super) fn give_back(&self, start: Timestamp, locks: &[(Bytes, u64)]) {
        let Ok(open) = self.open(start) else { return };
        let attempts = locks.iter().map(|(_, attempt)| *attempt);
        let mut asked = lock(&open.asked.keys);
        asked.given_back.extend(attempts);
        asked.in_vain += locks.len();
        drop(asked);
        for (key, attempt) in locks {
            self.locks.release(start, key, *attempt);
        }
    }

    pub(super) fn stop_asking(&self, open: &Open) {
        lock(&open.asked.keys).closed = true;
        self.locks.cancel_owner(open.held.at);
    }

    /// Releases every lock of a transaction that was decided.
    pub(super) fn release_locks(&self, open: &Open) {
        let keys = {
            let mut asked = lock(&open.asked.keys);
            asked.closed = true;
            std::mem::take(&mut asked.keys)
        };
        self.locks.cancel_owner(open.held.at);
        self.locks.release_all(open.held.at, keys);
    }
}

/// The lock, if it is free; the key is noted with it.
fn take(
    taking: &mut Taking<'_>,
    key: &Bytes,
    terms: &LockRequest,
    asked: &mut AskedKeys,
) -> Result<(), NotTaken> {
    let holders = loop {
        match taking.take(key, terms.attempt) {
            Ok(already_held) => {
                // One that is held is noted.
                if !already_held {
                    asked.keys.push(key.clone());
                }
                return Ok(());
            }
            Err(Refused::Upgrade) => return Err(NotTaken::Denied(UPGRADE)),
            // It holds a lock for a few steps only and waits for nobody: not worth a refusal.
            Err(Refused::HeldBy(holders)) if holders == [COLLECTOR] => {
                std::thread::yield_now();
            }
            Err(Refused::HeldBy(holders)) => break holders,
        }
    };
    if no_wait(terms.wait) {
        let key = key.clone();
        return Err(NotTaken::Denied(Error::LockNotAvailable { key, holders }));
    }
    Err(NotTaken::HasToWait)
}

/// A transaction that holds a key shared never gets it exclusively.
const UPGRADE: Error = Error::OptionConflict {
    reason: "the transaction holds the key shared, and locks are not upgraded",
};

fn no_wait(wait: Wait) -> bool {
    matches!(wait, Wait::NoWait) || wait == Wait::For(Duration::ZERO)
}
