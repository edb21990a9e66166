//! Pessimistic locks.
//!
//! A request goes to every region of its keys at once, and each region locks all of its keys or none. What a region
//! answers is one of these:
//!
//! - *granted*;
//! - *locked by others*: TiKV has let the request wait, for a second at most, and gives the lock that it saw. Its transaction
//!   is looked at and resolved if it is over or dead, and the request is sent again without a wait; else with what is left of the
//!   budget;
//! - *written since*: a later commit than the timestamp that was asked for, or the end of a wait. A fresh request is sent
//!   again as of a newer timestamp; one as of a given timestamp fails, if there is such a commit;
//! - a refused presumption, a deadlock, the end of the transaction.
//!
//! The task that asks is not bound to who waits for it. Where all of its attempts are given back, or nobody waits any more, it withdraws
//! the request and gives back whatever that may have got. TiKV does not hear of a request that is withdrawn while it stands in
//! its queue, and may grant it until its wait ends; so once that time is over it is given back a second time, unless it was taken anew
//! meanwhile. So it is with a request that was not answered and was sent again: it may come when what it asked for was given back, or
//! its transaction is over. One that comes later still leaves a lock for as long as its transaction lives. And a give-back that was
//! not answered and was sent again may come late itself: to a lock that was taken anew, as of a given timestamp that is older.

use super::TikvCore;
use super::cluster::Keyed;
use super::ended::End;
use super::lock_request::{circle, granted, lock_request};
use super::patience::Patience;
use super::proto::kvrpcpb::{KeyError, PessimisticLockResponse};
use super::registry::{Held, Known, Open};
use super::resolve::{Found, Met, each, refused};
use crate::error::{ConflictReason, Error};
use crate::lock::LockMode;
use crate::store::{ForUpdate, LockAnswers, LockKey, LockTerms, Locked, Timestamp};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A region that answers earlier than that has not let the request wait.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
const NO_WAIT: i64 = -1;

const UPGRADE: Error = Error::OptionConflict {
    reason: "the transaction holds the key shared, and locks are not upgraded",
};
const NO_SHARED_LOCKS: Error = Error::OptionConflict {
    reason: "shared locks need TiKV 8.5.8, and the option `shared_locks`",
};

impl Keyed for LockKey {
    fn key(&self) -> &Bytes {
        &self.key
    }
}

/// Who asks for locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// A lock call. It ends when its transaction asks for no more.
    Call,
    /// The transaction's end.
    Prewrite,
}

/// What is the same for all requests of one who asks.
struct Asking<'a> {
    open: &'a Open,
    asker: Asker,
    /// As of when, if that was given.
    given: Option<Timestamp>,
    patience: Patience,
}

/// What becomes of the keys of one answer.
enum Outcome {
    Granted,
    /// As of a newer timestamp.
    Again,
    /// Who was in the way is gone.
    Free,
    /// Somebody is in the way still.
    Later,
    Failed(Error),
}

impl TikvCore {
    /// Notes the keys as asked for; refuses what cannot be.
    pub(super) fn ask_for(
        &self,
        open: &Open,
        keys: &[LockKey],
        terms: &LockTerms,
    ) -> Result<(), Error> {
        if terms.mode == LockMode::Shared && !self.cluster.options.shared_locks {
            return Err(NO_SHARED_LOCKS);
        }
        open.known(|known| {
            if known.is_closed {
                return Err(End::RolledBack.closed());
            }
            for key in keys {
                if known.is_given_back(key.attempt) {
                    return Err(Error::Cancelled);
                }
                let held = known.held.get(&key.key).map(|held| held.mode);
                if terms.mode == LockMode::Exclusive && held == Some(LockMode::Shared) {
                    return Err(UPGRADE);
                }
            }
            // If it is another one, the one before was given up.
            known.primary = Some(terms.primary.clone());
            keys.iter()
                .for_each(|key| known.asks(&key.key, key.attempt));
            Ok(())
        })
    }

