//! The first phase of a commit.
//!
//! Every region's mutations are sent at once. In the ordinary case they leave locks, and the decision is made by the
//! commit of the primary. Two shortcuts are asked for where the transaction allows it (rule 54):
//!
//! - *one-phase*: all mutations go to one region in one request, which commits them there and then;
//! - *async commit*: the primary's lock names all other keys, and every region gives the least timestamp at which it could
//!   be committed. Once all are put down the transaction is committed, at the largest of them; the locks are turned
//!   into data in the background, and whoever meets one meanwhile can tell from the others.
//!
//! A region may decline either; then it is an ordinary prewrite. The least timestamp that is asked for is drawn before the
//! request is sent, so the commit stands above everything that was committed before the call.
//!
//! A write that is trusted is not checked by TiKV, unless its request says that it comes again. Ours says so each time: a copy that came
//! late, unchecked, would lock its key anew after the end, and if that is the primary everybody would take the transaction for one that
//! is under way. What is checked is that no commit is newer than the request's timestamp, which is drawn for it: so what came in between
//! is refused, though it is no conflict to who trusts, and then the keys are locked before they are put down. (TiKV up to 6.0 compares with
//! the start.) That timestamp stays the same: as of a newer one than a rollback of it, and than a commit of others after that, it would be
//! put down anew.

