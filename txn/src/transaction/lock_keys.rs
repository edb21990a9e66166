//! Locking keys, from any number of threads of one transaction at once.
//!
//! The [register](super::register) says who asks for what; this is the way of one call through it:
//!
//! 1. *Claim* all keys, sorted and without duplicates.
//! 2. *Ask* for them in order, a run of free ones at a time. Answers that the store has at once are noted
//!    together; before the call waits for one that it has not, it notes what it has and lays the rest of the
//!    run down again, so that siblings can go on with it. In order, so that calls which overlap, of this
//!    transaction or of others, come to the keys that they share in the same order.
//! 3. *Look* at keys that were locked before, as far as more is asked of them now than was then.
//! 4. *Publish*: the flags of all keys, then the register's mark. Commit and rollback shut this step out while they
//!    close the transaction, and there is no wait in it: a call is published whole or not at all.
//!
//! If it fails anywhere, or its future is dropped, [`Call`] withdraws the claims and gives back what nobody else
//! wants: one path for every kind of failure.

use super::Core;
use super::budget::Budget;
use super::options::{LockOptions, LockOutcome, Mode};
use super::register::{Hold, Known, Next};
use crate::buffer::Reservation;
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::store::{Answer, LockKey};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

/// Requests that a call announces before it sends them.
const RUN: usize = 64;

/// What a call knows of one of its keys.
#[derive(Debug, Clone, Default)]
struct Found {
    hold: Option<Hold>,
    already: bool,
    kept: bool,
    /// The request, or the look, carried the presumption.
    checked: bool,
    value: Option<Bytes>,
}

impl Core {
    pub(super) async fn lock_keys(
        &self,
        given: Vec<Bytes>,
        options: LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        self.life.check_open()?;
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = given.clone();
        keys.sort_unstable();
        keys.dedup();
        let room = self.buffer.reserve(&keys);
        let room = room.map_err(|error| self.as_of_now(error))?;
        let outcomes = if self.options.mode == Mode::Optimistic {
            self.mark_keys(&keys, &options, room).await
        } else {
            self.lock_sorted(&keys, &options, room).await
        };
        let outcomes = outcomes.map_err(|error| self.as_of_now(error))?;
        if keys == given {
            return Ok(outcomes);
        }
        Ok(given
            .iter()
            .filter_map(|key| Some(outcomes[keys.binary_search(key).ok()?].clone()))
            .collect())
    }

