//! Locking keys, from any number of threads of one transaction at once.
//!
//! The [register](super::register) says who asks for what; this is the way of one call through it:
//!
//! 1. *Claim* all keys, sorted and without duplicates, with room for them in the buffer.
//! 2. *Ask* for them in order, all that are free in one [request](super::lock_run), the primary before all others and
//!    alone. In order, so that calls which overlap, of this transaction or of others, come to the keys that they share
//!    in the same order: where a store stops at a key that is locked, that one is asked for alone and waited for, and
//!    the rest after it.
//! 3. *Look* at keys that were locked before, as far as more is asked of them now than was then.
//! 4. *Publish*: the flags of all keys, then the register's mark. Commit and rollback shut this step out while they
//!    close the transaction, and there is no wait in it: a call is published whole or not at all.
//!
//! If it fails anywhere, or its future is dropped or cancelled, [`Call`] withdraws the claims and gives back what
//! nobody else wants: one path for every kind of failure.

use super::Core;
use super::budget::Budget;
use super::lock_run::Run;
use super::options::{LockOptions, LockOutcome, Mode};
use super::register::{Hold, Known, Next, Terms, Withdrawn};
use crate::buffer::Reservation;
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::lock::LockMode;
use crate::store::{Answer, ForUpdate};
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Keys of one request at most: the register is held that long.
const RUN: usize = 1024;
/// How soon a give-back that was not answered is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(20);

/// What a call knows of one of its keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The lock, unless the store left the key unlocked.
    pub(super) hold: Option<Hold>,
    /// Whether it has a value, where the key is unlocked.
    pub(super) exists: Option<bool>,
    pub(super) for_update_ts: u64,
    pub(super) already: bool,
    pub(super) kept: bool,
    /// The request, or the look, carried the presumption.
    pub(super) checked: bool,
    pub(super) value: Option<Bytes>,
}

/// How the requests of one call are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) options: &'a LockOptions,
    pub(super) budget: &'a Budget,
    pub(super) mode: LockMode,
    pub(super) for_update: ForUpdate,
    /// Grant in spite of conflicts.
    pub(super) force: bool,
}

impl Core {
    pub(super) async fn lock_keys(
        self: &Arc<Self>,
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
        self.check_options(&keys, &options)?;
        self.check_alive()?;
        let room = self.buffer.reserve(&keys);
        let room = room.map_err(|error| self.as_of_now(error))?;
        let outcomes = if self.options.mode == Mode::Optimistic {
            self.mark_keys(&keys, &options, room).await
        } else if let Some(token) = &options.cancel {
            let locked = self.lock_sorted(&keys, &options, room);
            let locked = token.unless_cancelled(locked).await;
            locked.unwrap_or(Err(Error::Cancelled))
        } else {
            self.lock_sorted(&keys, &options, room).await
        };
        // Not before all flags are set and no lock is held: the hook is the user's code.
        self.buffer.report_memory();
        let outcomes = outcomes.map_err(|error| self.as_of_now(error))?;
        if keys == given {
            return Ok(outcomes);
        }
        Ok(given
            .iter()
            .filter_map(|key| Some(outcomes[keys.binary_search(key).ok()?].clone()))
            .collect())
    }

    /// What cannot be meant is refused before anything is done.
    fn check_options(&self, keys: &[Bytes], options: &LockOptions) -> Result<(), Error> {
        let conflict = |reason| Err(Error::OptionConflict { reason });
        if self.options.mode == Mode::Optimistic && (options.shared || options.only_if_exists) {
            return conflict("an optimistic transaction asks the store for no locks");
        }
        if options.only_if_exists && !options.return_values {
            return conflict("locking only what exists needs the values");
        }
        let is_written = |key: &Bytes| self.buffer.get(key).is_some();
        if options.shared && keys.iter().any(is_written) {
            return conflict("a key that was written is not locked shared");
        }
        match options.for_update_ts {
            ForUpdate::At(given) if given < self.start_ts => Err(Error::InvalidTimestamp {
                given,
                newest: self.start_ts,
            }),
            _ => Ok(()),
        }
    }

