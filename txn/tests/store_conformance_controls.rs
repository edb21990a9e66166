//! The conformance suite can fail: stores that break one promise each, and the case that has to find it.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use untorn_txn::lock::{LockMode, Wait};
use untorn_txn::store::{
    Answer, Begin, Flush, Guard, LockAnswers, LockKey, LockTerms, MutationOp, Pairs, Prewrite,
    Prewritten, SafePoint, ScanRequest, TxnStatus, conformance,
};
use untorn_txn::{Entry, Error, ForUpdate, MemStore, Store, Timestamp, TxnState};

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
    SharedIsExclusive,
    LostLocksAreTrusted,
    HeartbeatsAreLost,
    OpenMeansRolledBack,
    BatchesKeepWhatTheyDoNotTell,
    BatchesAnswerInReverse,
    LateGenerationsCount,
    OnlyTheFirstGenerationCounts,
    FlushedIsHidden,
    FlushesNeverFail,
    GenerationsAreCommittedApart,
}

#[derive(Debug)]
struct Breaking {
    inner: MemStore,
    breach: Breach,
    committed: Mutex<HashSet<Timestamp>>,
    flushes: AtomicU64,
    drawn: Mutex<Option<Timestamp>>,
}

impl Breaking {
    fn is(&self, breach: Breach) -> bool {
        self.breach == breach
    }
}

impl Store for Breaking {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        self.inner.begin(begin)
    }
    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        self.inner.hold(at)
    }
    fn let_go(&self, at: Timestamp) {
        self.inner.let_go(at);
    }
    fn heartbeat(&self, start: Timestamp, primary: Bytes, ttl: Duration) -> Answer<'_, ()> {
        if self.is(Breach::HeartbeatsAreLost) {
            return Answer::ready(Ok(()));
        }
        self.inner.heartbeat(start, primary, ttl)
    }
    fn status(&self, start: Timestamp, primary: Bytes) -> Answer<'_, TxnStatus> {
        if self.is(Breach::OpenMeansRolledBack) {
            return Answer::waiting(async move {
                Ok(match self.inner.status(start, primary).await? {
                    TxnStatus::Open => TxnStatus::RolledBack,
                    other => other,
                })
            });
        }
        self.inner.status(start, primary)
    }
    fn safe_point(&self) -> Answer<'_, SafePoint> {
        self.inner.safe_point()
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
    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        let mut terms = terms.clone();
        if self.is(Breach::NobodyWaits) {
            terms.wait = Wait::NoWait;
        }
        if self.is(Breach::SharedIsExclusive) {
            terms.mode = LockMode::Exclusive;
        }
        if self.is(Breach::LocksIgnoreTheirTimestamp) {
            terms.for_update = ForUpdate::Fresh;
        }
        Answer::waiting(async move {
            if self.is(Breach::FailuresKeepTheLock) {
                let kept = |key: &LockKey| LockKey::new(key.key.clone(), key.attempt + 100);
                let kept: Vec<LockKey> = keys.iter().map(kept).collect();
                let fresh = LockTerms {
                    for_update: ForUpdate::Fresh,
                    ..terms.clone()
                };
                drop(self.inner.lock(start, &kept, &fresh).await);
            }
            let mut answers = self.inner.lock(start, keys, &terms).await?;
            if self.is(Breach::BatchesKeepWhatTheyDoNotTell) && keys.len() > 1 {
                answers.retain(|answer| answer.is_err());
            }
            if self.is(Breach::BatchesAnswerInReverse) {
                answers.reverse();
            }
            Ok(answers)
        })
    }
    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        if self.is(Breach::UnlocksAreLost) {
            return Answer::ready(Ok(()));
        }
        self.inner.unlock(start, locks)
    }
    fn stop_locking(&self, start: Timestamp) {
        self.inner.stop_locking(start);
    }
    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        let mut request = request.clone();
        for mutation in &mut request.mutations {
            if self.is(Breach::ConflictsAreNotChecked) && mutation.guard == Guard::Checked
                || self.is(Breach::LostLocksAreTrusted) && mutation.guard == Guard::Locked
            {
                mutation.guard = Guard::Trusted;
            }
            if let (MutationOp::Insert(value), true) =
                (&mutation.op, self.is(Breach::InsertsArePuts))
            {
                mutation.op = MutationOp::Put(value.clone());
            }
        }
        let is_kept = |op: &MutationOp| *op != MutationOp::Lock || !self.is(Breach::TouchesAreLost);
        request.mutations.retain(|mutation| is_kept(&mutation.op));
        Answer::waiting(async move { self.inner.prewrite(start, &request).await })
    }
    fn takes_flushes(&self) -> bool {
        true
    }
    fn flush<'a>(&'a self, start: Timestamp, request: &'a Flush) -> Answer<'a, ()> {
        let mut request = request.clone();
        let number = self.flushes.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is(Breach::LateGenerationsCount) {
            request.generation = number;
        }
        if self.is(Breach::OnlyTheFirstGenerationCounts) {
            request.generation = 1;
        }
        Answer::waiting(async move {
            if self.is(Breach::GenerationsAreCommittedApart) && number > 1 {
                let apart = self.inner.begin(Begin::default()).await?;
                self.inner.prewrite(apart, &request.prewrite).await?;
                return self.inner.commit(apart).await.map(drop);
            }
            let flushed = self.inner.flush(start, &request).await;
            match self.is(Breach::FlushesNeverFail) {
                true => Ok(()),
                false => flushed,
            }
        })
    }
    fn flushed<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [Bytes],
    ) -> Answer<'a, Vec<Option<Entry>>> {
        if self.is(Breach::FlushedIsHidden) {
            return Answer::ready(Ok(vec![None; keys.len()]));
        }
        self.inner.flushed(start, keys)
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
        flushes: AtomicU64::new(0),
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
    SharedIsExclusive => a_shared_lock_has_many_holders_and_no_exclusive_one;
    LostLocksAreTrusted => a_lost_lock_is_found_by_prewrite;
    HeartbeatsAreLost => a_heartbeat_is_refused_after_the_end;
    OpenMeansRolledBack => a_status_tells_how_far_a_transaction_has_come;
    BatchesKeepWhatTheyDoNotTell => a_batch_that_fails_has_locked_what_it_tells_and_no_more;
    BatchesAnswerInReverse => a_batch_tells_of_each_key_in_its_place;
    LateGenerationsCount => a_generation_that_comes_late_or_twice_changes_nothing;
    OnlyTheFirstGenerationCounts => the_largest_generation_of_a_key_counts;
    FlushedIsHidden => what_was_flushed_is_read_by_its_transaction_alone;
    FlushesNeverFail => a_generation_that_comes_after_the_end_is_refused;
    GenerationsAreCommittedApart => all_generations_are_committed_at_one_instant;
}
