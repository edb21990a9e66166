//! Rules 34 and 37 to 42, as far as the store keeps them.

use super::bed::{Bed, PATIENCE, put, refused_as};
use super::one_key::{OneKey, patient, request};
use crate::lock::Wait;
use crate::store::{MutationOp, Timestamp};
use crate::{Error, TxnState};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Long enough to be told from none.
const SHORT: Duration = Duration::from_millis(30);

fn timed(key: &Bytes, budget: Duration) -> OneKey {
    request(key).wait(Wait::For(budget))
}

fn asking(key: &Bytes) -> OneKey {
    request(key).with_value()
}

/// Many threads, one key: whoever has it is alone.
pub(super) fn a_lock_has_one_holder(bed: &Bed) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let key = bed.key("k");
    let holders = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let start = bed.begin();
                    bed.sure(bed.locking(start, patient(&key)));
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                    holders.fetch_sub(1, Ordering::SeqCst);
                    bed.rollback(start);
                }
            });
        }
    });
}

pub(super) fn a_lock_that_is_not_waited_for_is_refused_at_once(bed: &Bed) {
    let key = bed.key("k");
    let (holder, other) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    for wait in [Wait::NoWait, Wait::For(Duration::ZERO)] {
        let refused = bed.lock(other, request(&key).wait(wait));
        let Err(Error::LockNotAvailable {
            key: named,
            holders,
        }) = refused
        else {
            panic!("it is held: {refused:?}");
        };
        assert_eq!(named, key);
        // A remote store may not tell; one that tells tells the truth.
        assert!(holders.is_empty() || holders == [holder], "{holders:?}");
    }
    bed.rollback(holder);
    bed.take(other, &key);
    bed.rollback(other);
}

pub(super) fn a_wait_ends_with_its_budget(bed: &Bed) {
    let key = bed.key("k");
    let (holder, other) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let began = Instant::now();
    let ended = bed.lock(other, timed(&key, SHORT));
    let Err(Error::LockWaitTimeout {
        key: named,
        holders,
        ..
    }) = ended
    else {
        panic!("it is held: {ended:?}");
    };
    assert!(began.elapsed() >= SHORT);
    assert_eq!(named, key);
    assert!(holders.is_empty() || holders == [holder], "{holders:?}");
    bed.rollback(holder);
    bed.is_free(&key);
    bed.rollback(other);
}

pub(super) fn a_wait_ends_with_its_deadline(bed: &Bed) {
    let key = bed.key("k");
    let (holder, other) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let deadline = Instant::now() + SHORT;
    let ended = bed.lock(other, patient(&key).until(deadline));
    assert!(matches!(ended, Err(Error::DeadlineExceeded)), "{ended:?}");
    assert!(Instant::now() >= deadline);
    bed.rollback(holder);
    bed.is_free(&key);
    bed.rollback(other);
}

pub(super) fn a_waiter_gets_the_lock_that_is_given_back(bed: &Bed) {
    let key = bed.key("k");
    let (holder, waiter) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let mut answer = bed.locking(waiter, patient(&key));
    bed.waits(&mut answer);
    bed.unlock(holder, &key, 1);
    bed.sure(answer);
    let refused = bed.lock(holder, request(&key).attempt(2));
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    bed.rollback(waiter);
    bed.rollback(holder);
}

pub(super) fn a_waiter_gets_the_lock_of_a_commit_and_sees_it(bed: &Bed) {
    let key = bed.key("k");
    let (holder, waiter) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let mut answer = bed.locking(waiter, asking(&key).wait(Wait::For(PATIENCE)));
    bed.waits(&mut answer);
    bed.put_down_as(holder, &[put(&key, "v")]);
    let time = bed.commit(holder);
    let locked = bed.sure(answer);
    assert_eq!(locked.value.as_deref(), Some(&b"v"[..]));
    assert_eq!(locked.exists, Some(true));
    assert!(locked.for_update_ts >= time);
    bed.rollback(waiter);
}

pub(super) fn a_waiter_gets_the_lock_of_a_rollback(bed: &Bed) {
    let key = bed.key("k");
    let waiter = bed.begin();
    let holder = bed.put_down(&[put(&key, "v")]);
    let mut answer = bed.locking(waiter, asking(&key).wait(Wait::For(PATIENCE)));
    bed.waits(&mut answer);
    bed.rollback(holder);
    let locked = bed.sure(answer);
    assert_eq!((locked.value, locked.exists), (None, Some(false)));
    bed.rollback(waiter);
}

pub(super) fn a_dropped_request_holds_nothing(bed: &Bed) {
    let key = bed.key("k");
    let (holder, waiter) = (bed.begin(), bed.begin());
    bed.take(holder, &key);
    let mut answer = bed.locking(waiter, patient(&key));
    bed.waits(&mut answer);
    drop(answer);
    bed.rollback(holder);
    bed.is_free(&key);
    // Nor does one that was granted while nobody looked.
    let holder = bed.begin();
    bed.take(holder, &key);
    let mut answer = bed.locking(waiter, patient(&key).attempt(2));
    bed.waits(&mut answer);
    bed.rollback(holder);
    drop(answer);
    bed.is_free(&key);
    bed.rollback(waiter);
}

