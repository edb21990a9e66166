//! What a lock request asks for, and what its answer tells.

use super::patience::Patience;
use super::proto::kvrpcpb::{
    Assertion, Deadlock, Mutation, Op, PessimisticLockKeyResultType, PessimisticLockRequest,
    PessimisticLockResponse, PessimisticLockWakeUpMode,
};
use super::registry::Open;
use crate::error::Error;
use crate::lock::{LockMode, WaitEdge};
use crate::store::{LockKey, LockTerms, Locked, Timestamp};
use bytes::Bytes;
use std::collections::HashMap;

/// The request for keys of one region, with everything that its terms say.
pub(super) fn lock_request(
    open: &Open,
    keys: &[LockKey],
    terms: &LockTerms,
    at: Timestamp,
    wait_timeout: i64,
) -> PessimisticLockRequest {
    let (mutations, is_first_lock) = open.known(|known| {
        let mutation = |key: &LockKey| {
            let held = known.held.get(&key.key).map(|held| held.mode);
            let op = match terms.mode {
                // An exclusive lock serves a shared request.
                LockMode::Shared if held != Some(LockMode::Exclusive) => Op::SharedPessimisticLock,
                _ => Op::PessimisticLock,
            };
            Mutation {
                op: op as i32,
                key: key.key.clone(),
                value: Bytes::new(),
                assertion: if key.absent {
                    Assertion::NotExist as i32
                } else {
                    Assertion::None as i32
                },
            }
        };
        (
            keys.iter().map(mutation).collect(),
            known.surely_holds_nothing(),
        )
    });
    let wake_up_mode = if terms.force {
        PessimisticLockWakeUpMode::WakeUpModeForceLock
    } else {
        PessimisticLockWakeUpMode::WakeUpModeNormal
    };
    PessimisticLockRequest {
        context: None,
        mutations,
        primary_lock: terms.primary.clone(),
        start_version: open.start,
        lock_ttl: open.ttl_ms(terms.ttl),
        for_update_ts: at,
        // Then TiKV looks for no deadlock.
        is_first_lock: is_first_lock && keys.iter().any(|key| key.key == terms.primary),
        wait_timeout,
        return_values: terms.value || terms.only_if_exists,
        min_commit_ts: at + 1,
        check_existence: terms.existence || keys.iter().any(|key| key.absent),
        lock_only_if_exists: terms.only_if_exists,
        wake_up_mode: wake_up_mode as i32,
    }
}

/// What a region that locked its keys tells of each.
pub(super) fn granted(
    keys: &[LockKey],
    answer: PessimisticLockResponse,
    terms: &LockTerms,
    at: Timestamp,
    patience: &Patience,
    answers: &mut HashMap<Bytes, Result<Locked, Error>>,
) -> Result<(), Error> {
    let tells = terms.value || terms.existence || terms.only_if_exists;
    for (place, key) in keys.iter().enumerate() {
        let (exists, value, conflict_ts) = if terms.force {
            let result = answer.results.get(place).ok_or_else(|| short(&answer))?;
            let is_conflict =
                result.r#type == PessimisticLockKeyResultType::LockResultLockedWithConflict as i32;
            (
                Some(result.existence),
                Some(&result.value),
                is_conflict.then_some(result.locked_with_conflict_ts),
            )
        } else {
            let is_asked = tells || keys.iter().any(|key| key.absent);
            let exists = match (answer.not_founds.get(place), answer.values.get(place)) {
                (Some(not_found), _) => Some(!not_found),
                // Before TiKV told it, no value was an empty one.
                (None, Some(value)) => Some(!value.is_empty()),
                (None, None) if is_asked => return Err(short(&answer)),
                (None, None) => None,
            };
            (exists, answer.values.get(place), None)
        };
        let is_there = exists == Some(true);
        let locked = Locked {
            locked: is_there || !terms.only_if_exists,
            for_update_ts: at.max(conflict_ts.unwrap_or(0)),
            conflict_ts,
            exists: exists.filter(|_| tells || key.absent),
            value: value
                .filter(|_| is_there && (terms.value || terms.only_if_exists))
                .cloned(),
            waited: patience.began.elapsed(),
        };
        answers.insert(key.key.clone(), Ok(locked));
    }
    Ok(())
}

