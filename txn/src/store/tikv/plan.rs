//! What a prewrite sends, and what its refusals mean.

use super::cluster::Keyed;
use super::ended::End;
use super::proto::kvrpcpb::{
    self, AssertionLevel as Level, ForUpdateTsConstraint, KeyError, Op, PessimisticAction,
    PrewriteRequest,
};
use super::registry::{Held, Open};
use super::resolve::refused;
use crate::error::{ConflictReason, Error, Loss};
use crate::flags::Assertion;
use crate::lock::{LockMode, Wait};
use crate::store::{AssertionLevel, Guard, LockKey, Mutation, MutationOp, Prewrite, Timestamp};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

const UPGRADE: Error = Error::OptionConflict {
    reason: "the transaction holds the key shared, and locks are not upgraded",
};

/// A mutation with what the transaction holds of its key.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) mutation: Mutation,
    pub(super) held: Option<Held>,
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
pub(super) struct Plan<'a> {
    pub(super) open: &'a Arc<Open>,
    pub(super) request: &'a Prewrite,
    /// Zero for an optimistic one.
    pub(super) for_update_ts: Timestamp,
    pub(super) min_commit_ts: Timestamp,
    pub(super) count: usize,
    /// The keys besides the primary, for async commit.
    pub(super) secondaries: Option<Vec<Bytes>>,
    pub(super) one_phase: bool,
}

impl Plan<'_> {
    pub(super) fn request_of(&self, batch: &[Item]) -> PrewriteRequest {
        let is_pessimistic = self.for_update_ts != 0;
        let has_primary = batch.iter().any(|item| *item.key() == self.request.primary);
        let constraints = batch.iter().enumerate().filter_map(|(index, item)| {
            let held = item.held.as_ref().filter(|held| held.is_forced)?;
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

    pub(super) fn left(&self, began: Instant) -> Duration {
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
    pub(super) fn may_wait(&self, lock: &kvrpcpb::LockInfo, began: Instant) -> Result<(), Error> {
        match self.left(began).is_zero() {
            true => Err(self.gives_up_on(lock, began)),
            false => Ok(()),
        }
    }

    /// The error where a lock is not waited for any longer.
    pub(super) fn gives_up_on(&self, lock: &kvrpcpb::LockInfo, began: Instant) -> Error {
        let (key, holders) = (lock.key.clone(), vec![lock.lock_version]);
        if self
            .request
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Error::DeadlineExceeded;
        }
        match self.request.wait {
            Wait::For(Duration::ZERO) | Wait::NoWait => Error::LockNotAvailable { key, holders },
            Wait::For(_) | Wait::Forever => Error::LockWaitTimeout {
                key,
                holders,
                waited: began.elapsed(),
            },
        }
    }

    pub(super) fn failure(&self, error: KeyError) -> Error {
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
        if lost_in(&error).is_some() {
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

/// The trusted keys of a batch that a refusal may be about: where TiKV looks for commits since its request's timestamp, as since 6.1, it
/// does not tell of which.
pub(super) fn trusted(error: &KeyError, batch: &[Item]) -> Vec<LockKey> {
    let conflict = error.conflict.as_ref();
    let conflict = conflict
        .filter(|conflict| conflict.reason != kvrpcpb::Reason::SelfRolledBack as i32)
        .map(|conflict| &conflict.key);
    // Of a lock that was lost there are other reasons. Before 6.5 there is none.
    let is_told = |words: &str| words.contains("reason:") && !words.contains("NonLockKeyConflict");
    let is_unsure = lost_in(error).is_some_and(|words| !is_told(words));
    let is_it = |item: &&Item| {
        let is_about = is_unsure || conflict == Some(item.key());
        item.mutation.guard == Guard::Trusted && is_about
    };
    let keys = batch.iter().filter(is_it);
    keys.map(|item| LockKey::new(item.key().clone(), 0))
        .collect()
}

/// The words of a refusal that a lock is not there.
fn lost_in(error: &KeyError) -> Option<&str> {
    let words = [&error.abort, &error.retryable];
    let lost = words
        .into_iter()
        .find(|words| words.contains("PessimisticLockNotFound"));
    lost.map(String::as_str)
}

impl Item {
    pub(super) fn message(&self) -> kvrpcpb::Mutation {
        let is_shared = self
            .held
            .as_ref()
            .is_some_and(|held| held.mode == LockMode::Shared);
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
pub(super) fn items(open: &Open, request: &Prewrite) -> Result<Vec<Item>, Error> {
    open.known(|known| {
        let item = |mutation: &Mutation| {
            let held = known.held.get(&mutation.key).cloned();
            let is_shared = held
                .as_ref()
                .is_some_and(|held| held.mode == LockMode::Shared);
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
