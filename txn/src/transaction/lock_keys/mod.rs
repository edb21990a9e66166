//! Locking keys, from any number of threads of one transaction at once.
//!
//! The [register](super::register) says who asks for what; this is the way of one call through it:
//!
//! 1. *Claim* all keys, sorted and without duplicates, with room for them in the buffer.
//! 2. *Ask* for them in order, all that are free in one [request], the primary before all others and
//!    alone. In order, so that calls which overlap, of this transaction or of others, come to the keys that they share
//!    in the same order: where a store stops at a key that is locked, that one is asked for alone and waited for, and
//!    the rest after it.
//! 3. *Look* at keys that were locked before, as far as more is asked of them now than was then.
//! 4. *Publish*: the flags of all keys, then the register's mark. Commit and rollback shut this step out while they
//!    close the transaction, and there is no wait in it: a call is published whole or not at all.
//!
//! If it fails anywhere, or its future is dropped or cancelled, [`Call`](call::Call) withdraws the claims and gives back what
//! nobody else wants: one path for every kind of failure.

mod call;
mod give_back;
mod optimistic;
mod order;
mod request;

pub(super) use call::flags_of;
pub(super) use order::Ordered;

use super::budget::Budget;
use super::cancel::CancelToken;
use super::options::{LockOptions, LockOutcome, Mode};
use super::register::{Announced, Announcement, Awaited, Hold, Known, Next, Seat, Terms};
use super::{Core, Keys};
use crate::error::Error;
use crate::flags::KeyFlags;
use crate::lock::{LockMode, Wait};
use crate::metrics::{self, Event};
use crate::store::{ForUpdate, LockTerms};
use bytes::Bytes;
use call::{Call, Found};
use request::Request;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Keys of one request at most: the register is held that long.
const MOST: usize = 1024;

/// How the requests of one call are made.
#[derive(Debug)]
struct Asking<'a> {
    options: &'a LockOptions,
    budget: Budget,
    mode: LockMode,
    for_update: ForUpdate,
    /// Grant in spite of conflicts.
    force: bool,
    /// What is left of the budget.
    wait: Wait,
}

impl Asking<'_> {
    /// The terms of a request that is made now.
    fn terms(&self, primary: Bytes, ttl: Duration) -> LockTerms {
        LockTerms {
            mode: self.mode,
            for_update: self.for_update,
            force: self.force,
            wait: self.wait,
            deadline: self.budget.deadline,
            value: self.options.return_values,
            existence: self.options.check_existence,
            only_if_exists: self.options.only_if_exists,
            ttl,
            ..LockTerms::new(primary)
        }
    }
}

impl Core {
    pub(super) async fn lock_keys(
        self: &Arc<Self>,
        given: Keys,
        options: &LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        self.life.check_open()?;
        let cancel = options.cancel.as_ref();
        let locked = CancelToken::ends(cancel, pin!(self.lock_given(given, options))).await;
        // Not before the call has published or withdrawn: the hook is the user's code.
        self.buffer.report_memory();
        locked.map_err(|error| {
            metrics::count(Event::LockCallFailed);
            self.as_of_now(error)
        })
    }