pub(super) fn a_repeated_lock_request_answers_the_same(bed: &Bed) {
    let key = bed.key("k");
    bed.apply(&[put(&key, "v")]);
    let start = bed.begin();
    let first = bed.sure(bed.locking(start, asking(&key)));
    let again = bed.sure(bed.locking(start, asking(&key)));
    assert_eq!((&first.value, first.exists), (&again.value, again.exists));
    assert_eq!(first.value.as_deref(), Some(&b"v"[..]));
    // It was one lock: it is given back once.
    bed.unlock(start, &key, 1);
    bed.is_free(&key);
    bed.rollback(start);
}

pub(super) fn a_lock_is_given_back_by_its_attempt_and_no_other(bed: &Bed) {
    let key = bed.key("k");
    let (start, other) = (bed.begin(), bed.begin());
    bed.sure(bed.locking(start, request(&key).attempt(1)));
    bed.unlock(start, &key, 1);
    bed.sure(bed.locking(start, patient(&key).attempt(2)));
    // Comes late: the attempt is not the one that holds now.
    bed.unlock(start, &key, 1);
    let refused = bed.lock(other, timed(&key, SHORT));
    assert!(
        matches!(refused, Err(Error::LockWaitTimeout { .. })),
        "{refused:?}"
    );
    bed.unlock(start, &key, 2);
    bed.is_free(&key);
    bed.rollback(start);
    bed.rollback(other);
}

pub(super) fn a_lock_that_two_attempts_were_granted_goes_with_the_last(bed: &Bed) {
    let key = bed.key("k");
    let (start, other) = (bed.begin(), bed.begin());
    for (first, last) in [(1, 2), (4, 3)] {
        bed.sure(bed.locking(start, request(&key).attempt(first.min(last))));
        bed.sure(bed.locking(start, request(&key).attempt(first.max(last))));
        bed.unlock(start, &key, first);
        let refused = bed.lock(other, timed(&key, SHORT).attempt(first));
        assert!(
            matches!(refused, Err(Error::LockWaitTimeout { .. })),
            "{refused:?}"
        );
        bed.unlock(start, &key, last);
        bed.is_free(&key);
    }
    bed.rollback(start);
    bed.rollback(other);
}

pub(super) fn a_lock_tells_the_newest_value_not_the_snapshot(bed: &Bed) {
    let (key, absent) = (bed.key("k"), bed.key("absent"));
    bed.apply(&[put(&key, "old")]);
    let start = bed.begin();
    let time = bed.apply(&[put(&key, "new")]);
    let locked = bed.sure(bed.locking(start, asking(&key)));
    assert_eq!(locked.value.as_deref(), Some(&b"new"[..]));
    assert_eq!(locked.exists, Some(true));
    assert!(locked.for_update_ts >= time);
    let locked = bed.sure(bed.locking(start, asking(&absent)));
    assert_eq!((locked.value, locked.exists), (None, Some(false)));
    // The snapshot is still the snapshot.
    assert_eq!(bed.get(&key, start).as_deref(), Some(&b"old"[..]));
    bed.rollback(start);
}

pub(super) fn a_lock_as_of_a_timestamp_refuses_later_commits(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    let writer = bed.put_down(&[put(&key, "v")]);
    let time = bed.commit(writer);
    let refused = bed.lock(start, request(&key).seen_at(start));
    let Err(Error::WriteConflict {
        key: named,
        start_ts,
        conflict_start_ts,
        conflict_commit_ts,
        ..
    }) = refused
    else {
        panic!("it was committed after {start}: {refused:?}");
    };
    assert_eq!((named, start_ts), (key.clone(), start));
    assert_eq!((conflict_start_ts, conflict_commit_ts), (writer, time));
    let later = bed.now();
    let locked = bed.sure(bed.locking(start, request(&key).seen_at(later).attempt(2)));
    assert_eq!(locked.for_update_ts, later);
    bed.rollback(start);
}

pub(super) fn a_lock_as_of_a_timestamp_out_of_range_is_refused(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    for given in [0, start - 1, bed.now() + (1 << 40)] {
        let refused = bed.lock(start, request(&key).seen_at(given));
        assert!(
            matches!(refused, Err(Error::InvalidTimestamp { given: named, .. }) if named == given),
            "{refused:?}"
        );
    }
    bed.is_free(&key);
    bed.rollback(start);
}

