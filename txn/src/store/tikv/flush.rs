//! Generations of a pipelined transaction.
//!
//! A generation goes to every region at once (`KvFlush`, since TiKV 8.0): a prewrite that a larger generation of the same
//! transaction overwrites, and that leaves what a larger one wrote. So whatever comes twice or late changes nothing. What is
//! flushed is read back from its locks (`KvBufferBatchGet`), where a deletion is a value without bytes: a value that has
//! none is therefore refused.
//!
//! Which keys were flushed is not remembered, only the first and the last of them. Once the primary is committed or rolled back,
//! every region from the one to the other is told to resolve all that it holds of the transaction.
//!
//! A flush holds the transaction's `decision`: a commit and a rollback wait for it. The one that waits for a lock of
//! others ends when the transaction takes no more locks.

use super::TikvCore;
use super::cluster::{Cluster, Keyed};
use super::ended::End;
use super::plan::{self, Item, Plan};
use super::prewrite::rank;
use super::proto::kvrpcpb::{
    AssertionLevel as Level, BufferBatchGetRequest, FlushRequest, ResolveLockRequest,
};
use super::registry::Open;
use super::resolve::{each, refused};
use super::{TikvError, prewrite};
use crate::Entry;
use crate::error::Error;
use crate::store::{AssertionLevel, Flush, Mutation, MutationOp, Timestamp};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl TikvCore {
    pub(super) async fn flush(
        self: &Arc<Self>,
        open: &Arc<Open>,
        request: &Flush,
    ) -> Result<(), Error> {
        let decision = open.decision.lock().await;
        if let Some(end) = decision.end {
            return Err(end.closed());
        }
        let prewrite = &request.prewrite;
        prewrite.mutations.iter().try_for_each(may_be_flushed)?;
        let items = plan::items(open, prewrite)?;
        open.known(|known| {
            if known.is_closed {
                return Err(End::RolledBack.closed());
            }
            if known.prewritten_from.is_some() {
                return Err(Error::OptionConflict {
                    reason: "the transaction was prewritten, and is not pipelined",
                });
            }
            let leaves = |item: &&Item| item.mutation.op != MutationOp::CheckNotExists;
            for item in items.iter().filter(leaves) {
                known.primary = Some(prewrite.primary.clone());
                known.put_down.insert(prewrite.primary.clone());
                known.reach_to(item.key());
            }
            Ok(())
        })?;
        let plan = Plan {
            open,
            request: prewrite,
            for_update_ts: 0,
            // Readers may push it.
            min_commit_ts: open.start + 1,
            count: items.len(),
            secondaries: None,
            one_phase: false,
        };
        let has_primary = items.iter().any(|item| *item.key() == prewrite.primary);
        let sent = Instant::now();
        self.send_flush(&plan, request.generation, items).await?;
        if has_primary {
            open.known(|known| known.lives_from(sent, prewrite.ttl));
        }
        Ok(())
    }

    /// Sends all mutations until they are put down, within the budget for locks of others.
    async fn send_flush(
        self: &Arc<Self>,
        plan: &Plan<'_>,
        generation: u64,
        mut left: Vec<Item>,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut pause = prewrite::FIRST_PAUSE;
        while !left.is_empty() {
            let make = |batch: &[Item]| request_of(plan, generation, batch);
            let answers = self.cluster.spread(left, make, Duration::ZERO).await?;
            left = Vec::new();
            let mut failures = Vec::new();
            let mut locks = Vec::new();
            for (batch, answer) in answers {
                if answer.errors.is_empty() {
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
            if let Some(failure) = failures.into_iter().min_by_key(rank) {
                return Err(failure);
            }
            left.sort_by(|one, other| one.key().cmp(other.key()));
            let holds = generation > 1 || left.len() < plan.count;
            tokio::select! {
                passed = self.pass(plan, holds, locks, began, &mut pause) => passed?,
                () = plan.open.until(|known| known.is_closed.then_some(())) => {
                    return Err(End::RolledBack.closed());
                }
            }
        }
        Ok(())
    }

    /// What was flushed of keys, in the order given.
    pub(super) async fn flushed(
        self: &Arc<Self>,
        open: &Open,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Entry>>, Error> {
        if open.known(|known| known.flushed.is_none()) {
            return Ok(vec![None; keys.len()]);
        }
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let asked = sorted.len();
        let make = |keys: &[Bytes]| BufferBatchGetRequest {
            context: None,
            keys: keys.to_vec(),
            version: open.start,
        };
        let answers = self.cluster.spread(sorted, make, Duration::ZERO).await?;
        let mut found = HashMap::new();
        for (_, answer) in answers {
            let errors = answer.pairs.iter().filter_map(|pair| pair.error.as_ref());
            if let Some(error) = answer.error.as_ref().into_iter().chain(errors).next() {
                return Err(refused("a read of what was flushed", error.clone()).into());
            }
            found.extend(answer.pairs.into_iter().map(|pair| (pair.key, pair.value)));
        }
        // Of one that has ended meanwhile nothing is left to be read.
        if found.len() < asked {
            self.check_alive(open).await?;
        }
        let entry = |value: &Bytes| match value.is_empty() {
            true => Entry::Tombstone,
            false => Entry::Value(value.clone()),
        };
        Ok(keys.iter().map(|key| found.get(key).map(entry)).collect())
    }

    /// Turns everything that was flushed into data or, at zero, into nothing.
    pub(super) async fn resolve_flushed(
        &self,
        open: &Open,
        decided: Timestamp,
    ) -> Result<(), TikvError> {
        match open.known(|known| known.flushed.clone()) {
            Some(range) => self.cluster.resolve_range(open.start, decided, range).await,
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Has every region from that of one key to that of another resolve what it holds of a transaction.
    async fn resolve_range(
        &self,
        start: Timestamp,
        decided: Timestamp,
        (first, last): (Bytes, Bytes),
    ) -> Result<(), TikvError> {
        let mut at = first;
        let mut retry = self.retry();
        loop {
            let region = self.regions.locate(&at).await?;
            let request = ResolveLockRequest {
                context: None,
                start_version: start,
                commit_version: decided,
                keys: Vec::new(),
            };
            let Some(answer) = self.at_chosen(&region, request, &mut retry).await? else {
                continue;
            };
            if let Some(error) = answer.error {
                return Err(refused("a resolved region", error));
            }
            if region.end.is_empty() || last < region.end {
                return Ok(());
            }
            at = region.end.clone();
            retry = self.retry();
        }
    }
}

fn may_be_flushed(mutation: &Mutation) -> Result<(), Error> {
    let reason = match &mutation.op {
        MutationOp::Lock => "a generation holds no locks without writes",
        MutationOp::Put(value) | MutationOp::Insert(value) if value.is_empty() => {
            "a flushed value without bytes could not be told from a deletion"
        }
        _ => return Ok(()),
    };
    Err(Error::OptionConflict { reason })
}

fn request_of(plan: &Plan<'_>, generation: u64, batch: &[Item]) -> FlushRequest {
    FlushRequest {
        context: None,
        mutations: batch.iter().map(Item::message).collect(),
        primary_key: plan.request.primary.clone(),
        start_ts: plan.open.start,
        min_commit_ts: plan.min_commit_ts,
        generation,
        lock_ttl: plan.open.ttl_ms(plan.request.ttl),
        assertion_level: match plan.request.assertions {
            AssertionLevel::Strict => Level::Strict as i32,
            AssertionLevel::Off | AssertionLevel::Fast => Level::Off as i32,
        },
    }
}