    /// Optimistic: the store is not asked, commit checks.
    async fn mark_keys(
        &self,
        keys: &[Bytes],
        options: &LockOptions,
        mut room: Reservation,
    ) -> Result<Vec<LockOutcome>, Error> {
        let values = if options.return_values || options.check_existence {
            let values = self.store().batch_get(keys, self.start_ts).await?;
            values.into_iter().map(Some).collect()
        } else {
            vec![None; keys.len()]
        };
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.life.check_open()?;
        let mut outcomes = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            outcomes.push(LockOutcome {
                locked: true,
                already_locked: self.is_flagged(key),
                exists: value.as_ref().map(Option::is_some),
                value: value.flatten().filter(|_| options.return_values),
                for_update_ts: 0,
                locked_with_conflict_ts: None,
            });
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
    pub(super) fn is_to_check(&self, key: &Bytes) -> bool {
        self.buffer.get_flags(key).is_some_and(|flags| {
            flags.presumes_not_exists() && flags.contains(KeyFlags::NEED_CHECK_EXISTS)
        })
    }

    async fn lock_sorted(
        self: &Arc<Self>,
        keys: &[Bytes],
        options: &LockOptions,
        room: Reservation,
    ) -> Result<Vec<LockOutcome>, Error> {
        if keys.len() > 1 && self.register.is_fair() {
            self.fair_done()?;
        }
        let budget = Budget::new(
            options.wait.unwrap_or(self.options.lock_wait),
            options.deadline,
        );
        let mode = if options.shared {
            LockMode::Shared
        } else {
            LockMode::Exclusive
        };
        let mut call = Call {
            core: self,
            keys,
            round: self.register.claim(keys, mode)?,
            room: Some(room),
        };
        let locked = self.lock_claimed(&mut call, options, &budget, mode).await;
        if let Err(Error::Deadlock { cycle, .. }) = &locked {
            tracing::info!(start_ts = self.start_ts, of = cycle.len(), "deadlock");
            // The victim of a deadlock is told once it is out of the others' way.
            let withdrawn = call.withdraw();
            self.give_back_now(withdrawn).await;
        }
        locked
    }

    async fn lock_claimed(
        self: &Arc<Self>,
        call: &mut Call<'_>,
        options: &LockOptions,
        budget: &Budget,
        mode: LockMode,
    ) -> Result<Vec<LockOutcome>, Error> {
        let keys = call.keys;
        let for_update = match options.for_update_ts {
            // A forced lock tells of what was committed since its call began.
            ForUpdate::Fresh if call.round.is_some() => {
                ForUpdate::At(self.store().timestamp().await?)
            }
            given => given,
        };
        let asking = Asking {
            options,
            budget,
            mode,
            for_update,
            force: call.round.is_some(),
        };
        let terms = Terms {
            mode,
            round: call.round,
            needs_primary: options.only_if_exists && keys.len() > 1,
        };
        let mut known = vec![Found::default(); keys.len()];
        let mut at = 0;
        let mut most = RUN;
        while at < keys.len() {
            match self.register.next(&keys[at..], most, terms)? {
                Next::Held { hold, kept } => {
                    known[at] = Found {
                        for_update_ts: hold.for_update_ts,
                        hold: Some(hold),
                        already: true,
                        kept,
                        ..Found::default()
                    };
                    at += 1;
                }
                Next::Ask {
                    first,
                    count,
                    primary,
                } => {
                    let run = Run::new(self, &keys[at..at + count], first, primary);
                    let answered = run.send(asking, &mut known[at..]).await?;
                    at += answered;
                    // One that the store did not get to has to wait, and is asked for alone.
                    most = if answered < count { 1 } else { RUN };
                }
                Next::Asked { primary } if budget.is_no_wait() => {
                    // Not joined: asked beside the sibling's request, without queueing.
                    let first = self.register.number();
                    let run = Run::new(self, &keys[at..=at], first, primary);
                    run.send(asking, &mut known[at..]).await?;
                    let is_left = known[at].hold.is_none();
                    at += usize::from(is_left || self.register.holds(&keys[at]));
                }
                Next::NoPrimary {
                    key,
                    is_queued: true,
                } if budget.is_no_wait() => {
                    return Err(Error::LockNotAvailable {
                        key,
                        holders: Vec::new(),
                    });
                }
                Next::NoPrimary { key, .. } => {
                    let granted = |waker: &Waker| self.register.await_primary(waker);
                    self.await_sibling(&key, budget, granted).await?;
                }
                Next::Asked { .. } | Next::Returning => {
                    let key = &keys[at];
                    let joined = |waker: &Waker| self.register.join(key, waker);
                    self.await_sibling(key, budget, joined).await?;
                }
            }
        }
        for (key, known) in keys.iter().zip(&mut known) {
            self.look(key, options, known).await?;
        }
        self.publish(call, &known)?;
        Ok(known
            .into_iter()
            .map(|known| LockOutcome {
                locked: known.hold.is_some(),
                already_locked: known.already,
                exists: match &known.hold {
                    Some(hold) => hold.known.exists(),
                    None => known.exists,
                },
                value: known.value,
                for_update_ts: known.for_update_ts,
                locked_with_conflict_ts: known
                    .hold
                    .and_then(|hold| hold.conflict_ts)
                    .filter(|_| asking.force)
                    .filter(|&ts| matches!(for_update, ForUpdate::At(at) if at < ts)),
            })
            .collect())
    }

    /// Waits for a sibling's request for `key`, within this call's own budget. One that does not wait is here only
    /// for what is answered without waiting for anybody.
    async fn await_sibling(
        &self,
        key: &Bytes,
        budget: &Budget,
        mut ready: impl FnMut(&Waker) -> Poll<Result<(), Error>>,
    ) -> Result<(), Error> {
        let end = budget.ends().filter(|_| !budget.is_no_wait());
        let mut bell = None;
        poll_fn(|context| {
            if let Poll::Ready(ready) = ready(context.waker()) {
                return Poll::Ready(ready);
            }
            if let Some(end) = end {
                if end <= Instant::now() {
                    return Poll::Ready(Err(budget.ended(key)));
                }
                // Set anew at each poll: the waker may be another one.
                match self.db.worker.wake_at(end, context.waker().clone()) {
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
            let value = self.newest(key).await?;
            hold.known = Known::of(Some(value.is_some()));
            self.register.learn(key, hold.known);
            known.value = value.filter(|_| options.return_values);
        }
        if known.checked && hold.known == Known::Exists {
            return Err(Error::KeyExists { key: key.clone() });
        }
        Ok(())
    }

    /// The newest value of a key that is locked: nobody changes it meanwhile.
    pub(super) async fn newest(&self, key: &Bytes) -> Result<Option<Bytes>, Error> {
        let now = self.store().timestamp().await?;
        self.store().get(key, now).await
    }

    /// Flags first, then the register: as long as the claims stand no sibling gives the keys back. The room for
    /// them is reserved, so nothing can stop it halfway. In fair mode flags wait until it is done.
    fn publish(self: &Arc<Self>, call: &mut Call<'_>, found: &[Found]) -> Result<(), Error> {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.life.check_open()?;
        let Some(mut room) = call.room.take() else {
            return Ok(());
        };
        let (mut locked, mut unlocked) = (Vec::new(), Vec::new());
        for (key, found) in call.keys.iter().zip(found) {
            let Some(hold) = &found.hold else {
                unlocked.push(key.clone());
                continue;
            };
            locked.push(key.clone());
            let is_there = found.kept && !found.checked && self.is_flagged(key);
            if call.round.is_none() && !is_there {
                room.update_flags(key, flags_of(hold, found.checked))?;
            }
        }
        self.register.keep(&locked, call.round);
        // A fair call has one key.
        if let (Some(_), Some(key)) = (call.round.take(), locked.pop()) {
            crate::store::lock(&self.pending_room).insert(key, room);
        }
        call.keys = &[];
        if !unlocked.is_empty() {
            self.give_back(self.register.withdraw(&unlocked, None));
        }
        Ok(())
    }
}

/// The flags of a lock. Nothing to say is said by repeating what was said.
pub(super) fn flags_of(hold: &Hold, checked: bool) -> [FlagOp; 3] {
    let mode = match hold.mode {
        LockMode::Shared => FlagOp::SetLockedShared,
        LockMode::Exclusive => FlagOp::SetLocked,
    };
    let value = match hold.known {
        Known::Exists => FlagOp::SetLockedValueExists,
        Known::Absent => FlagOp::SetLockedValueNotExists,
        Known::Unknown => mode,
    };
    let check = if checked {
        FlagOp::ClearNeedCheckExists
    } else {
        mode
    };
    [mode, value, check]
}

/// The claims of a call. Withdrawn when it fails; a call that succeeds has turned them into locks.
struct Call<'a> {
    core: &'a Arc<Core>,
    keys: &'a [Bytes],
    round: Option<u64>,
    room: Option<Reservation>,
}

impl Call<'_> {
    /// Withdraws the claims; the second time there are none.
    fn withdraw(&mut self) -> Withdrawn {
        let keys = std::mem::take(&mut self.keys);
        let withdrawn = self.core.register.withdraw(keys, self.round.take());
        // The primary that stays for others' sake: its flag fits into the room that this call has reserved.
        if let (Some(primary), Some(room)) = (&withdrawn.primary, &mut self.room) {
            let core = self.core;
            let _gate = core.gate.read().unwrap_or_else(PoisonError::into_inner);
            // A transaction that is closed needs no flags any more.
            drop(room.update_flags(primary, [FlagOp::SetLocked]));
        }
        withdrawn
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let withdrawn = self.withdraw();
        self.core.give_back(withdrawn);
    }
}

impl Core {
    /// Gives locks back: at once where the store answers at once, else in the background.
    pub(super) fn give_back(self: &Arc<Self>, withdrawn: Withdrawn) {
        let locks = withdrawn.locks;
        if locks.is_empty() {
            return;
        }
        let answer = self.store().unlock(self.start_ts, locks.clone());
        if let Answer::Ready(Some(Ok(()))) = answer {
            return self.register.returned(&locks);
        }
        drop(answer);
        let core = Arc::clone(self);
        self.db.worker.spawn(async move {
            core.give_back_now(Withdrawn::of(locks)).await;
        });
    }

    /// Gives locks back, and asks until that is answered or the transaction has ended.
    async fn give_back_now(&self, withdrawn: Withdrawn) {
        let locks = withdrawn.locks;
        while !locks.is_empty() && self.life.check_open().is_ok() {
            let answer = self.store().unlock(self.start_ts, locks.clone()).await;
            if matches!(answer, Err(Error::Store { .. })) {
                let worker = &self.db.worker;
                worker.sleep_until(Instant::now() + SEND_AGAIN).await;
                continue;
            }
            return self.register.returned(&locks);
        }
    }
}