pub(super) fn a_lock_of_a_key_presumed_absent_checks_that(bed: &Bed) {
    let (there, gone) = (bed.key("there"), bed.key("gone"));
    bed.apply(&[put(&there, "v"), put(&gone, "v")]);
    bed.apply(&[super::bed::checked(&gone, MutationOp::Delete)]);
    let start = bed.begin();
    let absent = |key: &Bytes| request(key).absent();
    let refused = bed.lock(start, absent(&there));
    assert!(
        matches!(&refused, Err(Error::KeyExists { key }) if *key == there),
        "{refused:?}"
    );
    for key in [gone, bed.key("never")] {
        let locked = bed.sure(bed.locking(start, absent(&key)));
        assert_eq!(locked.exists, Some(false));
    }
    bed.rollback(start);
}

pub(super) fn a_failed_lock_holds_nothing(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.begin();
    bed.apply(&[put(&key, "v")]);
    for failing in [request(&key).absent(), request(&key).seen_at(start)] {
        let failed = bed.lock(start, failing);
        assert!(failed.is_err(), "{failed:?}");
        bed.is_free(&key);
    }
    bed.rollback(start);
}

/// Everybody holds one key and asks for the next one's, in a ring: one fails and names the ring, the others go on.
fn circle(bed: &Bed, size: usize) {
    let keys: Vec<Bytes> = (0..size).map(|n| bed.key(n.to_string())).collect();
    let starts: Vec<Timestamp> = (0..size).map(|_| bed.begin()).collect();
    for (start, key) in starts.iter().zip(&keys) {
        bed.take(*start, key);
    }
    let victims: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..size)
            .map(|n| {
                let (start, next) = (starts[n], &keys[(n + 1) % size]);
                scope.spawn(move || {
                    let answer = bed.lock(start, patient(next));
                    // Whatever it was, its end lets the others go on.
                    bed.rollback(start);
                    (start, answer)
                })
            })
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("the call's own assertions hold"))
            .filter_map(|(start, answer)| answer.err().map(|error| (start, error)))
            .collect()
    });
    let [(victim, Error::Deadlock { cycle, .. })] = &victims[..] else {
        panic!("exactly one fails, by deadlock: {victims:?}");
    };
    assert_eq!(cycle.len(), size);
    assert!(cycle.iter().any(|edge| edge.waiter == *victim));
    for edge in cycle {
        let at = |start: Timestamp| starts.iter().position(|own| *own == start);
        let (Some(waiter), Some(holder)) = (at(edge.waiter), at(edge.holder)) else {
            panic!("not one of those who wait: {edge:?}");
        };
        assert_eq!(holder, (waiter + 1) % size);
        assert_eq!(edge.key, keys[holder]);
    }
    for key in &keys {
        bed.is_free(key);
    }
}

pub(super) fn a_circle_of_two_has_one_victim(bed: &Bed) {
    circle(bed, 2);
}

pub(super) fn a_circle_of_three_has_one_victim(bed: &Bed) {
    circle(bed, 3);
}

/// A chain of waits, and two who wait for the same.
pub(super) fn waits_without_a_circle_are_no_deadlock(bed: &Bed) {
    let keys: Vec<Bytes> = (0..3).map(|n| bed.key(n.to_string())).collect();
    let starts: Vec<Timestamp> = (0..4).map(|_| bed.begin()).collect();
    for (start, key) in starts.iter().zip(&keys) {
        bed.take(*start, key);
    }
    std::thread::scope(|scope| {
        for (n, next) in [(1, 0), (2, 1), (3, 1)] {
            let (start, key) = (starts[n], &keys[next]);
            scope.spawn(move || {
                bed.sure(bed.locking(start, patient(key)));
                bed.rollback(start);
            });
        }
        // They wait, in whatever order they came; the head of the chain is not asked for anything.
        let probe = bed.begin();
        let refused = bed.lock(probe, timed(&keys[0], SHORT));
        assert!(
            matches!(refused, Err(Error::LockWaitTimeout { .. })),
            "{refused:?}"
        );
        bed.rollback(probe);
        bed.rollback(starts[0]);
    });
}

pub(super) fn a_transaction_that_stops_locking_waits_no_longer_and_keeps_what_it_holds(bed: &Bed) {
    let (held, wanted, free) = (bed.key("held"), bed.key("wanted"), bed.key("free"));
    let (start, other) = (bed.begin(), bed.begin());
    bed.take(start, &held);
    bed.take(other, &wanted);
    let mut answer = bed.locking(start, patient(&wanted));
    bed.waits(&mut answer);
    bed.store.stop_locking(start);
    let ended = bed.ask(answer);
    assert!(
        matches!(
            ended,
            Err(Error::TransactionClosed { .. } | Error::Cancelled)
        ),
        "{ended:?}"
    );
    let refused = bed.lock(start, request(&free));
    assert!(
        matches!(refused, Err(Error::TransactionClosed { .. })),
        "{refused:?}"
    );
    let refused = bed.lock(other, request(&held));
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    // It can still commit, and that needs locks.
    bed.put_down_as(start, &[put(&free, "v"), put(&held, "v")]);
    bed.commit(start);
    assert!(bed.newest(&free).is_some());
    bed.rollback(other);
    refused_as(bed.lock(start, request(&free)), TxnState::Committed);
}
