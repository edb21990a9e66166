//! Commits: whole, checked, and seen at one instant (rules 46 to 48).

use super::bed::{Bed, PATIENCE, checked, insert, locked, put};
use super::one_key::request;
use crate::Error;
use crate::flags::Assertion;
use crate::lock::Wait;
use crate::store::{AssertionLevel, Guard, Mutation, MutationOp, Prewrite, Prewritten, Timestamp};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[track_caller]
fn conflicts<T: std::fmt::Debug>(
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

pub(super) fn a_commit_is_seen_whole_or_not_at_all(bed: &Bed) {
    let keys: Vec<Bytes> = (0..50).map(|n| bed.key(format!("{n:02}"))).collect();
    let mutations: Vec<Mutation> = keys.iter().map(|key| put(key, "v")).collect();
    let holder = bed.begin();
    let start = bed.put_down(&mutations);
    let before = bed.now();
    assert!(bed.scan(.., before, 99, false).is_empty());
    let time = bed.commit(start);
    assert!(time > before);
    assert_eq!(bed.scan(.., time - 1, 99, false).len(), 0);
    assert_eq!(bed.scan(.., time, 99, false).len(), 50);
    assert!(keys.iter().all(|key| bed.get(key, time - 1).is_none()));
    assert!(keys.iter().all(|key| bed.get(key, time).is_some()));
    bed.rollback(holder);
}

pub(super) fn a_commit_is_seen_by_whoever_begins_after_it(bed: &Bed) {
    let key = bed.key("k");
    for _ in 0..20 {
        let writer = bed.put_down(&[put(&key, "v")]);
        let time = bed.commit(writer);
        assert!(writer < time);
        let reader = bed.begin();
        assert!(reader > time);
        assert!(bed.get(&key, reader).is_some());
        bed.rollback(reader);
        bed.apply(&[checked(&key, MutationOp::Delete)]);
        assert_eq!(bed.newest(&key), None);
    }
}

pub(super) fn a_commit_stands_above_every_reader_that_missed_it(bed: &Bed) {
    let key = bed.key("k");
    let writer = bed.put_down(&[put(&key, "v")]);
    let readers: Vec<Timestamp> = (0..10)
        .map(|_| {
            let reader = bed.begin();
            assert_eq!(bed.get(&key, reader), None);
            reader
        })
        .collect();
    let time = bed.commit(writer);
    for reader in readers {
        assert!(time > reader);
        assert_eq!(bed.get(&key, reader), None);
        bed.rollback(reader);
    }
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

pub(super) fn a_deletion_is_a_commit_like_any_other(bed: &Bed) {
    let key = bed.key("k");
    let holder = bed.begin();
    let written = bed.apply(&[put(&key, "v")]);
    let deleter = bed.put_down(&[checked(&key, MutationOp::Delete)]);
    assert!(bed.newest(&key).is_some());
    let deleted = bed.commit(deleter);
    assert!(bed.get(&key, written).is_some());
    assert!(bed.get(&key, deleted).is_none());
    // So is one of a key that is not there.
    let start = bed.begin();
    bed.apply(&[checked(&key, MutationOp::Delete)]);
    assert!(matches!(
        bed.prewrite(start, &[put(&key, "late")]),
        Err(Error::WriteConflict { .. })
    ));
    bed.rollback(start);
    bed.rollback(holder);
}

pub(super) fn a_touch_is_seen_by_conflict_checks_and_not_by_readers(bed: &Bed) {
    for (name, value) in [("there", Some("v")), ("absent", None)] {
        let key = bed.key(name);
        if let Some(value) = value {
            bed.apply(&[put(&key, value)]);
        }
        let before = bed.newest(&key);
        let start = bed.begin();
        let toucher = bed.put_down(&[checked(&key, MutationOp::Lock)]);
        let time = bed.commit(toucher);
        assert_eq!(bed.newest(&key), before);
        assert_eq!(bed.get(&key, time), before);
        let failed = bed.prewrite(start, &[put(&key, "late")]);
        conflicts(failed, &key, start, toucher, time);
        bed.rollback(start);
        let refused = bed.lock(bed.begin(), request(&key).with_existence());
        assert_eq!(
            refused.ok().and_then(|told| told.exists),
            Some(value.is_some())
        );
    }
    let names = bed.names(.., 9, false);
    assert_eq!(names, ["there"]);
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

/// Writers move amounts between keys, readers add everything up.
pub(super) fn readers_see_sums_that_never_change(bed: &Bed) {
    const KEYS: u64 = 6;
    let key = |n: u64| bed.key(n.to_string());
    let amount = |amount: u64| MutationOp::Put(Bytes::copy_from_slice(&amount.to_be_bytes()));
    let initial: Vec<Mutation> = (0..KEYS).map(|n| checked(&key(n), amount(100))).collect();
    bed.apply(&initial);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|thread: u64| {
                scope.spawn(move || {
                    for round in 0..60 {
                        let (from, to) =
                            ((thread + round) % KEYS, (2 * thread + 3 * round + 1) % KEYS);
                        if from == to {
                            continue;
                        }
                        let start = bed.begin();
                        let moved = (number(bed, &key(from), start), number(bed, &key(to), start));
                        let mutations = [
                            checked(&key(from), amount(moved.0.wrapping_sub(1))),
                            checked(&key(to), amount(moved.1.wrapping_add(1))),
                        ];
                        match bed.prewrite(start, &mutations) {
                            Ok(_) => drop(bed.commit(start)),
                            Err(_) => bed.rollback(start),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                let reader = bed.begin();
                let scanned = bed.scan(.., reader, 99, false);
                assert_eq!(scanned.len() as u64, KEYS);
                let sum = (0..KEYS).fold(0_u64, |sum, n| {
                    sum.wrapping_add(number(bed, &key(n), reader))
                });
                assert_eq!(sum, 100 * KEYS);
                bed.rollback(reader);
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_done.store(true, Ordering::Release);
        for result in results {
            result.expect("the writer's own assertions hold");
        }
    });
}

/// Four threads, one counter, no locks: whoever conflicts tries again.
pub(super) fn increments_tried_again_lose_nothing(bed: &Bed) {
    let key = bed.key("counter");
    bed.apply(&[checked(
        &key,
        MutationOp::Put(Bytes::copy_from_slice(&0_u64.to_be_bytes())),
    )]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    loop {
                        let start = bed.begin();
                        let next = number(bed, &key, start) + 1;
                        let next = MutationOp::Put(Bytes::copy_from_slice(&next.to_be_bytes()));
                        let request = Prewrite {
                            wait: Wait::For(PATIENCE),
                            ..Prewrite::new(vec![checked(&key, next)])
                        };
                        match bed.ask(bed.store.prewrite(start, &request)) {
                            Ok(_) => {
                                bed.commit(start);
                                break;
                            }
                            Err(Error::WriteConflict { .. }) => bed.rollback(start),
                            Err(error) => panic!("nobody else is in the way: {error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(number(bed, &key, bed.now()), 100);
}

#[track_caller]
fn number(bed: &Bed, key: &Bytes, at: Timestamp) -> u64 {
    match bed.get(key, at).as_deref().map(<[u8; 8]>::try_from) {
        Some(Ok(bytes)) => u64::from_be_bytes(bytes),
        other => panic!("it was written as eight bytes: {other:?}"),
    }
}