use super::TikvCore;
use super::cluster::Keyed;
use super::ended::End;
use super::lock::Asker;
use super::plan::{self, Item, Plan};
use super::proto::kvrpcpb::LockInfo;
use super::registry::Open;
use super::resolve::{Found, each, is_pessimistic};
use crate::error::Error;
use crate::lock::{LockMode, Wait};
use crate::store::{Guard, LockKey, LockTerms, MutationOp, Prewrite, Prewritten, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Async commit up to so many keys, and so many bytes of them (rule 54).
const ASYNC_KEYS: usize = 256;
const ASYNC_BYTES: usize = 4 << 10;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl TikvCore {
    pub(super) async fn prewrite(
        self: &Arc<Self>,
        open: &Arc<Open>,
        request: &Prewrite,
    ) -> Result<Prewritten, Error> {
        let mut decision = open.decision.lock().await;
        if let Some(end) = decision.end {
            return answer_again(end);
        }
        let items = plan::items(open, request)?;
        let is_trusting = items
            .iter()
            .any(|item| item.mutation.guard == Guard::Trusted);
        let drawn = if is_trusting { self.now().await? } else { 0 };
        let has_locked = |item: &Item| item.held.is_some() || item.mutation.guard == Guard::Locked;
        let (is_pessimistic, for_update_ts) = open.known(|known| {
            known.primary = Some(request.primary.clone());
            let put_down = items
                .iter()
                .filter(|item| item.mutation.op != MutationOp::CheckNotExists);
            known
                .put_down
                .extend(put_down.map(|item| item.key().clone()));
            let is_pessimistic =
                is_trusting || items.iter().any(has_locked) || known.may_hold_unwanted();
            let newest = known.for_update_ts.max(request.for_update_ts);
            let newest = newest.max(drawn).max(open.start);
            let for_update_ts = match is_trusting {
                true => *known.trusted_at.get_or_insert(newest),
                false => newest,
            };
            (is_pessimistic, for_update_ts)
        });
        let is_shared = items.iter().any(|item| {
            item.held
                .as_ref()
                .is_some_and(|held| held.mode == LockMode::Shared)
        });
        // What is trusted may have been committed by others up to now, above the least timestamp that is asked for.
        let may_decide =
            request.may_decide && request.leaves_something() && !is_shared && !is_trusting;
        let key_bytes: usize = items.iter().map(|item| item.key().len()).sum();
        // A check leaves no lock: where all locks are there it may have failed all the same.
        let has_check = items
            .iter()
            .any(|item| item.mutation.op == MutationOp::CheckNotExists);
        let is_async = may_decide
            && !has_check
            && self.cluster.options.async_commit
            && items.len() <= ASYNC_KEYS
            && key_bytes <= ASYNC_BYTES;
        let one_phase = may_decide && self.cluster.options.one_phase;
        let floor = if is_async || one_phase {
            self.now().await?
        } else {
            0
        };
        // One that comes again asks for the same: whoever meets the locks takes the largest of their timestamps.
        let (mut is_again, min_commit_ts) = open.known(|known| {
            let before = known.prewritten_from;
            let from = before.unwrap_or(for_update_ts.max(floor) + 1);
            known.prewritten_from = Some(from);
            (before.is_some() || is_trusting, from)
        });
        let others = items.iter().filter(|item| *item.key() != request.primary);
        let plan = Plan {
            open,
            request,
            for_update_ts: if is_pessimistic { for_update_ts } else { 0 },
            min_commit_ts,
            count: items.len(),
            secondaries: is_async.then(|| others.map(|item| item.key().clone()).collect()),
            one_phase,
        };
        open.known(|known| known.may_be_decided |= is_async || one_phase);
        let decided = self.send_prewrite(&plan, items, &mut is_again).await;
        open.known(|known| {
            known.may_be_one_phase |= one_phase && is_again;
            // A copy may come late, and be taken, where this one was refused.
            known.may_be_decided &= match decided {
                Ok(_) => false,
                Err(Error::Store { .. }) => true,
                Err(_) => is_again,
            };
        });
        match decided? {
            None => Ok(Prewritten::Undecided),
            Some((at, is_one_phase)) => {
                let end = End::Committed {
                    at,
                    by_prewrite: Some(is_one_phase),
                };
                decision.end = Some(end);
                self.finish_in_background(open, end, true);
                self.end(open, end);
                answer_again(end)
            }
        }
    }

    /// Sends all mutations until they are put down, within the budget for locks of others. Gives the commit
    /// timestamp, and whether it is one of one phase, where that was decided along with it; and notes whether there may be
    /// copies.
    async fn send_prewrite(
        self: &Arc<Self>,
        plan: &Plan<'_>,
        items: Vec<Item>,
        is_again: &mut bool,
    ) -> Result<Option<(Timestamp, bool)>, Error> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut left = items;
        let mut least = Some(plan.min_commit_ts).filter(|_| plan.secondaries.is_some());
        let mut one_phase = None;
        loop {
            let make = |batch: &[Item]| plan.request_of(batch);
            let mut retry = self.cluster.retry();
            if *is_again {
                retry = retry.again();
            }
            let sent = self
                .cluster
                .spread_by(&mut retry, left, make, Duration::ZERO, |_| ());
            let answers = sent.await;
            *is_again |= retry.is_retried();
            let answers = answers?;
            left = Vec::new();
            let (mut failures, mut unsure) = (Vec::new(), Vec::new());
            let mut locks = Vec::new();
            for (batch, answer) in answers {
                if answer.errors.is_empty() {
                    if answer.one_pc_commit_ts != 0 {
                        one_phase = Some(answer.one_pc_commit_ts);
                    }
                    least = match (least, answer.min_commit_ts) {
                        (_, 0) | (None, _) => None,
                        (Some(least), at) => Some(least.max(at)),
                    };
                    continue;
                }
                for error in answer.errors {
                    match error.locked {
                        Some(lock) => locks.extend(each(lock)),
                        None => {
                            let trusted = plan::trusted(&error, &batch);
                            if trusted.is_empty() {
                                failures.push(plan.failure(error));
                            }
                            unsure.extend(trusted);
                        }
                    }
                }
                left.extend(batch);
            }
            left.sort_by(|one, other| one.key().cmp(other.key()));
            if let Some(failure) = failures.into_iter().min_by_key(rank) {
                return Err(failure);
            }
            if !unsure.is_empty() {
                self.lock_trusted(plan, &unsure, began, &mut left).await?;
                continue;
            }
            if locks.is_empty() {
                return Ok(one_phase
                    .map(|at| (at, true))
                    .or(least.map(|at| (at, false))));
            }
            let holds = plan.for_update_ts != 0 || left.len() < plan.count;
            self.pass(plan, holds, locks, began, &mut pause).await?;
        }
    }

    /// Resolves locks of others. Waits for a moment where one is left whose transaction lives, if it may be waited for.
    ///
    /// No cluster knows which prewrites wait for each other. So one that may hold what others want gives way to an older one, which
    /// waits: where that commits this one has a conflict anyway.
    pub(super) async fn pass(
        &self,
        plan: &Plan<'_>,
        holds: bool,
        locks: Vec<LockInfo>,
        began: Instant,
        pause: &mut Duration,
    ) -> Result<(), Error> {
        let mut in_the_way = None;
        for (lock, found) in self.cluster.resolve(locks, 0).await? {
            if let Found::Alive { .. } = found {
                let is_elder = !is_pessimistic(&lock) && lock.lock_version < plan.open.start;
                if holds && is_elder && *pause >= LONGEST_PAUSE {
                    return Err(plan.gives_up_on(&lock, began));
                }
                in_the_way = Some(lock);
            }
        }
        let Some(lock) = in_the_way else {
            return Ok(());
        };
        plan.may_wait(&lock, began)?;
        tokio::time::sleep((*pause).min(plan.left(began))).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Locks keys of which the prewrite was refused for commits that are no conflict to who trusts, so that the next asks for no trust.
    async fn lock_trusted(
        self: &Arc<Self>,
        plan: &Plan<'_>,
        keys: &[LockKey],
        began: Instant,
        items: &mut [Item],
    ) -> Result<(), Error> {
        let request = plan.request;
        let wait = match request.wait {
            Wait::For(_) => Wait::For(plan.left(began)),
            wait => wait,
        };
        let terms = LockTerms {
            wait,
            deadline: request.deadline,
            ttl: request.ttl,
            ..LockTerms::new(request.primary.clone())
        };
        let asking = self.lock_keys(plan.open, keys, &terms, Asker::Prewrite);
        let locked = asking.await?;
        for item in items.iter_mut() {
            match locked.get(item.key()) {
                None => {}
                Some(Ok(_)) => item.mutation.guard = Guard::Locked,
                Some(Err(error)) => return Err(error.clone()),
            }
        }
        Ok(())
    }
}

/// The answer of a prewrite that has decided, as often as it comes.
pub(super) fn answer_again(end: End) -> Result<Prewritten, Error> {
    match end {
        End::Committed {
            at,
            by_prewrite: Some(one_phase),
        } => Ok(Prewritten::Committed { at, one_phase }),
        end => Err(end.closed()),
    }
}

/// A conflict is reported before anything else, a failed assertion after everything else.
pub(super) fn rank(error: &Error) -> u8 {
    match error {
        Error::WriteConflict { .. } => 0,
        Error::AssertionFailed { .. } => 2,
        _ => 1,
    }
}