fn short(answer: &PessimisticLockResponse) -> Error {
    let what = format!("a lock request for more keys than its answer tells of: {answer:?}");
    super::TikvError::Protocol { what }.into()
}

/// The circle as it is told, this transaction's edge first.
pub(super) fn circle(start: Timestamp, deadlock: &Deadlock) -> Vec<WaitEdge> {
    let edges = deadlock.wait_chain.iter();
    let mut circle: Vec<WaitEdge> = edges
        .map(|edge| WaitEdge {
            waiter: edge.txn,
            holder: edge.wait_for_txn,
            key: edge.key.clone(),
        })
        .collect();
    match circle.iter().position(|edge| edge.waiter == start) {
        Some(own) => circle.rotate_left(own),
        // An old TiKV leaves it out.
        None => circle.insert(
            0,
            WaitEdge {
                waiter: start,
                holder: deadlock.lock_ts,
                key: deadlock.lock_key.clone(),
            },
        ),
    }
    circle
}

#[cfg(test)]
mod tests {
    use super::super::registry::Registry;
    use super::*;

    const START: Timestamp = 7;
    const AT: Timestamp = 9;

    fn requested(key: LockKey, terms: &LockTerms, wait_timeout: i64) -> PessimisticLockRequest {
        let registry = Registry::default();
        registry.enter(START, AT).unwrap();
        let open = registry.open(START).unwrap();
        lock_request(&open, &[key], terms, AT, wait_timeout)
    }

    fn key() -> LockKey {
        LockKey::new("k".into(), 1)
    }

    #[test]
    fn terms_that_ask_for_nothing_ask_for_nothing() {
        let request = requested(key(), &LockTerms::new("primary".into()), -1);
        assert_eq!((request.start_version, request.for_update_ts), (START, AT));
        assert_eq!(request.min_commit_ts, AT + 1);
        assert_eq!(request.primary_lock, "primary");
        assert_eq!(request.wait_timeout, -1);
        assert!(request.lock_ttl >= 20_000, "{}", request.lock_ttl);
        assert_eq!(request.mutations[0].op(), Op::PessimisticLock);
        assert_eq!(request.mutations[0].assertion(), Assertion::None);
        assert_eq!(
            request.wake_up_mode(),
            PessimisticLockWakeUpMode::WakeUpModeNormal
        );
        let asks = request.return_values || request.check_existence || request.lock_only_if_exists;
        assert!(!asks && !request.is_first_lock);
    }

    #[test]
    fn every_option_is_carried() {
        let terms = LockTerms::new("k".into());
        let of = |terms: LockTerms| requested(key(), &terms, 250);
        let plain = of(terms.clone());
        assert!(plain.is_first_lock, "it is the primary, and the first");
        assert_eq!(plain.wait_timeout, 250);
        assert!(
            of(LockTerms {
                value: true,
                ..terms.clone()
            })
            .return_values
        );
        assert!(
            of(LockTerms {
                existence: true,
                ..terms.clone()
            })
            .check_existence
        );
        let only = of(LockTerms {
            only_if_exists: true,
            ..terms.clone()
        });
        assert!(
            only.lock_only_if_exists && only.return_values,
            "TiKV needs both"
        );
        let shared = of(LockTerms {
            mode: LockMode::Shared,
            ..terms.clone()
        });
        assert_eq!(shared.mutations[0].op(), Op::SharedPessimisticLock);
        let forced = of(LockTerms {
            force: true,
            ..terms.clone()
        });
        assert_eq!(
            forced.wake_up_mode(),
            PessimisticLockWakeUpMode::WakeUpModeForceLock
        );
        let absent = LockKey {
            absent: true,
            ..key()
        };
        let absent = requested(absent, &terms, 0);
        assert_eq!(absent.mutations[0].assertion(), Assertion::NotExist);
        assert!(absent.check_existence);
    }
}
