//! Locks of open transactions, and that none appears once a transaction has ended.
//!
//! A transaction notes every key that it asks for in [`Asked`], under a mutex that its end takes too: so a
//! request is either noted before the end, which then ends its wait and releases what it got, or it is refused.

use super::record::Record;
use super::{COLLECTOR, MemStore, Open, for_update_ts};
use crate::error::{Error, TxnState};
use crate::lock::{Acquire, Granted, LockError, LockMode, LockRequest, OwnerId, Wait};
use crate::store::{Answer, LockKey, Locked, Mutation, Timestamp, lock};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The attempt number of locks taken by a prewrite; transactions count theirs from 1.
const PREWRITE: u64 = u64::MAX;
/// Keys that a transaction may have noted before it is looked which of them it still holds.
const FIRST_REVIEW: usize = 1024;

/// The keys for which a transaction has asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    keys: Mutex<AskedKeys>,
}

#[derive(Debug, Default)]
struct AskedKeys {
    closed: bool,
    keys: Vec<Bytes>,
    review_at: usize,
}

/// A request that was taken: answered, or queued.
enum Taken {
    Granted(Granted),
    Queued(Acquire),
}

/// The newest commit of a key and what it left, as seen under the key's lock.
pub(super) struct Seen {
    pub(super) time: Timestamp,
    pub(super) start: Timestamp,
    pub(super) value: Option<Bytes>,
    pub(super) exists: bool,
}

impl MemStore {
    pub(super) fn lock_key(&self, start: Timestamp, request: LockKey) -> Answer<'_, Locked> {
        let taken = self.open(start).and_then(|open| {
            let at = for_update_ts(request.for_update, start, self.oracle.newest())?;
            let terms = LockRequest {
                wait: request.wait,
                deadline: request.deadline,
                attempt: request.attempt,
            };
            let taken = self.ask(&open, &request.key, &terms)?;
            Ok((open, at, taken))
        });
        match taken {
            Err(error) => Answer::ready(Err(error)),
            Ok((_, at, Taken::Granted(granted))) => {
                Answer::ready(self.locked(start, request, at, granted))
            }
            Ok((open, at, Taken::Queued(acquire))) => Answer::waiting(async move {
                let granted = self.granted(&open, acquire).await?;
                self.locked(start, request, at, granted)
            }),
        }
    }

    /// Notes the key and asks the lock table: at once if the lock is free, else in its queue.
    fn ask(&self, open: &Open, key: &Bytes, terms: &LockRequest) -> Result<Taken, Error> {
        let owner = open.held.at;
        let mut asked = lock(&open.asked.keys);
        if asked.closed {
            return Err(closed());
        }
        if asked.keys.len() >= asked.review_at.max(FIRST_REVIEW) {
            asked.keys.sort_unstable();
            asked.keys.dedup();
            // What is still queued must stay noted, and only held keys can be told from the table.
            let waiting = self.locks.waiting();
            asked.keys.retain(|key| {
                self.locks.mode_of(owner, key).is_some()
                    || waiting
                        .iter()
                        .any(|call| call.owner == owner && call.key == *key)
            });
            asked.review_at = asked.keys.len() * 2;
        }
        self.take(owner, key, terms, &mut asked)
    }

    /// The lock itself, or a place in its queue; the key is noted with either.
    fn take(
        &self,
        owner: OwnerId,
        key: &Bytes,
        terms: &LockRequest,
        asked: &mut AskedKeys,
    ) -> Result<Taken, Error> {
        let taken = loop {
            match self
                .locks
                .try_acquire(owner, key, LockMode::Exclusive, terms.attempt)
            {
                Ok(granted) => break Taken::Granted(granted),
                // It holds a lock for a few steps only and waits for nobody: not worth a refusal.
                Err(LockError::NotAvailable { holders, .. }) if holders == [COLLECTOR] => {
                    std::thread::yield_now();
                }
                Err(LockError::NotAvailable { .. }) if !no_wait(terms.wait) => {
                    break Taken::Queued(self.locks.acquire(
                        owner,
                        key,
                        LockMode::Exclusive,
                        terms,
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        };
        asked.keys.push(key.clone());
        Ok(taken)
    }

    /// Waits in the queue. A grant that comes together with the end of the transaction was released by that.
    async fn granted(&self, open: &Arc<Open>, acquire: Acquire) -> Result<Granted, Error> {
        let granted = acquire.await;
        if lock(&open.asked.keys).closed {
            return Err(closed());
        }
        Ok(granted?)
    }

    /// The answer to a lock that was granted; one that fails its checks is given back.
    fn locked(
        &self,
        start: Timestamp,
        request: LockKey,
        at: Option<Timestamp>,
        granted: Granted,
    ) -> Result<Locked, Error> {
        let mut answer = Locked {
            // Drawn after the grant: whoever held the key before has committed below it.
            for_update_ts: at.unwrap_or_else(|| self.oracle.next()),
            exists: None,
            value: None,
            waited: granted.waited,
        };
        let look = request.value || request.existence || request.absent;
        if look || at.is_some() {
            let seen = self.seen(&request.key, request.value);
            let failure = if at.is_some_and(|at| seen.time > at) {
                Some(Error::WriteConflict {
                    key: request.key.clone(),
                    start_ts: start,
                    read_ts: answer.for_update_ts,
                    conflict_start_ts: seen.start,
                    conflict_commit_ts: seen.time,
                })
            } else if request.absent && seen.exists {
                Some(Error::KeyExists {
                    key: request.key.clone(),
                })
            } else {
                None
            };
            if let Some(failure) = failure {
                self.locks.release(start, &request.key, request.attempt);
                return Err(failure);
            }
            answer.exists = look.then_some(seen.exists);
            answer.value = seen.value;
        }
        Ok(answer)
    }

    /// The newest commit of a key whose lock the caller holds.
    pub(super) fn seen(&self, key: &[u8], with_value: bool) -> Seen {
        let mut seen = Seen {
            time: 0,
            start: 0,
            value: None,
            exists: false,
        };
        let pinned = self.newest.pin();
        if let Some(item) = pinned.entry(key) {
            let record = Record::decode(item.tag, item.value);
            seen.time = record.time;
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
    pub(super) async fn lock_all(
        &self,
        open: &Arc<Open>,
        mutations: &[Mutation],
        wait: Wait,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        let until = match wait {
            Wait::For(budget) => Instant::now().checked_add(budget),
            Wait::Forever | Wait::NoWait => None,
        };
        for mutation in mutations {
            let wait = match until {
                Some(until) => Wait::For(until.saturating_duration_since(Instant::now())),
                None => wait,
            };
            let terms = LockRequest {
                wait,
                deadline,
                attempt: PREWRITE,
            };
            if let Taken::Queued(acquire) = self.ask_to_write(open, &mutation.key, &terms)? {
                acquire.await?;
            }
        }
        Ok(())
    }

    /// As [`ask`](Self::ask), also once the transaction's own lock requests are refused.
    fn ask_to_write(&self, open: &Open, key: &Bytes, terms: &LockRequest) -> Result<Taken, Error> {
        let owner = open.held.at;
        let mut asked = lock(&open.asked.keys);
        if open.decision.verdict() != super::decision::Verdict::Undecided {
            return Err(closed());
        }
        self.take(owner, key, terms, &mut asked)
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

fn no_wait(wait: Wait) -> bool {
    matches!(wait, Wait::NoWait) || wait == Wait::For(std::time::Duration::ZERO)
}

fn closed() -> Error {
    Error::TransactionClosed {
        state: TxnState::RolledBack,
    }
}
