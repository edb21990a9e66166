//! The first phase of a commit. Everything is checked before anything is written.

use super::{Engine, Key, Kind, Lock, Write, aborted, locked};
use bytes::Bytes;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{
    AlreadyExist, Assertion, AssertionFailed, AssertionLevel, KeyError, Mutation, Op,
    PessimisticAction, PrewriteRequest, PrewriteResponse, Reason, WriteConflict,
};

/// What a mutation comes to.
pub(super) enum Checked {
    Write,
    /// It was put down before, by async commit at this timestamp at least; else zero.
    Done(Timestamp),
    /// All of it was committed before.
    Committed(Timestamp),
    /// Only a check.
    Nothing,
}

impl Engine {
    pub(crate) fn prewrite(&mut self, request: &PrewriteRequest) -> PrewriteResponse {
        let mut errors = Vec::new();
        let mut failed_assertion = None;
        let mut checked = Vec::with_capacity(request.mutations.len());
        for (at, mutation) in request.mutations.iter().enumerate() {
            let key = self.key(&mutation.key);
            match check(key, request, at, mutation, &mut failed_assertion) {
                Ok(Checked::Committed(at)) => return self.was_committed(request, at),
                Ok(outcome) => checked.push(outcome),
                Err(error) => {
                    let is_locked = error.locked.is_some();
                    errors.push(error);
                    // The client resolves all locks that it meets; anything else ends it.
                    if !is_locked {
                        errors.drain(..errors.len() - 1);
                        break;
                    }
                }
            }
        }
        if errors.is_empty() {
            errors.extend(failed_assertion);
        }
        if !errors.is_empty() {
            return PrewriteResponse {
                errors,
                ..PrewriteResponse::default()
            };
        }
        let drawn = (self.max_ts + 1)
            .max(request.start_version + 1)
            .max(request.for_update_ts + 1)
            .max(request.min_commit_ts);
        let is_down = |checked: &Checked| matches!(checked, Checked::Done(_));
        if request.try_one_pc && self.decides && !checked.iter().any(is_down) {
            return self.commit_at_once(request, checked, drawn);
        }
        let is_declined = |checked: &Checked| matches!(checked, Checked::Done(0));
        let is_async = request.use_async_commit && self.decides && !checked.iter().any(is_declined);
        let mut min_commit_ts = 0;
        for (mutation, checked) in request.mutations.iter().zip(checked) {
            match checked {
                Checked::Nothing | Checked::Committed(_) => {}
                Checked::Done(at) => min_commit_ts = min_commit_ts.max(at),
                Checked::Write => {
                    let mut lock = lock_of(request, mutation);
                    if is_async {
                        lock.min_commit_ts = drawn;
                        min_commit_ts = min_commit_ts.max(drawn);
                        let is_primary = mutation.key == request.primary_lock;
                        lock.secondaries = Some(if is_primary {
                            request.secondaries.clone()
                        } else {
                            Vec::new()
                        });
                    }
                    self.key(&mutation.key).set_lock(lock);
                }
            }
        }
        PrewriteResponse {
            min_commit_ts: if is_async { min_commit_ts } else { 0 },
            ..PrewriteResponse::default()
        }
    }

    /// The answer to a copy that comes after the commit.
    fn was_committed(&self, request: &PrewriteRequest, at: Timestamp) -> PrewriteResponse {
        PrewriteResponse {
            min_commit_ts: if request.use_async_commit { at } else { 0 },
            one_pc_commit_ts: if request.try_one_pc { at } else { 0 },
            ..PrewriteResponse::default()
        }
    }

    fn commit_at_once(
        &mut self,
        request: &PrewriteRequest,
        checked: Vec<Checked>,
        at: Timestamp,
    ) -> PrewriteResponse {
        for (mutation, checked) in request.mutations.iter().zip(checked) {
            let key = self.key(&mutation.key);
            if let Checked::Write = checked {
                let kind = lock_of(request, mutation).kind;
                key.remove_lock(request.start_version);
                let start = request.start_version;
                key.writes.insert(at, Write { kind, start });
            }
        }
        PrewriteResponse {
            one_pc_commit_ts: at,
            ..PrewriteResponse::default()
        }
    }
}

