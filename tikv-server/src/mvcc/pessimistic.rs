//! Locks that are taken before anything is written.

use super::{Engine, Kind, Lock, aborted, locked};
use bytes::Bytes;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{
    AlreadyExist, Assertion, KeyError, Mutation, Op, PessimisticLockKeyResult,
    PessimisticLockKeyResultType, PessimisticLockRequest, PessimisticLockResponse,
    PessimisticLockWakeUpMode, Reason, WriteConflict,
};

/// What became of a lock request.
pub(crate) enum Locking {
    Answered(PessimisticLockResponse),
    /// These transactions hold this key.
    Blocked {
        key: Bytes,
        holders: Vec<Timestamp>,
        error: KeyError,
    },
}

/// One key, seen before it is locked.
struct Seen {
    value: Option<Bytes>,
    conflict_ts: Timestamp,
}

impl Engine {
    /// Locks all keys of a request, or none.
    pub(crate) fn pessimistic_lock(&mut self, request: &PessimisticLockRequest) -> Locking {
        let is_forced =
            request.wake_up_mode == PessimisticLockWakeUpMode::WakeUpModeForceLock as i32;
        let mut seen = Vec::with_capacity(request.mutations.len());
        for mutation in &request.mutations {
            let is_shared = mutation.op == Op::SharedPessimisticLock as i32;
            let key = self.key(&mutation.key);
            let holders: Vec<Timestamp> = key
                .in_the_way(request.start_version, is_shared)
                .map(|lock| lock.start)
                .collect();
            let in_the_way = key.in_the_way(request.start_version, is_shared);
            if let Some(error) = locked(&mutation.key, in_the_way) {
                return Locking::Blocked {
                    key: mutation.key.clone(),
                    holders,
                    error,
                };
            }
            match self.look(request, mutation, is_forced) {
                Ok(one) => seen.push(one),
                Err(error) => {
                    return Locking::Answered(PessimisticLockResponse {
                        errors: vec![error],
                        ..PessimisticLockResponse::default()
                    });
                }
            }
        }
        let mut answer = PessimisticLockResponse::default();
        for (mutation, seen) in request.mutations.iter().zip(seen) {
            let exists = seen.value.is_some();
            if exists || !request.lock_only_if_exists {
                self.put_lock(request, mutation, seen.conflict_ts);
            }
            if is_forced {
                answer.results.push(result(request, seen));
                continue;
            }
            if request.return_values {
                answer.values.push(seen.value.unwrap_or_default());
            }
            if request.return_values || request.check_existence {
                answer.not_founds.push(!exists);
            }
        }
        Locking::Answered(answer)
    }

    fn look(
        &mut self,
        request: &PessimisticLockRequest,
        mutation: &Mutation,
        is_forced: bool,
    ) -> Result<Seen, KeyError> {
        let start = request.start_version;
        let key = self.key(&mutation.key);
        // A forced request is granted over any commit, even over that of its own transaction.
        let is_committed = !is_forced && key.commit_of(start).is_some();
        if key.rollbacks.contains(&start) || is_committed {
            return Err(aborted(format!(
                "PessimisticLockRolledBack {{ start_ts: {start} }}"
            )));
        }
        let newer = key.newest().filter(|(at, _)| *at > request.for_update_ts);
        if let (Some((at, write)), false) = (newer, is_forced) {
            return Err(conflict(request, &mutation.key, write.start, at));
        }
        let conflict_ts = newer.map_or(0, |(at, _)| at);
        let value = key.value_at(Timestamp::MAX).cloned();
        // What a transaction holds already is not checked again, and what is locked over a conflict is not yet.
        let is_to_check = conflict_ts == 0 && key.lock_of(start).is_none();
        if is_to_check && value.is_some() && mutation.assertion == Assertion::NotExist as i32 {
            return Err(KeyError {
                already_exist: Some(AlreadyExist {
                    key: mutation.key.clone(),
                }),
                ..KeyError::default()
            });
        }
        Ok(Seen { value, conflict_ts })
    }

    fn put_lock(
        &mut self,
        request: &PessimisticLockRequest,
        mutation: &Mutation,
        conflict_ts: Timestamp,
    ) {
        let for_update_ts = request.for_update_ts.max(conflict_ts);
        let start = request.start_version;
        let key = self.key(&mutation.key);
        if let Some(own) = key.lock_of_mut(start) {
            if own.kind == Kind::Pessimistic {
                own.for_update_ts = own.for_update_ts.max(for_update_ts);
                own.ttl_ms = own.ttl_ms.max(request.lock_ttl);
            }
            return;
        }
        let lock = Lock::pessimistic(
            request.primary_lock.clone(),
            start,
            request.lock_ttl,
            for_update_ts,
        );
        key.set_lock(Lock {
            is_shared: mutation.op == Op::SharedPessimisticLock as i32,
            min_commit_ts: request.min_commit_ts,
            ..lock
        });
    }

    pub(crate) fn pessimistic_rollback(
        &mut self,
        keys: &[Bytes],
        start: Timestamp,
        for_update_ts: Timestamp,
    ) {
        for name in keys {
            let key = self.key(name);
            let goes =
                |lock: &Lock| lock.kind == Kind::Pessimistic && lock.for_update_ts <= for_update_ts;
            if key.lock_of(start).is_some_and(goes) {
                key.remove_lock(start);
            }
        }
    }
}

/// What a forced lock tells.
fn result(request: &PessimisticLockRequest, seen: Seen) -> PessimisticLockKeyResult {
    let kind = if seen.conflict_ts == 0 {
        PessimisticLockKeyResultType::LockResultNormal
    } else {
        PessimisticLockKeyResultType::LockResultLockedWithConflict
    };
    let tells = request.return_values || seen.conflict_ts != 0;
    PessimisticLockKeyResult {
        r#type: kind as i32,
        existence: seen.value.is_some(),
        value: seen.value.filter(|_| tells).unwrap_or_default(),
        locked_with_conflict_ts: seen.conflict_ts,
    }
}

/// The answer that lets the client ask again as of a newer timestamp: also for one that has waited.
pub(crate) fn conflict(
    request: &PessimisticLockRequest,
    key: &Bytes,
    by: Timestamp,
    at: Timestamp,
) -> KeyError {
    KeyError {
        conflict: Some(WriteConflict {
            start_ts: request.start_version,
            conflict_ts: by,
            key: key.clone(),
            primary: request.primary_lock.clone(),
            conflict_commit_ts: at,
            reason: Reason::PessimisticRetry as i32,
        }),
        ..KeyError::default()
    }
}