    /// Asks for keys that were noted, and notes what is granted. Runs to its end.
    pub(super) async fn lock_noted(
        self: &Arc<Self>,
        open: &Arc<Open>,
        keys: Vec<LockKey>,
        terms: LockTerms,
    ) -> Result<LockAnswers, Error> {
        let is_unwanted = |known: &mut Known| {
            keys.iter()
                .all(|key| known.is_given_back(key.attempt))
                .then_some(())
        };
        let (result, is_withdrawn) = tokio::select! {
            result = self.lock_keys(open, &keys, &terms, Asker::Call) => (result, false),
            () = open.until(is_unwanted) => (Err(Error::Cancelled), true),
        };
        let is_unknown = is_withdrawn || matches!(result, Err(Error::Store { .. }));
        let mut orphans = Vec::new();
        let is_closed = open.known(|known| {
            known.may_be_forced |= terms.force && is_unknown;
            if is_withdrawn {
                let asked = keys.iter().map(|key| key.key.clone());
                known.may_come_late(asked, terms.force);
            }
            for key in &keys {
                let answer = match &result {
                    Ok(answers) => answers.get(&key.key).map_or(Ok(None), |answer| {
                        answer
                            .as_ref()
                            .map(|one| one.locked.then_some(one.for_update_ts))
                    }),
                    Err(error) => Err(error),
                };
                let granted_at = answer.as_ref().ok().copied().flatten();
                known.for_update_ts = known.for_update_ts.max(granted_at.unwrap_or(0));
                let held = Held {
                    attempts: vec![key.attempt],
                    mode: terms.mode,
                    for_update_ts: granted_at.unwrap_or(known.for_update_ts),
                    is_forced: terms.force,
                };
                // Whether it was granted is unknown where nobody answered: that is given back as well.
                let may_hold = is_withdrawn
                    || granted_at.is_some()
                    || matches!(answer, Err(Error::Store { .. }));
                let is_wanted =
                    granted_at.is_some() && !known.is_closed && !known.is_given_back(key.attempt);
                if known.answered(key, may_hold, is_wanted, held.clone()) {
                    orphans.push((key.key.clone(), held));
                }
            }
            known.is_closed
        });
        open.changed();
        self.give_back_late(open);
        if !orphans.is_empty() && self.send_back(open, orphans.clone()).await.is_err() {
            self.send_back_again(open, orphans);
        }
        let mut answers = result?;
        if is_closed {
            return Err(End::RolledBack.closed());
        }
        let answered = keys.into_iter().map(|key| {
            let answer = answers.remove(&key.key);
            answer.unwrap_or_else(|| Err(Error::store(super::TikvError::ShutDown)))
        });
        Ok(answered.collect())
    }

    pub(super) async fn lock_keys(
        self: &Arc<Self>,
        open: &Arc<Open>,
        keys: &[LockKey],
        terms: &LockTerms,
        asker: Asker,
    ) -> Result<HashMap<Bytes, Result<Locked, Error>>, Error> {
        let given = match terms.for_update {
            ForUpdate::Fresh => None,
            ForUpdate::At(at) => Some(self.checked_time(open.start, at).await?),
        };
        let wanted = |key: &Bytes| keys.iter().any(|asked| asked.key == *key);
        let asking = Asking {
            open,
            asker,
            given,
            patience: Patience::new(terms),
        };
        let patience = &asking.patience;
        let returned = open.until(|known| (!known.returning.keys().any(wanted)).then_some(()));
        // One that does not wait for others has as much patience with what is its own as with the cluster.
        let at_most = || patience.began.checked_add(self.cluster.options.patience);
        let end = patience
            .end()
            .or_else(|| at_most().filter(|_| !patience.waits()));
        match end {
            None => returned.await,
            Some(end) => {
                let returned = tokio::time::timeout_at(end.into(), returned).await;
                if let (Err(_), Some(key)) = (returned, keys.first()) {
                    return Err(patience.over(key.key.clone(), vec![open.start]));
                }
            }
        }
        let mut answers = HashMap::with_capacity(keys.len());
        let mut left = keys.to_vec();
        let (mut is_free, mut met) = (false, Met::default());
        while !left.is_empty() {
            let at = match given {
                Some(at) => at,
                None => self.now().await?,
            };
            open.known(|known| known.for_update_ts = known.for_update_ts.max(at));
            let asked = Instant::now();
            let mut is_early = false;
            // A request that waits is not told of the next lock to be resolved until its wait is over.
            let waits = patience.waits() && !is_free;
            let wait = patience.left().filter(|_| waits);
            is_free = false;
            let wait_timeout = wait.map_or(NO_WAIT, |wait| wait.as_millis().max(1) as i64);
            let make = |keys: &[LockKey]| lock_request(open, keys, terms, at, wait_timeout);
            let longest = wait.unwrap_or_default();
            let mut retry = self.cluster.retry_after(longest);
            let unanswered = |batch: &[LockKey]| {
                let keys = batch.iter().map(|key| key.key.clone());
                open.known(|known| known.may_come_late(keys, terms.force));
            };
            let sent = self
                .cluster
                .spread_by(&mut retry, left, make, longest, unanswered);
            let regions = sent.await;
            left = Vec::new();
            for (keys, answer) in regions? {
                match self.outcome(&asking, &answer, at, asked, &mut met).await? {
                    Outcome::Granted => granted(&keys, answer, terms, at, patience, &mut answers)?,
                    Outcome::Again => left.extend(keys),
                    Outcome::Free => {
                        left.extend(keys);
                        is_free = true;
                    }
                    Outcome::Later => {
                        left.extend(keys);
                        is_early |= wait.is_some() && asked.elapsed() < SHORTEST_LOOK;
                    }
                    Outcome::Failed(error) => {
                        answers.extend(keys.into_iter().map(|key| (key.key, Err(error.clone()))));
                    }
                }
            }
            left.sort_by(|one, other| one.key.cmp(&other.key));
            if is_early {
                // A region that did not let the request wait is not asked all the time.
                tokio::time::sleep(patience.left().unwrap_or_default().min(SHORTEST_LOOK)).await;
            }
        }
        Ok(answers)
    }

