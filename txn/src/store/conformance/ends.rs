//! Rule 49: every request may come twice or late.

use super::bed::{Bed, checked, put, refused_as};
use super::one_key::{patient, request};
use crate::TxnState::{Committed, RolledBack};
use crate::store::MutationOp;

pub(super) fn a_repeated_prewrite_answers_the_same(bed: &Bed) {
    let key = bed.key("k");
    let mutations = [put(&key, "v")];
    let start = bed.put_down(&mutations);
    for _ in 0..2 {
        assert!(bed.prewrite(start, &mutations).is_ok());
    }
    assert_eq!(bed.newest(&key), None);
    bed.commit(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"v"[..]));
    // One that failed, too.
    let start = bed.begin();
    bed.apply(&[put(&key, "w")]);
    let failures = [(); 2].map(|()| {
        bed.prewrite(start, &mutations)
            .err()
            .map(|error| error.to_string())
    });
    assert!(failures[0].is_some());
    assert_eq!(failures[0], failures[1]);
    bed.rollback(start);
}

pub(super) fn a_repeated_commit_answers_the_same(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.put_down(&[put(&key, "v")]);
    let time = bed.commit(start);
    assert_eq!(bed.commit(start), time);
    // Others come in between: it is still that commit, and does not happen again.
    bed.apply(&[put(&key, "w")]);
    assert_eq!(bed.commit(start), time);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"w"[..]));
}

pub(super) fn a_repeated_rollback_answers_the_same(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.put_down(&[put(&key, "v")]);
    bed.rollback(start);
    bed.apply(&[put(&key, "w")]);
    bed.rollback(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"w"[..]));
}

pub(super) fn a_commit_after_a_rollback_is_refused(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.put_down(&[put(&key, "v")]);
    bed.rollback(start);
    for _ in 0..2 {
        refused_as(bed.ask(bed.store.commit(start)), RolledBack);
    }
    assert_eq!(bed.newest(&key), None);
}

pub(super) fn a_rollback_after_a_commit_is_refused(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.put_down(&[put(&key, "v")]);
    bed.commit(start);
    for _ in 0..2 {
        refused_as(bed.ask(bed.store.rollback(start)), Committed);
    }
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"v"[..]));
}

pub(super) fn a_late_lock_or_prewrite_is_refused_after_a_commit(bed: &Bed) {
    let (key, other) = (bed.key("k"), bed.key("other"));
    let start = bed.put_down(&[put(&key, "v")]);
    bed.commit(start);
    refused_as(bed.lock(start, request(&other)), Committed);
    refused_as(bed.lock(start, request(&key)), Committed);
    refused_as(bed.prewrite(start, &[put(&key, "v")]), Committed);
    refused_as(bed.prewrite(start, &[put(&other, "v")]), Committed);
    assert_eq!(bed.newest(&other), None);
    bed.is_free(&key);
    bed.is_free(&other);
}

pub(super) fn a_late_lock_or_prewrite_is_refused_after_a_rollback(bed: &Bed) {
    let key = bed.key("k");
    let start = bed.put_down(&[put(&key, "v")]);
    bed.rollback(start);
    refused_as(bed.lock(start, request(&key)), RolledBack);
    refused_as(bed.prewrite(start, &[put(&key, "v")]), RolledBack);
    refused_as(bed.ask(bed.store.commit(start)), RolledBack);
    assert_eq!(bed.newest(&key), None);
    bed.is_free(&key);
}

pub(super) fn a_late_unlock_takes_nothing_from_others(bed: &Bed) {
    let key = bed.key("k");
    let (gone, holder) = (bed.begin(), bed.begin());
    bed.take(gone, &key);
    bed.rollback(gone);
    bed.sure(bed.locking(holder, patient(&key)));
    bed.unlock(gone, &key, 1);
    bed.store.stop_locking(gone);
    let other = bed.begin();
    let refused = bed.lock(other, request(&key));
    assert!(
        matches!(refused, Err(crate::Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    bed.rollback(other);
    bed.rollback(holder);
}

pub(super) fn a_rollback_restores_what_was_there(bed: &Bed) {
    let keys = ["changed", "deleted", "new", "touched"].map(|name| bed.key(name));
    bed.apply(&[put(&keys[0], "v"), put(&keys[1], "v"), put(&keys[3], "v")]);
    let seen = || bed.scan(.., bed.now(), 9, false);
    let before = seen();
    let start = bed.put_down(&[
        put(&keys[0], "w"),
        checked(&keys[1], MutationOp::Delete),
        put(&keys[2], "w"),
        checked(&keys[3], MutationOp::Lock),
    ]);
    assert_eq!(seen(), before);
    let earlier = bed.begin();
    bed.rollback(start);
    assert_eq!(seen(), before);
    // Nothing was committed, so there is nothing to be in conflict with.
    let all = keys.each_ref().map(|key| put(key, "x"));
    let prewritten = bed.prewrite(earlier, &all);
    assert!(prewritten.is_ok(), "{prewritten:?}");
    bed.rollback(earlier);
}

pub(super) fn a_rollback_releases_every_lock(bed: &Bed) {
    let keys: Vec<_> = (0..20).map(|n| bed.key(n.to_string())).collect();
    let start = bed.begin();
    for key in &keys[..10] {
        bed.take(start, key);
    }
    let mutations: Vec<_> = keys[10..].iter().map(|key| put(key, "v")).collect();
    assert!(bed.prewrite(start, &mutations).is_ok());
    bed.rollback(start);
    keys.iter().for_each(|key| bed.is_free(key));
    assert!(bed.names(.., 99, false).is_empty());
}

pub(super) fn a_commit_and_a_rollback_at_once_agree(bed: &Bed) {
    for round in 0..30 {
        let keys: Vec<_> = (0..5).map(|n| bed.key(format!("{round}-{n}"))).collect();
        let mutations: Vec<_> = keys.iter().map(|key| put(key, "v")).collect();
        let start = bed.begin();
        bed.put_down_as(start, &mutations);
        let (committed, rolled_back) = std::thread::scope(|scope| {
            let commit = scope.spawn(|| bed.ask(bed.store.commit(start)));
            let rolled_back = bed.ask(bed.store.rollback(start));
            (commit.join().expect("the thread only asks"), rolled_back)
        });
        let is_committed = committed.is_ok();
        if is_committed {
            refused_as(rolled_back, Committed);
        } else {
            assert!(rolled_back.is_ok(), "{rolled_back:?}");
            refused_as(committed, RolledBack);
        }
        for key in &keys {
            assert_eq!(bed.newest(key).is_some(), is_committed);
            bed.is_free(key);
        }
    }
}