    /// Optimistic: the store is not asked, commit checks.
    async fn mark_keys(
        &self,
        keys: &[Bytes],
        options: &LockOptions,
        mut room: Reservation,
    ) -> Result<Vec<LockOutcome>, Error> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            let value = if options.return_values || options.check_existence {
                Some(self.store.get(key, self.start_ts).await?)
            } else {
                None
            };
            outcomes.push(LockOutcome {
                locked: true,
                already_locked: self.is_flagged(key),
                exists: value.as_ref().map(Option::is_some),
                value: value.flatten().filter(|_| options.return_values),
                for_update_ts: 0,
                locked_with_conflict_ts: None,
            });
        }
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.life.check_open()?;
        for key in keys {
            room.update_flags(key, [FlagOp::SetLocked])?;
        }
        Ok(outcomes)
    }

    fn is_flagged(&self, key: &Bytes) -> bool {
        self.buffer
            .get_flags(key)
            .is_some_and(|flags| flags.contains(KeyFlags::LOCKED))
    }

    /// The key is presumed absent and that was not checked yet.
    fn is_to_check(&self, key: &Bytes) -> bool {
        self.buffer.get_flags(key).is_some_and(|flags| {
            flags.presumes_not_exists() && flags.contains(KeyFlags::NEED_CHECK_EXISTS)
        })
    }

    async fn lock_sorted(
        &self,
        keys: &[Bytes],
        options: &LockOptions,
        room: Reservation,
    ) -> Result<Vec<LockOutcome>, Error> {
        let budget = Budget::new(
            options.wait.unwrap_or(self.options.lock_wait),
            options.deadline,
        );
        self.register.claim(keys)?;
        let call = Call { core: self, keys };
        let mut known = vec![Found::default(); keys.len()];
        let mut at = 0;
        while at < keys.len() {
            match self.register.next(&keys[at..], RUN)? {
                Next::Held { hold, kept } => {
                    known[at] = Found {
                        hold: Some(hold),
                        already: true,
                        kept,
                        ..Found::default()
                    };
                    at += 1;
                }
                Next::Ask { first, count } => {
                    let run = Run {
                        core: self,
                        keys: &keys[at..at + count],
                        first,
                        done: 0,
                        granted: Vec::new(),
                    };
                    at += run.send(options, &budget, &mut known[at..]).await?;
                }
                Next::Busy if budget.is_no_wait() => {
                    // Not joined: asked beside the sibling's request, without queueing.
                    let run = Run {
                        core: self,
                        keys: &keys[at..at + 1],
                        first: self.register.number(),
                        done: 0,
                        granted: Vec::new(),
                    };
                    at += run.send(options, &budget, &mut known[at..]).await?;
                }
                Next::Busy => self.join(&keys[at], &budget).await?,
            }
        }
        for (key, known) in keys.iter().zip(&mut known) {
            self.look(key, options, known).await?;
        }
        self.publish(&call, &known, room)?;
        std::mem::forget(call);
        Ok(known
            .into_iter()
            .map(|known| LockOutcome {
                locked: true,
                already_locked: known.already,
                exists: known.hold.and_then(|hold| hold.known.exists()),
                value: known.value,
                for_update_ts: known.hold.map_or(0, |hold| hold.for_update_ts),
                locked_with_conflict_ts: None,
            })
            .collect())
    }

    /// Waits for a sibling's request for `key`, within this call's own budget.
    async fn join(&self, key: &Bytes, budget: &Budget) -> Result<(), Error> {
        let mut bell = None;
        poll_fn(|context| {
            if let Poll::Ready(joined) = self.register.join(key, context.waker()) {
                return Poll::Ready(joined);
            }
            if let Some(end) = budget.ends() {
                if end <= std::time::Instant::now() {
                    return Poll::Ready(Err(budget.ended(key)));
                }
                // Set anew at each poll: the waker may be another one.
                match self.alarm.set(end, context.waker().clone()) {
                    Ok(set) => bell = Some(set),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Finds out what is asked of a key that was locked before, if the lock does not know it.
    async fn look(
        &self,
        key: &Bytes,
        options: &LockOptions,
        known: &mut Found,
    ) -> Result<(), Error> {
        let Some(hold) = &mut known.hold else {
            return Ok(());
        };
        if !known.already {
            return Ok(());
        }
        known.checked = self.is_to_check(key);
        let is_asked = options.check_existence || known.checked;
        if options.return_values || (is_asked && hold.known == Known::Unknown) {
            // Under the lock nobody changes it: what is committed now is the newest.
            let now = self.store.timestamp().await?;
            let value = self.store.get(key, now).await?;
            hold.known = Known::of(Some(value.is_some()));
            self.register.learn(key, hold.known);
            known.value = value.filter(|_| options.return_values);
        }
        if known.checked && hold.known == Known::Exists {
            return Err(Error::KeyExists { key: key.clone() });
        }
        Ok(())
    }

    /// Flags first, then the register: as long as the claims stand no sibling gives the keys back. The room for
    /// them is reserved, so nothing can stop it halfway.
    fn publish(
        &self,
        call: &Call<'_>,
        found: &[Found],
        mut room: Reservation,
    ) -> Result<(), Error> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.life.check_open()?;
        for (key, found) in call.keys.iter().zip(found) {
            if found.kept && !found.checked && self.is_flagged(key) {
                continue;
            }
            let value = match found.hold.map(|hold| hold.known) {
                Some(Known::Exists) => Some(FlagOp::SetLockedValueExists),
                Some(Known::Absent) => Some(FlagOp::SetLockedValueNotExists),
                Some(Known::Unknown) | None => None,
            };
            let check = found.checked.then_some(FlagOp::ClearNeedCheckExists);
            let ops = [Some(FlagOp::SetLocked), value, check];
            // Nothing to say is said by repeating what was said.
            let ops = ops.map(|op| op.unwrap_or(FlagOp::SetLocked));
            room.update_flags(key, ops)?;
        }
        self.register.keep(call.keys);
        Ok(())
    }
}

/// The claims of a call. Dropped when it fails; a call that succeeds has turned them into locks.
struct Call<'a> {
    core: &'a Core,
    keys: &'a [Bytes],
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.core
            .give_back(self.core.register.withdraw(self.keys), true);
    }
}

impl Core {
    fn give_back(&self, locks: Vec<(Bytes, u64)>, registered: bool) {
        if locks.is_empty() {
            return;
        }
        // Taken in at the first poll.
        let mut answer = pin!(self.store.unlock(self.start_ts, locks.clone()));
        let _ = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if registered {
            self.register.returned(&locks);
        }
    }
}

/// Requests that were announced under consecutive numbers. A drop notes what was granted and lays down the rest.
struct Run<'a> {
    core: &'a Core,
    keys: &'a [Bytes],
    first: u64,
    /// How many of the keys are granted, the noted ones included.
    done: usize,
    granted: Vec<(Bytes, Hold)>,
}

impl Run<'_> {
    /// Sends the requests, up to the first that has to wait and including it. Says how many were granted.
    async fn send(
        mut self,
        options: &LockOptions,
        budget: &Budget,
        known: &mut [Found],
    ) -> Result<usize, Error> {
        let core = self.core;
        for (at, known) in known.iter_mut().enumerate().take(self.keys.len()) {
            let key = &self.keys[at];
            let attempt = self.first + at as u64;
            let to_check = core.is_to_check(key);
            let answer = core.store.lock(
                core.start_ts,
                LockKey {
                    for_update: options.for_update_ts,
                    wait: budget.wait(),
                    deadline: budget.deadline,
                    value: options.return_values,
                    existence: options.check_existence,
                    absent: to_check,
                    ..LockKey::new(key.clone(), attempt)
                },
            );
            let waits = matches!(answer, Answer::Waiting(_));
            if waits {
                self.lay_down(at + 1);
            }
            let locked = answer.await.map_err(|error| budget.whole(error))?;
            let hold = Hold {
                attempt,
                known: Known::of(locked.exists),
                for_update_ts: locked.for_update_ts,
            };
            self.granted.push((key.clone(), hold));
            self.done = at + 1;
            *known = Found {
                hold: Some(hold),
                checked: to_check,
                value: locked.value,
                ..Found::default()
            };
            if waits {
                break;
            }
        }
        Ok(self.done)
    }

    /// Notes what is granted, and gives up the announcement of the keys from `from` on.
    fn lay_down(&mut self, from: usize) {
        let surplus = self.core.register.granted(&self.granted);
        self.granted.clear();
        self.core.give_back(surplus, false);
        if from < self.keys.len() {
            self.core
                .register
                .not_granted(&self.keys[from..], self.first + from as u64);
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.lay_down(self.done);
    }
}
