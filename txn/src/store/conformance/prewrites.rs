//! The first phase: conflicts, presumptions, lost locks and assertions are found, locks of others waited for (rules 25, 26, 47).

use super::bed::{Bed, PATIENCE, checked, insert, locked, put};
use super::one_key::request;
use crate::Error;
use crate::flags::Assertion;
use crate::lock::Wait;
use crate::store::{AssertionLevel, Guard, Mutation, MutationOp, Prewrite, Prewritten, Timestamp};
use bytes::Bytes;
use std::time::{Duration, Instant};

#[track_caller]
pub(super) fn conflicts<T: std::fmt::Debug>(
    failed: Result<T, Error>,
    key: &Bytes,
    start: Timestamp,
    by: Timestamp,
    at: Timestamp,
) {
    let Err(Error::WriteConflict {
        key: named,
        start_ts,
        conflict_start_ts,
        conflict_commit_ts,
        ..
    }) = &failed
    else {
        panic!("it was committed after {start}: {failed:?}");
    };
    assert_eq!((named, *start_ts), (key, start));
    assert_eq!((*conflict_start_ts, *conflict_commit_ts), (by, at));
}

#[track_caller]
fn exists<T: std::fmt::Debug>(failed: Result<T, Error>, key: &Bytes) {
    assert!(
        matches!(&failed, Err(Error::KeyExists { key: named }) if named == key),
        "it is there: {failed:?}"
    );
}

pub(super) fn a_write_over_a_later_commit_is_a_conflict(bed: &Bed) {
    let key = bed.key("k");
    bed.apply(&[put(&key, "v")]);
    for op in [
        MutationOp::Put(Bytes::from_static(b"late")),
        MutationOp::Delete,
        MutationOp::Lock,
    ] {
        let start = bed.begin();
        let writer = bed.put_down(&[put(&key, "first")]);
        let time = bed.commit(writer);
        let failed = bed.prewrite(start, &[checked(&key, op)]);
        conflicts(failed, &key, start, writer, time);
        bed.rollback(start);
        assert_eq!(bed.newest(&key).as_deref(), Some(&b"first"[..]));
    }
    // A deletion is a commit too.
    let start = bed.begin();
    let deleter = bed.put_down(&[checked(&key, MutationOp::Delete)]);
    let time = bed.commit(deleter);
    let failed = bed.prewrite(start, &[put(&key, "late")]);
    conflicts(failed, &key, start, deleter, time);
    bed.rollback(start);
}

pub(super) fn a_failed_prewrite_leaves_nothing_once_rolled_back(bed: &Bed) {
    let keys = ["a", "b", "c"].map(|name| bed.key(name));
    let start = bed.begin();
    bed.apply(&[put(&keys[1], "first")]);
    let failed = bed.prewrite(start, &keys.each_ref().map(|key| put(key, "late")));
    assert!(failed.is_err());
    bed.rollback(start);
    assert_eq!(bed.names(.., 9, false), ["b"]);
    keys.iter().for_each(|key| bed.is_free(key));
}

pub(super) fn a_write_under_a_lock_is_no_conflict(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    bed.apply(&[put(&key, "first")]);
    bed.take(start, &key);
    let second = MutationOp::Put(Bytes::from_static(b"second"));
    let prewritten = bed.prewrite(start, &[locked(&key, second)]);
    assert!(prewritten.is_ok(), "{prewritten:?}");
    bed.commit(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"second"[..]));
}

pub(super) fn a_conflict_is_reported_before_a_failed_presumption(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    let writer = bed.put_down(&[put(&key, "first")]);
    let time = bed.commit(writer);
    let failed = bed.prewrite(start, &[insert(&key, "late")]);
    conflicts(failed, &key, start, writer, time);
    bed.rollback(start);
}

pub(super) fn an_insert_needs_an_absent_key(bed: &Bed) {
    let key = bed.key("k");
    bed.apply(&[insert(&key, "first")]);
    let start = bed.begin();
    exists(bed.prewrite(start, &[insert(&key, "second")]), &key);
    bed.rollback(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"first"[..]));
    bed.apply(&[checked(&key, MutationOp::Delete)]);
    bed.apply(&[insert(&key, "third")]);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"third"[..]));
}

pub(super) fn a_check_of_absence_writes_nothing(bed: &Bed) {
    let (there, absent, other) = (bed.key("there"), bed.key("absent"), bed.key("other"));
    bed.apply(&[put(&there, "v")]);
    let start = bed.begin();
    exists(
        bed.prewrite(start, &[checked(&there, MutationOp::CheckNotExists)]),
        &there,
    );
    bed.rollback(start);
    // Whoever began before is not in conflict with it afterwards.
    let earlier = bed.begin();
    bed.apply(&[
        checked(&absent, MutationOp::CheckNotExists),
        put(&other, "v"),
    ]);
    assert_eq!(bed.names(.., 9, false), ["other", "there"]);
    let prewritten = bed.prewrite(earlier, &[insert(&absent, "v")]);
    assert!(prewritten.is_ok(), "{prewritten:?}");
    bed.rollback(earlier);
}

