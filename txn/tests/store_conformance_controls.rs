//! The conformance suite can fail: stores that break one promise each, and the case that has to find it.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;
use untorn_txn::lock::Wait;
use untorn_txn::store::{
    Answer, LockKey, Locked, Mutation, MutationOp, Pairs, ScanRequest, conformance,
};
use untorn_txn::{Error, ForUpdate, MemStore, Store, Timestamp, TxnState};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Breach {
    ReadsIgnoreTheTimestamp,
    ScansEndEarly,
    ScansIgnoreTheDirection,
    TouchesAreLost,
    InsertsArePuts,
    ConflictsAreNotChecked,
    NobodyWaits,
    LocksIgnoreTheirTimestamp,
    FailuresKeepTheLock,
    UnlocksAreLost,
    CommitsAreForgotten,
    RollbacksAlwaysSucceed,
    TimestampsAreReused,
}

#[derive(Debug)]
struct Breaking {
    inner: MemStore,
    breach: Breach,
    committed: Mutex<HashSet<Timestamp>>,
    drawn: Mutex<Option<Timestamp>>,
}

impl Breaking {
    fn is(&self, breach: Breach) -> bool {
        self.breach == breach
    }
}

impl Store for Breaking {
    fn begin(&self, given: Option<Timestamp>) -> Answer<'_, Timestamp> {
        self.inner.begin(given)
    }
    fn timestamp(&self) -> Answer<'_, Timestamp> {
        let mut drawn = self.drawn.lock().unwrap();
        if self.is(Breach::TimestampsAreReused)
            && let Some(again) = drawn.take()
        {
            return Answer::ready(Ok(again));
        }
        let answer = self.inner.timestamp();
        if let Answer::Ready(Some(Ok(fresh))) = &answer {
            *drawn = Some(*fresh);
        }
        answer
    }
    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        if !self.is(Breach::ReadsIgnoreTheTimestamp) {
            return self.inner.get(key, at);
        }
        Answer::waiting(async move {
            let now = self.inner.timestamp().await?;
            self.inner.get(key, now).await
        })
    }
    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        let mut request = request.clone();
        if self.is(Breach::ScansEndEarly) {
            request.limit /= 2;
        }
        if self.is(Breach::ScansIgnoreTheDirection) {
            request.reverse = false;
        }
        Answer::waiting(async move { self.inner.scan(&request).await })
    }
    fn lock(&self, start: Timestamp, mut request: LockKey) -> Answer<'_, Locked> {
        if self.is(Breach::NobodyWaits) {
            request.wait = Wait::NoWait;
        }
        if self.is(Breach::LocksIgnoreTheirTimestamp) {
            request.for_update = ForUpdate::Fresh;
        }
        if self.is(Breach::FailuresKeepTheLock) {
            return Answer::waiting(async move {
                let kept = LockKey {
                    absent: false,
                    for_update: ForUpdate::Fresh,
                    attempt: request.attempt + 100,
                    ..request.clone()
                };
                drop(self.inner.lock(start, kept).await);
                self.inner.lock(start, request).await
            });
        }
        self.inner.lock(start, request)
    }
    fn unlock(&self, start: Timestamp, key: &[u8], attempt: u64) {
        if !self.is(Breach::UnlocksAreLost) {
            self.inner.unlock(start, key, attempt);
        }
    }
    fn stop_locking(&self, start: Timestamp) {
        self.inner.stop_locking(start);
    }
    fn prewrite<'a>(
        &'a self,
        start: Timestamp,
        mutations: &'a [Mutation],
        wait: Wait,
        deadline: Option<Instant>,
    ) -> Answer<'a, ()> {
        let mut mutations = mutations.to_vec();
        for mutation in &mut mutations {
            mutation.check_conflict &= !self.is(Breach::ConflictsAreNotChecked);
            if let (MutationOp::Insert(value), true) =
                (&mutation.op, self.is(Breach::InsertsArePuts))
            {
                mutation.op = MutationOp::Put(value.clone());
            }
        }
        mutations.retain(|each| each.op != MutationOp::Lock || !self.is(Breach::TouchesAreLost));
        Answer::waiting(async move { self.inner.prewrite(start, &mutations, wait, deadline).await })
    }
    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        let is_first = self.committed.lock().unwrap().insert(start);
        if self.is(Breach::CommitsAreForgotten) && !is_first {
            return Answer::ready(Err(Error::TransactionClosed {
                state: TxnState::RolledBack,
            }));
        }
        self.inner.commit(start)
    }
    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        let answer = self.inner.rollback(start);
        if self.is(Breach::RollbacksAlwaysSucceed) {
            return Answer::ready(Ok(()));
        }
        answer
    }
}

#[track_caller]
fn is_found_by(breach: Breach, case: &str) {
    let case = conformance::CASES
        .iter()
        .find(|each| each.name == case)
        .expect("the case exists");
    let store = Breaking {
        inner: MemStore::new(),
        breach,
        committed: Mutex::default(),
        drawn: Mutex::default(),
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        case.run(std::sync::Arc::new(store));
    }));
    assert!(ran.is_err(), "{breach:?} passed {}", case.name);
}

macro_rules! controls {
    ($($breach:ident => $case:ident;)*) => {$(
        #[test]
        fn $case() {
            is_found_by(Breach::$breach, stringify!($case));
        }
    )*};
}

controls! {
    ReadsIgnoreTheTimestamp => a_snapshot_never_changes;
    ScansEndEarly => a_scan_ends_at_its_limit_and_not_before;
    ScansIgnoreTheDirection => a_scan_gives_its_range_in_order_and_in_reverse;
    TouchesAreLost => a_touch_is_seen_by_conflict_checks_and_not_by_readers;
    InsertsArePuts => an_insert_needs_an_absent_key;
    ConflictsAreNotChecked => a_write_over_a_later_commit_is_a_conflict;
    NobodyWaits => a_wait_ends_with_its_budget;
    LocksIgnoreTheirTimestamp => a_lock_as_of_a_timestamp_refuses_later_commits;
    FailuresKeepTheLock => a_failed_lock_holds_nothing;
    UnlocksAreLost => a_lock_is_given_back_by_its_attempt_and_no_other;
    CommitsAreForgotten => a_repeated_commit_answers_the_same;
    RollbacksAlwaysSucceed => a_rollback_after_a_commit_is_refused;
    TimestampsAreReused => timestamps_rise_whoever_draws_them;
}