    async fn lock_given(
        self: &Arc<Self>,
        given: Keys,
        options: &LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let ordered = Ordered::of(given);
        let keys = &ordered.keys;
        self.check_options(keys, options)?;
        self.check_alive()?;
        let outcomes = match self.options.mode {
            Mode::Optimistic => self.mark_keys(keys, options).await?,
            Mode::Pessimistic => self.lock_sorted(keys, options).await?,
        };
        let is_taken = |outcome: &&LockOutcome| outcome.locked && !outcome.already_locked;
        metrics::keys_locked(outcomes.iter().filter(is_taken).count());
        Ok(ordered.as_given(outcomes))
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

    fn is_flagged(&self, key: &Bytes) -> bool {
        self.buffer
            .get_flags(key)
            .is_some_and(|flags| flags.contains(KeyFlags::LOCKED))
    }

    async fn lock_sorted(
        self: &Arc<Self>,
        keys: &[Bytes],
        options: &LockOptions,
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
        let mut call = Call::new(self, keys, self.register.claim(keys, mode)?);
        call.reserve()?;
        let mut asking = Asking {
            options,
            budget,
            mode,
            for_update: options.for_update_ts,
            force: call.round.is_some(),
            wait: budget.whole_wait(),
        };
        let locked = self.lock_claimed(&mut call, &mut asking).await;
        if let Err(Error::Deadlock { cycle, .. }) = &locked {
            tracing::info!(start_ts = self.start_ts, of = cycle.len(), "deadlock");
            metrics::count(Event::Deadlock);
            // The victim of a deadlock is told once it is out of the others' way.
            let withdrawn = call.withdraw();
            self.give_back_now(withdrawn).await;
        }
        locked
    }

    async fn lock_claimed(
        self: &Arc<Self>,
        call: &mut Call<'_>,
        asking: &mut Asking<'_>,
    ) -> Result<Vec<LockOutcome>, Error> {
        if asking.force && asking.for_update == ForUpdate::Fresh {
            // A forced lock tells of what was committed since its call began.
            asking.budget.start();
            asking.for_update = ForUpdate::At(self.store().timestamp().await?);
        }
        self.ask(call, asking).await?;
        if call.found.iter().any(|found| found.already) {
            self.look(call, asking.options).await?;
        }
        call.publish()?;
        Ok(call.outcomes(asking))
    }

    /// Asks for all keys that are not held, in order.
    async fn ask(
        self: &Arc<Self>,
        call: &mut Call<'_>,
        asking: &mut Asking<'_>,
    ) -> Result<(), Error> {
        let terms = Terms {
            mode: asking.mode,
            round: call.round,
            needs_primary: asking.options.only_if_exists && call.keys.len() > 1,
        };
        let (mut from, mut most) = (0, MOST);
        while from < call.keys.len() {
            let mut announced = Announcement::new();
            let found = &mut call.found;
            let held = |at: usize, hold: Hold, kept| {
                let held: &mut Found = &mut found[at];
                held.hold = Some(hold);
                held.for_update_ts = hold.for_update_ts;
                held.already = true;
                held.kept = kept;
            };
            let claimed = &call.claimed;
            let next = self
                .register
                .next(claimed, &mut from, most, terms, &mut announced, held)?;
            match next {
                Next::Done => {}
                Next::Ask { primary } => {
                    let mut request = Request::new(call, announced, primary, asking);
                    let left = request.send(asking, call).await?;
                    // What the store did not get to has to wait, and is asked for alone.
                    (from, most) = left.map_or((from, MOST), |left| (left, 1));
                }
                Next::Asked if asking.budget.is_no_wait() => {
                    // Not joined: asked beside the sibling's request, without queueing.
                    let beside = self.register.ask_beside(call.claimed[from]);
                    let Some((attempt, primary)) = beside else {
                        continue;
                    };
                    announced.push(Announced {
                        at: from,
                        slot: call.claimed[from],
                        attempt,
                    });
                    let mut request = Request::new(call, announced, primary, asking);
                    request.send(asking, call).await?;
                    let is_left = call.found[from].hold.is_none();
                    from += usize::from(is_left || self.register.holds(call.claimed[from]));
                }
                Next::NoPrimary {
                    key,
                    is_queued: true,
                } if asking.budget.is_no_wait() => {
                    return Err(Error::LockNotAvailable {
                        key,
                        holders: Vec::new(),
                    });
                }
                Next::NoPrimary { key, .. } => {
                    let is_no_wait = asking.budget.is_no_wait();
                    let seat = self.register.seat(Awaited::Primary, is_no_wait);
                    self.await_sibling(&key, &mut asking.budget, seat).await?;
                }
                Next::Returning {
                    is_unanswered: true,
                } if asking.budget.is_no_wait() => {
                    // As far as anybody knows it is this transaction itself that still has it.
                    return Err(Error::LockNotAvailable {
                        key: call.keys[from].clone(),
                        holders: vec![self.start_ts],
                    });
                }
                Next::Asked | Next::Returning { .. } => {
                    let (slot, is_no_wait) = (call.claimed[from], asking.budget.is_no_wait());
                    let seat = self.register.seat(Awaited::Key(slot), is_no_wait);
                    let key = &call.keys[from];
                    self.await_sibling(key, &mut asking.budget, seat).await?;
                }
            }
            if from < call.keys.len() {
                asking.wait = asking.budget.wait();
            }
        }
        Ok(())
    }

    /// Waits for a sibling's request for `key`, or for a give-back, within this call's own budget. One that does not
    /// wait is here only for what is answered without waiting for anybody.
    async fn await_sibling(
        &self,
        key: &Bytes,
        budget: &mut Budget,
        mut seat: Seat<'_>,
    ) -> Result<(), Error> {
        let end = budget.ends();
        let mut bell = None;
        poll_fn(|context| {
            if let Poll::Ready(ready) = seat.poll(context.waker()) {
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

    /// Finds out what is asked of keys that were locked before, as far as their locks do not know it.
    async fn look(&self, call: &mut Call<'_>, options: &LockOptions) -> Result<(), Error> {
        let mut asked = Vec::new();
        for (at, key) in call.keys.iter().enumerate() {
            let found = &mut call.found[at];
            let Some(hold) = found.hold.filter(|_| found.already) else {
                continue;
            };
            found.checked = self.buffer.is_to_check(key);
            let is_asked = options.check_existence || found.checked;
            if options.return_values || (is_asked && hold.known == Known::Unknown) {
                asked.push(at);
            }
        }
        let keys: Vec<Bytes> = asked.iter().map(|&at| call.keys[at].clone()).collect();
        let values = self.newest(&keys).await?;
        for (at, value) in asked.into_iter().zip(values) {
            let found = &mut call.found[at];
            let known = Known::of(Some(value.is_some()));
            if let Some(hold) = &mut found.hold {
                hold.known = known;
            }
            self.register.learn(call.claimed[at], known);
            found.value = value.filter(|_| options.return_values);
        }
        let exists = |found: &Found| {
            found.already
                && found.checked
                && found.hold.is_some_and(|hold| hold.known == Known::Exists)
        };
        match call.found.iter().position(exists) {
            Some(at) => Err(Error::KeyExists {
                key: call.keys[at].clone(),
            }),
            None => Ok(()),
        }
    }

    /// The newest values of keys that are locked: nobody changes them meanwhile.
    pub(super) async fn newest(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.store().timestamp().await?;
        self.store().batch_get(keys, now).await
    }
}