pub(super) fn a_prewrite_waits_for_a_lock_within_its_budget(bed: &Bed) {
    let key = bed.key("k");
    let (holder, start) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let failed = bed.prewrite(start, &[put(&key, "v")]);
    assert!(
        matches!(failed, Err(Error::LockNotAvailable { .. })),
        "{failed:?}"
    );
    bed.rollback(start);

    let budget = Duration::from_millis(30);
    let request = Prewrite {
        wait: Wait::For(budget),
        ..Prewrite::new(vec![put(&key, "v")])
    };
    // One that is over before the lock is asked for is a budget too.
    for budget in [budget, Duration::from_nanos(1)] {
        let began = Instant::now();
        let start = bed.begin();
        let request = Prewrite {
            wait: Wait::For(budget),
            ..request.clone()
        };
        let failed = bed.ask(bed.store.prewrite(start, &request));
        assert!(
            matches!(failed, Err(Error::LockWaitTimeout { .. })),
            "{failed:?}"
        );
        assert!(began.elapsed() >= budget);
        bed.rollback(start);
    }

    let start = bed.begin();
    let request = Prewrite {
        wait: Wait::For(PATIENCE),
        deadline: Some(Instant::now() + budget),
        ..request
    };
    let failed = bed.ask(bed.store.prewrite(start, &request));
    assert!(matches!(failed, Err(Error::DeadlineExceeded)), "{failed:?}");
    bed.rollback(start);
    bed.rollback(holder);
    assert_eq!(bed.newest(&key), None);
}

pub(super) fn a_prewrite_goes_on_when_the_lock_is_given_back(bed: &Bed) {
    let key = bed.key("k");
    let (holder, start) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let request = Prewrite {
        wait: Wait::For(PATIENCE),
        ..Prewrite::new(vec![put(&key, "v")])
    };
    let mut answer = bed.store.prewrite(start, &request);
    bed.waits(&mut answer);
    bed.rollback(holder);
    bed.sure(answer);
    bed.commit(start);
    assert!(bed.newest(&key).is_some());
}

/// A transaction that says that it locked a key and did not, or lost the lock.
pub(super) fn a_lost_lock_is_found_by_prewrite(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    let mutations = [locked(&key, MutationOp::Put(Bytes::from_static(b"v")))];
    for attempt in [1, 2] {
        let failed = bed.prewrite(start, &mutations);
        assert!(
            matches!(failed, Err(Error::LockLost { start_ts, .. }) if start_ts == start),
            "{failed:?}"
        );
        // Held for a while, and given back.
        bed.sure(bed.locking(start, request(&key).attempt(attempt)));
        bed.unlock(start, &key, attempt);
    }
    bed.rollback(start);
    assert_eq!(bed.newest(&key), None);
}

pub(super) fn a_trusted_write_is_no_conflict(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    bed.apply(&[put(&key, "first")]);
    let trusted = Mutation {
        guard: Guard::Trusted,
        ..put(&key, "second")
    };
    bed.put_down_as(start, &[trusted]);
    bed.commit(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"second"[..]));
}

/// Looked at when that is asked, and reported after a conflict, wherever that is.
pub(super) fn an_assertion_is_checked_after_conflicts(bed: &Bed) {
    let (there, absent, changed) = (bed.key("a"), bed.key("b"), bed.key("c"));
    bed.apply(&[put(&there, "v")]);
    let start = bed.begin();
    let asserting = |key: &Bytes, assertion| Mutation {
        assertion,
        ..put(key, "w")
    };
    let strict = |mutations: Vec<Mutation>| {
        let request = Prewrite {
            assertions: AssertionLevel::Strict,
            ..Prewrite::new(mutations)
        };
        bed.ask(bed.store.prewrite(start, &request))
    };
    for (key, wrong) in [(&there, Assertion::NotExist), (&absent, Assertion::Exist)] {
        let failed = strict(vec![asserting(key, wrong)]);
        assert!(
            matches!(&failed, Err(Error::AssertionFailed { key: named, .. }) if named == key),
            "{failed:?}"
        );
    }
    let writer = bed.put_down(&[put(&changed, "v")]);
    let time = bed.commit(writer);
    let wrong = asserting(&there, Assertion::NotExist);
    let failed = strict(vec![wrong.clone(), put(&changed, "w")]);
    conflicts(failed, &changed, start, writer, time);
    let right = asserting(&there, Assertion::Exist);
    let also = asserting(&absent, Assertion::NotExist);
    assert_eq!(strict(vec![right, also]).ok(), Some(Prewritten::Undecided));
    bed.rollback(start);
    // Nobody looks where that was not asked.
    bed.put_down_as(bed.begin(), &[wrong]);
}
