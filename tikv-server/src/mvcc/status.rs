//! How far a transaction has come, and signs of life.

use super::{Engine, Kind, Lock, aborted};
use bytes::Bytes;
use untorn_txn::store::COUNTER_BITS;
use untorn_txn::store::tikv::proto::kvrpcpb::{
    Action, CheckSecondaryLocksRequest, CheckSecondaryLocksResponse, CheckTxnStatusRequest,
    CheckTxnStatusResponse, KeyError, PrimaryMismatch, TxnHeartBeatRequest, TxnHeartBeatResponse,
    TxnNotFound,
};

impl Engine {
    pub(crate) fn check_txn_status(
        &mut self,
        request: &CheckTxnStatusRequest,
    ) -> CheckTxnStatusResponse {
        let start = request.lock_ts;
        let primary = &request.primary_key;
        let done = |action: Action| CheckTxnStatusResponse {
            action: action as i32,
            ..CheckTxnStatusResponse::default()
        };
        let key = self.key(primary);
        let names_another = |lock: &Lock| request.verify_is_primary && lock.primary != *primary;
        if !request.resolving_pessimistic_lock
            && key
                .lock_of(start)
                .is_some_and(|lock| lock.kind == Kind::Pessimistic && names_another(lock))
        {
            // A lock that was written names its primary rightly, so this one is left over.
            key.remove_lock(start);
        }
        if let Some(lock) = key.lock_of_mut(start) {
            if names_another(lock) {
                return CheckTxnStatusResponse {
                    error: Some(KeyError {
                        primary_mismatch: Some(PrimaryMismatch {
                            lock_info: Some(lock.info(primary)),
                        }),
                        ..KeyError::default()
                    }),
                    ..CheckTxnStatusResponse::default()
                };
            }
            let is_async = lock.secondaries.is_some() && !request.force_sync_commit;
            let is_over =
                (start >> COUNTER_BITS) + lock.ttl_ms < request.current_ts >> COUNTER_BITS;
            if is_over && !is_async {
                if lock.kind == Kind::Pessimistic && request.resolving_pessimistic_lock {
                    key.remove_lock(start);
                    return done(Action::TtlExpirePessimisticRollback);
                }
                key.roll_back(start);
                return done(Action::TtlExpireRollback);
            }
            let reader = request.caller_start_ts;
            let mut action = Action::NoAction;
            if !is_async && lock.min_commit_ts != 0 && reader != 0 {
                if reader >= lock.min_commit_ts {
                    lock.min_commit_ts = (reader + 1).max(request.current_ts);
                }
                action = Action::MinCommitTsPushed;
            }
            return CheckTxnStatusResponse {
                lock_ttl: lock.ttl_ms,
                action: action as i32,
                lock_info: Some(lock.info(primary)),
                ..CheckTxnStatusResponse::default()
            };
        }
        if let Some(commit_version) = key.commit_of(start) {
            return CheckTxnStatusResponse {
                commit_version,
                ..CheckTxnStatusResponse::default()
            };
        }
        if key.rollbacks.contains(&start) {
            return done(Action::NoAction);
        }
        if !request.rollback_if_not_exist {
            return CheckTxnStatusResponse {
                error: Some(not_found(start, primary)),
                ..CheckTxnStatusResponse::default()
            };
        }
        if request.resolving_pessimistic_lock {
            return done(Action::LockNotExistDoNothing);
        }
        key.roll_back(start);
        done(Action::LockNotExistRollback)
    }

    pub(crate) fn check_secondary_locks(
        &mut self,
        request: &CheckSecondaryLocksRequest,
    ) -> CheckSecondaryLocksResponse {
        let start = request.start_version;
        let mut answer = CheckSecondaryLocksResponse::default();
        for name in &request.keys {
            let key = self.key(name);
            match key.lock_of(start) {
                Some(lock) if lock.kind != Kind::Pessimistic => {
                    answer.locks.push(lock.info(name));
                    continue;
                }
                _ => {}
            }
            match key.commit_of(start) {
                Some(at) => answer.commit_ts = at,
                // It cannot be put down any more.
                None => key.roll_back(start),
            }
            answer.locks.clear();
            break;
        }
        answer
    }

    pub(crate) fn heartbeat(&mut self, request: &TxnHeartBeatRequest) -> TxnHeartBeatResponse {
        let (primary, start) = (&request.primary_lock, request.start_version);
        let Some(lock) = self.key(primary).lock_of_mut(start) else {
            return TxnHeartBeatResponse {
                error: Some(not_found(start, primary)),
                ..TxnHeartBeatResponse::default()
            };
        };
        if lock.primary != *primary {
            return TxnHeartBeatResponse {
                error: Some(aborted("the key is not the primary".to_owned())),
                ..TxnHeartBeatResponse::default()
            };
        }
        lock.ttl_ms = lock.ttl_ms.max(request.advise_lock_ttl);
        TxnHeartBeatResponse {
            lock_ttl: lock.ttl_ms,
            ..TxnHeartBeatResponse::default()
        }
    }
}

fn not_found(start_ts: u64, primary: &Bytes) -> KeyError {
    KeyError {
        txn_not_found: Some(TxnNotFound {
            start_ts,
            primary_key: primary.clone(),
        }),
        ..KeyError::default()
    }
}
