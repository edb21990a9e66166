//! The locks that a transaction asks for, and what the keys hold under them.

use super::asked::{NotTaken, take};
use super::core::{Core, Open, for_update_ts};
use super::ended::End;
use super::record::Record;
use crate::error::{ConflictReason, Error};
use crate::lock::{Acquire, LockMode, LockRequest};
use crate::store::{Answer, LockAnswers, LockKey, LockTerms, Locked, Timestamp, lock};
use bytes::Bytes;
use std::time::Duration;

/// Where a request for several keys came to an end.
enum Stop<'k> {
    AtTheEnd,
    Queued(&'k LockKey, Acquire),
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
        let denied = match stop {
            Stop::Queued(key, acquire) => {
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
            Stop::Denied(error) => Some(Err(error)),
            Stop::AtTheEnd | Stop::Blocked => None,
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
    fn ask<'k>(
        &self,
        open: &Open,
        keys: &'k [LockKey],
        terms: &LockTerms,
        may_queue: bool,
        granted: &mut usize,
    ) -> Stop<'k> {
        let mut asked = lock(&open.asked.keys);
        asked.reserve(keys.len());
        let mut taking = self.locks.taking(open.held.at, terms.mode);
        for key in keys {
            if asked.closed {
                return Stop::Denied(End::RolledBack.closed());
            }
            if asked.is_given_back(key.attempt) {
                return Stop::Denied(Error::Cancelled);
            }
            self.review(open, &mut asked);
            let request = LockRequest {
                wait: terms.wait,
                deadline: terms.deadline,
                attempt: key.attempt,
            };
            match take(&mut taking, &key.key, &request, &mut asked) {
                Ok(()) => *granted += 1,
                Err(NotTaken::HasToWait) if may_queue => {
                    let queued = self.queue(open, &key.key, terms.mode, &request, &mut asked);
                    return Stop::Queued(key, queued);
                }
                Err(NotTaken::HasToWait) => return Stop::Blocked,
                Err(NotTaken::Denied(error)) => return Stop::Denied(error),
            }
        }
        Stop::AtTheEnd
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
}
