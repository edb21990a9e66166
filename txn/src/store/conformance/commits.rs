//! Commits: whole, seen at one instant, nothing lost (rules 46 to 48).

use super::bed::{Bed, PATIENCE, checked, put};
use super::one_key::request;
use super::prewrites::conflicts;
use crate::Error;
use crate::lock::Wait;
use crate::store::{Mutation, MutationOp, Prewrite, Timestamp};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};

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