    async fn outcome(
        &self,
        asking: &Asking<'_>,
        answer: &PessimisticLockResponse,
        at: Timestamp,
        asked: Instant,
        met: &mut Met,
    ) -> Result<Outcome, Error> {
        let Asking { open, patience, .. } = asking;
        let Some(error) = answer.errors.first().cloned() else {
            return Ok(Outcome::Granted);
        };
        let KeyError {
            locked,
            conflict,
            already_exist,
            deadlock,
            ..
        } = error.clone();
        if let Some(lock) = locked {
            let key = lock.key.clone();
            let locks = each(lock);
            let holders: Vec<Timestamp> = locks.iter().map(|lock| lock.lock_version).collect();
            let resolved = self.cluster.resolve_met(locks, 0, met).await?;
            let is_alive = |(_, found): &_| matches!(found, Found::Alive { .. });
            let is_free = !resolved.iter().any(is_alive);
            // What is free is asked for once more after the end.
            let is_over = if is_free {
                patience.end().is_some_and(|end| end <= asked)
            } else {
                patience.left().is_none() || !patience.waits()
            };
            if is_over {
                return Ok(Outcome::Failed(patience.over(key, holders)));
            }
            let next = if is_free {
                Outcome::Free
            } else {
                Outcome::Later
            };
            return Ok(asking.unless_over(next));
        }
        if let Some(conflict) = conflict {
            // Without a later commit it is the end of a wait.
            return Ok(match asking.given {
                Some(_) if conflict.conflict_commit_ts > at => {
                    Outcome::Failed(Error::WriteConflict {
                        key: conflict.key,
                        start_ts: open.start,
                        read_ts: at,
                        conflict_start_ts: conflict.conflict_ts,
                        conflict_commit_ts: conflict.conflict_commit_ts,
                        reason: ConflictReason::ForUpdate,
                    })
                }
                _ => asking.unless_over(Outcome::Again),
            });
        }
        if let Some(exists) = already_exist {
            return Ok(Outcome::Failed(Error::KeyExists { key: exists.key }));
        }
        if let Some(deadlock) = deadlock {
            let cycle = circle(open.start, &deadlock);
            return Ok(Outcome::Failed(Error::Deadlock { cycle }));
        }
        if error.abort.contains("PessimisticLockRolledBack")
            || error.retryable.contains("PessimisticLockRolledBack")
        {
            return Ok(Outcome::Failed(End::RolledBack.closed()));
        }
        Ok(Outcome::Failed(refused("a lock", error).into()))
    }
}

impl Asking<'_> {
    /// A transaction that stops locking asks no more, but for its end.
    fn unless_over(&self, outcome: Outcome) -> Outcome {
        if self.asker == Asker::Call && self.open.known(|known| known.is_closed) {
            Outcome::Failed(End::RolledBack.closed())
        } else {
            outcome
        }
    }
}
