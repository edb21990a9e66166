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
//! A write that is trusted is not checked by TiKV, unless its request comes again, as it may have been committed or rolled back by
//! others meanwhile. Then a commit that is no conflict to who trusts is one, and the key is locked before it is put
//! down.

use super::TikvCore;
use super::cluster::Keyed;
use super::ended::End;
use super::proto::kvrpcpb::{
    self, AssertionLevel as Level, ForUpdateTsConstraint, KeyError, Op, PessimisticAction,
    PrewriteRequest,
};
use super::registry::{Held, Open};
use super::resolve::{Found, each, refused};
use crate::error::{ConflictReason, Error, Loss};
use crate::flags::Assertion;
use crate::lock::{LockMode, Wait};
use crate::store::{
    AssertionLevel, Guard, LockKey, LockTerms, Mutation, MutationOp, Prewrite, Prewritten,
    Timestamp,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Async commit up to so many keys, and so many bytes of them (rule 54).
const ASYNC_KEYS: usize = 256;
const ASYNC_BYTES: usize = 4 << 10;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

const UPGRADE: Error = Error::OptionConflict {
    reason: "the transaction holds the key shared, and locks are not upgraded",
};

/// A mutation with what the transaction holds of its key.
#[derive(Debug, Clone)]
struct Item {
    mutation: Mutation,
    held: Option<Held>,
}

impl Keyed for Item {
    fn key(&self) -> &Bytes {
        &self.mutation.key
    }

    fn size(&self) -> usize {
        let value = match &self.mutation.op {
            MutationOp::Put(value) | MutationOp::Insert(value) => value.len(),
            MutationOp::Delete | MutationOp::Lock | MutationOp::CheckNotExists => 0,
        };
        self.mutation.key.len() + value
    }
}

/// What is the same in all requests of one prewrite.
struct Plan<'a> {
    open: &'a Arc<Open>,
    request: &'a Prewrite,
    /// Zero for an optimistic one.
    for_update_ts: Timestamp,
    min_commit_ts: Timestamp,
    count: usize,
    /// The keys besides the primary, for async commit.
    secondaries: Option<Vec<Bytes>>,
    one_phase: bool,
}

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
        let items = items(open, request)?;
        let is_trusting = items
            .iter()
            .any(|item| item.mutation.guard == Guard::Trusted);
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
                is_trusting || items.iter().any(has_locked) || !known.returning.is_empty();
            let newest = known.for_update_ts.max(request.for_update_ts);
            (is_pessimistic, newest.max(open.start))
        });
        let is_shared = items
            .iter()
            .any(|item| item.held.is_some_and(|held| held.mode == LockMode::Shared));
        // What is trusted may have been committed by others up to now, above the least timestamp that is asked for.
        let may_decide =
            request.may_decide && request.leaves_something() && !is_shared && !is_trusting;
        let key_bytes: usize = items.iter().map(|item| item.key().len()).sum();
        let is_async = may_decide
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
            (before.is_some(), from)
        });
        let others = items.iter().filter(|item| *item.key() != request.primary);
        let others = others.filter(|item| item.mutation.op != MutationOp::CheckNotExists);
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
                if !is_one_phase {
                    self.commit_in_background(open, at, true);
                }
                self.registry.end(open, end);
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
                .spread_by(&mut retry, left, make, Duration::ZERO);
            let answers = sent.await;
            *is_again |= retry.is_retried();
            let answers = answers?;
            left = Vec::new();
            let mut failures = Vec::new();
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
                        None => failures.push(plan.failure(error)),
                    }
                }
                left.extend(batch);
            }
            if *is_again {
                let conflicts = plan.conflicts_to_trust(&failures, &left);
                if !conflicts.is_empty() && conflicts.len() == failures.len() {
                    self.lock_trusted(plan, &conflicts, &mut left).await?;
                    continue;
                }
            }
            if let Some(failure) = failures.into_iter().min_by_key(rank) {
                return Err(failure);
            }
            if locks.is_empty() {
                return Ok(one_phase
                    .map(|at| (at, true))
                    .or(least.map(|at| (at, false))));
            }
            left.sort_by(|one, other| one.key().cmp(other.key()));
            let mut in_the_way = None;
            for lock in locks {
                if let Found::Alive { .. } = self.cluster.resolve(&lock, 0).await? {
                    in_the_way = Some(lock);
                }
            }
            let Some(lock) = in_the_way else { continue };
            plan.may_wait(&lock, began)?;
            tokio::time::sleep(pause.min(plan.left(began))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl TikvCore {
    /// Locks keys of which a copy of the prewrite was refused for commits that are trusted, so that the next asks for no trust.
    async fn lock_trusted(
        self: &Arc<Self>,
        plan: &Plan<'_>,
        keys: &[LockKey],
        items: &mut [Item],
    ) -> Result<(), Error> {
        let request = plan.request;
        let terms = LockTerms {
            wait: request.wait,
            deadline: request.deadline,
            ttl: request.ttl,
            ..LockTerms::new(request.primary.clone())
        };
        let locked = self.lock_keys(plan.open, keys, &terms).await?;
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

impl Plan<'_> {
    /// The keys of conflicts that are none to who trusts.
    fn conflicts_to_trust(&self, failures: &[Error], items: &[Item]) -> Vec<LockKey> {
        let is_trusted = |key: &Bytes| {
            let item = items.iter().find(|item| item.key() == key);
            item.is_some_and(|item| item.mutation.guard == Guard::Trusted)
        };
        let conflict = |failure: &Error| match failure {
            Error::WriteConflict { key, .. } if is_trusted(key) => {
                Some(LockKey::new(key.clone(), 0))
            }
            _ => None,
        };
        failures.iter().filter_map(conflict).collect()
    }

    fn request_of(&self, batch: &[Item]) -> PrewriteRequest {
        let is_pessimistic = self.for_update_ts != 0;
        let has_primary = batch.iter().any(|item| *item.key() == self.request.primary);
        let constraints = batch.iter().enumerate().filter_map(|(index, item)| {
            let held = item.held.filter(|held| held.is_forced)?;
            Some(ForUpdateTsConstraint {
                index: index as u32,
                expected_for_update_ts: held.for_update_ts,
            })
        });
        PrewriteRequest {
            context: None,
            mutations: batch.iter().map(Item::message).collect(),
            primary_lock: self.request.primary.clone(),
            start_version: self.open.start,
            lock_ttl: self.open.ttl_ms(self.request.ttl),
            pessimistic_actions: if is_pessimistic {
                batch.iter().map(Item::action).collect()
            } else {
                Vec::new()
            },
            txn_size: batch.len() as u64,
            for_update_ts: self.for_update_ts,
            min_commit_ts: self.min_commit_ts,
            use_async_commit: self.secondaries.is_some(),
            secondaries: self
                .secondaries
                .clone()
                .filter(|_| has_primary)
                .unwrap_or_default(),
            // All or nothing: a part of a transaction is not committed alone.
            try_one_pc: self.one_phase && batch.len() == self.count,
            assertion_level: match self.request.assertions {
                AssertionLevel::Strict => Level::Strict as i32,
                AssertionLevel::Off | AssertionLevel::Fast => Level::Off as i32,
            },
            for_update_ts_constraints: constraints.collect(),
        }
    }

    fn left(&self, began: Instant) -> Duration {
        let wait = match self.request.wait {
            Wait::Forever => Duration::MAX,
            Wait::NoWait => Duration::ZERO,
            Wait::For(budget) => budget.saturating_sub(began.elapsed()),
        };
        let deadline = self.request.deadline;
        deadline.map_or(wait, |deadline| {
            wait.min(deadline.saturating_duration_since(Instant::now()))
        })
    }

    /// An error where a lock may not be waited for any longer.
    fn may_wait(&self, lock: &kvrpcpb::LockInfo, began: Instant) -> Result<(), Error> {
        if !self.left(began).is_zero() {
            return Ok(());
        }
        let (key, holders) = (lock.key.clone(), vec![lock.lock_version]);
        if self
            .request
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(Error::DeadlineExceeded);
        }
        Err(match self.request.wait {
            Wait::For(budget) if !budget.is_zero() => Error::LockWaitTimeout {
                key,
                holders,
                waited: began.elapsed(),
            },
            _ => Error::LockNotAvailable { key, holders },
        })
    }

    fn failure(&self, error: KeyError) -> Error {
        let start_ts = self.open.start;
        if let Some(conflict) = error.conflict {
            if conflict.reason == kvrpcpb::Reason::SelfRolledBack as i32 {
                return End::RolledBack.closed();
            }
            return Error::WriteConflict {
                key: conflict.key,
                start_ts,
                read_ts: start_ts,
                conflict_start_ts: conflict.conflict_ts,
                conflict_commit_ts: conflict.conflict_commit_ts,
                reason: ConflictReason::Commit,
            };
        }
        if let Some(exists) = error.already_exist {
            return Error::KeyExists { key: exists.key };
        }
        if let Some(failed) = error.assertion_failed {
            let assertion = match kvrpcpb::Assertion::try_from(failed.assertion) {
                Ok(kvrpcpb::Assertion::Exist) => Assertion::Exist,
                Ok(kvrpcpb::Assertion::NotExist) => Assertion::NotExist,
                _ => Assertion::None,
            };
            return Error::AssertionFailed {
                key: failed.key,
                start_ts,
                assertion,
            };
        }
        if [&error.abort, &error.retryable]
            .iter()
            .any(|words| words.contains("PessimisticLockNotFound"))
        {
            return self.lost();
        }
        refused("a prewrite", error).into()
    }

    fn lost(&self) -> Error {
        lost(self.open.start, self.request)
    }
}

fn lost(start_ts: Timestamp, request: &Prewrite) -> Error {
    Error::LockLost {
        start_ts,
        primary: Some(request.primary.clone()),
        loss: Loss::Refused,
    }
}

impl Item {
    fn message(&self) -> kvrpcpb::Mutation {
        let is_shared = self.held.is_some_and(|held| held.mode == LockMode::Shared);
        let (op, value) = match &self.mutation.op {
            MutationOp::Put(value) => (Op::Put, value.clone()),
            MutationOp::Insert(value) => (Op::Insert, value.clone()),
            MutationOp::Delete => (Op::Del, Bytes::new()),
            MutationOp::Lock if is_shared => (Op::SharedLock, Bytes::new()),
            MutationOp::Lock => (Op::Lock, Bytes::new()),
            MutationOp::CheckNotExists => (Op::CheckNotExists, Bytes::new()),
        };
        let assertion = match self.mutation.assertion {
            Assertion::Exist => kvrpcpb::Assertion::Exist,
            Assertion::NotExist => kvrpcpb::Assertion::NotExist,
            _ => kvrpcpb::Assertion::None,
        };
        kvrpcpb::Mutation {
            op: op as i32,
            key: self.mutation.key.clone(),
            value,
            assertion: assertion as i32,
        }
    }

    fn action(&self) -> i32 {
        let action = match self.mutation.guard {
            Guard::Locked => PessimisticAction::DoPessimisticCheck,
            Guard::Checked => PessimisticAction::DoConstraintCheck,
            Guard::Trusted => PessimisticAction::SkipPessimisticCheck,
        };
        action as i32
    }
}

/// The mutations, checked against what the transaction holds.
fn items(open: &Open, request: &Prewrite) -> Result<Vec<Item>, Error> {
    open.known(|known| {
        let item = |mutation: &Mutation| {
            let held = known.held.get(&mutation.key).copied();
            let is_shared = held.is_some_and(|held| held.mode == LockMode::Shared);
            // Put down by an earlier request of this prewrite, it may be gone from those that are held.
            let is_down = known.put_down.contains(&mutation.key);
            match mutation.guard {
                Guard::Locked if held.is_none() && !is_down => Err(lost(open.start, request)),
                _ if is_shared && mutation.op != MutationOp::Lock => Err(UPGRADE),
                _ => Ok(Item {
                    mutation: mutation.clone(),
                    held,
                }),
            }
        };
        request.mutations.iter().map(item).collect()
    })
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
fn rank(error: &Error) -> u8 {
    match error {
        Error::WriteConflict { .. } => 0,
        Error::AssertionFailed { .. } => 2,
        _ => 1,
    }
}