pub(super) fn check(
    key: &Key,
    request: &PrewriteRequest,
    at: usize,
    mutation: &Mutation,
    failed_assertion: &mut Option<KeyError>,
) -> Result<Checked, KeyError> {
    let start = request.start_version;
    let is_pessimistic = request.for_update_ts != 0;
    let action = request.pessimistic_actions.get(at).copied().unwrap_or(0);
    let must_be_locked = is_pessimistic && action == PessimisticAction::DoPessimisticCheck as i32;
    let is_retry = request
        .context
        .as_ref()
        .is_some_and(|context| context.is_retry_request);
    let is_skipped = is_pessimistic && action == PessimisticAction::SkipPessimisticCheck as i32;
    // Taken without a look at what was committed: even at what this transaction has, so such a request must not come twice
    // without saying so.
    let is_unchecked = is_skipped && !is_retry;
    // Else it is compared with what was committed since its own timestamp, and only where that is newer TiKV looks what the
    // transaction has come to.
    let newest = key.newest().filter(|_| !is_unchecked);
    let is_newer_than = |at: Timestamp| newest.is_some_and(|(newest, _)| newest > at);
    let is_overtaken = is_skipped && is_newer_than(request.for_update_ts);
    let is_shared = mutation.op == Op::SharedLock as i32;
    let lost = |why: &str| {
        aborted(format!(
            "PessimisticLockNotFound {{ start_ts: {start}, reason: {why} }}"
        ))
    };
    if let Some(own) = key.lock_of(start) {
        if own.kind == Kind::Pessimistic && !is_pessimistic {
            return Err(aborted(format!(
                "LockTypeNotMatch {{ start_ts: {start}, pessimistic: true }}"
            )));
        }
        if own.kind != Kind::Pessimistic {
            let is_async = own.secondaries.is_some();
            return Ok(Checked::Done(if is_async { own.min_commit_ts } else { 0 }));
        }
        let expected = request
            .for_update_ts_constraints
            .iter()
            .find(|constraint| constraint.index as usize == at);
        if expected.is_some_and(|expected| expected.expected_for_update_ts != own.for_update_ts) {
            return Err(lost("it was locked as of another timestamp"));
        }
        if must_be_locked {
            return Ok(Checked::Write);
        }
    } else if let Some(committed) = key.commit_of(start).filter(|_| !is_skipped || is_overtaken) {
        return Ok(Checked::Committed(committed));
    } else if must_be_locked {
        if key.in_the_way(start, is_shared).next().is_some() {
            return Err(lost("somebody else holds the key"));
        }
        // Nobody wrote the key since: the lock may have been lost, but nothing came of it.
        let is_untouched =
            key.newest().is_none_or(|(at, _)| at < start) && !key.rollbacks.contains(&start);
        return is_untouched
            .then_some(Checked::Write)
            .ok_or_else(|| lost("the key was written since"));
    }
    if let Some(mut error) = locked(&mutation.key, key.in_the_way(start, is_shared)) {
        if let (true, Some(lock)) = (is_pessimistic, &mut error.locked) {
            // TiKV tells a pessimistic transaction nothing of how long the lock lives.
            lock.lock_ttl = 0;
        }
        return Err(error);
    }
    let is_hidden = is_skipped && is_newer_than(start);
    if key.rollbacks.contains(&start) && !is_hidden {
        return Err(conflict(
            request,
            mutation,
            start,
            start,
            Reason::SelfRolledBack,
        ));
    }
    if is_overtaken {
        return Err(lost("NonLockKeyConflict"));
    }
    if let Some((at, write)) = newest.filter(|(at, _)| *at > start && !is_skipped) {
        return Err(conflict(
            request,
            mutation,
            write.start,
            at,
            Reason::Optimistic,
        ));
    }
    let exists = key.value_at(Timestamp::MAX).is_some();
    let op = Op::try_from(mutation.op).unwrap_or(Op::Put);
    if exists && matches!(op, Op::Insert | Op::CheckNotExists) {
        return Err(KeyError {
            already_exist: Some(AlreadyExist {
                key: mutation.key.clone(),
            }),
            ..KeyError::default()
        });
    }
    let is_refuted = match Assertion::try_from(mutation.assertion) {
        Ok(Assertion::Exist) => !exists,
        Ok(Assertion::NotExist) => exists,
        _ => false,
    };
    if is_refuted
        && request.assertion_level == AssertionLevel::Strict as i32
        && failed_assertion.is_none()
    {
        *failed_assertion = Some(KeyError {
            assertion_failed: Some(AssertionFailed {
                start_ts: start,
                key: mutation.key.clone(),
                assertion: mutation.assertion,
                existing_start_ts: 0,
                existing_commit_ts: 0,
            }),
            ..KeyError::default()
        });
    }
    Ok(if op == Op::CheckNotExists {
        Checked::Nothing
    } else {
        Checked::Write
    })
}

fn conflict(
    request: &PrewriteRequest,
    mutation: &Mutation,
    conflict_ts: Timestamp,
    conflict_commit_ts: Timestamp,
    reason: Reason,
) -> KeyError {
    KeyError {
        conflict: Some(WriteConflict {
            start_ts: request.start_version,
            conflict_ts,
            key: mutation.key.clone(),
            primary: request.primary_lock.clone(),
            conflict_commit_ts,
            reason: reason as i32,
        }),
        ..KeyError::default()
    }
}

pub(super) fn lock_of(request: &PrewriteRequest, mutation: &Mutation) -> Lock {
    let kind = match Op::try_from(mutation.op) {
        Ok(Op::Put | Op::Insert) => Kind::Put(mutation.value.clone()),
        Ok(Op::Del) => Kind::Delete,
        _ => Kind::Lock,
    };
    Lock {
        kind,
        is_shared: mutation.op == Op::SharedLock as i32,
        primary: request.primary_lock.clone(),
        start: request.start_version,
        ttl_ms: request.lock_ttl,
        for_update_ts: request.for_update_ts,
        min_commit_ts: request.min_commit_ts,
        secondaries: None,
        txn_size: request.txn_size,
        generation: 0,
    }
}

impl Lock {
    /// A pessimistic lock.
    pub(super) fn pessimistic(
        primary: Bytes,
        start: Timestamp,
        ttl_ms: u64,
        for_update_ts: Timestamp,
    ) -> Self {
        Self {
            kind: Kind::Pessimistic,
            is_shared: false,
            primary,
            start,
            ttl_ms,
            for_update_ts,
            min_commit_ts: 0,
            secondaries: None,
            txn_size: 0,
            generation: 0,
        }
    }
}
