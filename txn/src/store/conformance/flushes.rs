//! Pipelined transactions: generations, in whatever order they come, and one end for all of them (rules 18 and 49). A store that
//! takes no flushes has to say so.

use super::bed::{Bed, PATIENCE, checked, insert, put, refused_as};
use super::one_key::{patient, request};
use crate::TxnState::{Committed, RolledBack};
use crate::lock::Wait;
use crate::store::{Begin, Flush, Mutation, MutationOp, Prewrite, Timestamp};
use crate::{Entry, Error};
use bytes::Bytes;
use std::time::Duration;

/// A generation under the primary `primary`, which does not wait for locks.
fn generation(number: u64, primary: &Bytes, mutations: &[Mutation]) -> Flush {
    let prewrite = Prewrite {
        primary: primary.clone(),
        ..Prewrite::new(mutations.to_vec())
    };
    Flush::new(number, prewrite)
}

impl Bed {
    /// Whether the store takes flushes; one that does not is asked all the same.
    #[track_caller]
    fn is_pipelined(&self) -> bool {
        if self.store.takes_flushes() {
            return true;
        }
        let (start, key) = (self.begin(), self.key("k"));
        let refused = self.flush(start, 1, &key, &[put(&key, "v")]);
        assert!(
            matches!(refused, Err(Error::Unsupported { .. })),
            "{refused:?}"
        );
        let refused = self.ask(self.store.flushed(start, &[key]));
        assert!(
            matches!(refused, Err(Error::Unsupported { .. })),
            "{refused:?}"
        );
        self.rollback(start);
        false
    }

    fn flush(
        &self,
        start: Timestamp,
        number: u64,
        primary: &Bytes,
        mutations: &[Mutation],
    ) -> Result<(), Error> {
        let request = generation(number, primary, mutations);
        self.ask(self.store.flush(start, &request))
    }

    /// A generation that has to succeed.
    #[track_caller]
    fn flushes(&self, start: Timestamp, number: u64, primary: &Bytes, mutations: &[Mutation]) {
        let flushed = self.flush(start, number, primary, mutations);
        assert!(flushed.is_ok(), "nothing is in the way: {flushed:?}");
    }

    #[track_caller]
    fn flushed(&self, start: Timestamp, keys: &[&Bytes]) -> Vec<Option<Entry>> {
        let keys: Vec<Bytes> = keys.iter().copied().cloned().collect();
        self.sure(self.store.flushed(start, &keys))
    }
}

fn value(bytes: &'static str) -> Option<Entry> {
    Some(Entry::Value(Bytes::from_static(bytes.as_bytes())))
}

fn delete(key: &Bytes) -> Mutation {
    checked(key, MutationOp::Delete)
}

pub(super) fn what_was_flushed_is_read_by_its_transaction_alone(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let [a, b, never] = ["a", "b", "never"].map(|name| bed.key(name));
    bed.apply(&[put(&a, "old"), put(&b, "old"), put(&never, "old")]);
    let (start, other) = (bed.begin(), bed.begin());
    bed.flushes(start, 1, &a, &[put(&a, "new"), delete(&b)]);
    let own = bed.flushed(start, &[&never, &b, &a, &b]);
    assert_eq!(
        own,
        [
            None,
            Some(Entry::Tombstone),
            value("new"),
            Some(Entry::Tombstone)
        ]
    );
    assert_eq!(bed.flushed(other, &[&a, &b]), [None, None]);
    assert_eq!(bed.newest(&a).as_deref(), Some(&b"old"[..]));
    assert_eq!(bed.newest(&b).as_deref(), Some(&b"old"[..]));
    bed.rollback(start);
    bed.rollback(other);
}

pub(super) fn the_largest_generation_of_a_key_counts(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| bed.key(name));
    bed.apply(&[put(&b, "old")]);
    let start = bed.begin();
    bed.flushes(start, 1, &a, &[put(&a, "1"), put(&b, "1"), put(&c, "1")]);
    bed.flushes(start, 2, &a, &[put(&a, "two"), delete(&b)]);
    bed.flushes(start, 3, &a, &[put(&b, "3"), delete(&c)]);
    let own = bed.flushed(start, &[&a, &b, &c]);
    assert_eq!(own, [value("two"), value("3"), Some(Entry::Tombstone)]);
    bed.commit(start);
    assert_eq!(
        bed.scan(.., bed.now(), 9, false),
        [(b"a".to_vec(), "two".into()), (b"b".to_vec(), "3".into())]
    );
}

pub(super) fn a_generation_that_comes_late_or_twice_changes_nothing(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| bed.key(name));
    let start = bed.begin();
    let first = [put(&a, "1"), put(&b, "1")];
    let second = [delete(&a), put(&c, "2")];
    let third = [put(&a, "3"), put(&c, "3")];
    bed.flushes(start, 1, &a, &first);
    bed.flushes(start, 3, &a, &third);
    for (number, late) in [(1, &first), (2, &second), (3, &third), (1, &first)] {
        bed.flushes(start, number, &a, late);
        let own = bed.flushed(start, &[&a, &b, &c]);
        assert_eq!(own, [value("3"), value("1"), value("3")], "after {number}");
    }
    bed.commit(start);
    for (key, expected) in [(&a, "3"), (&b, "1"), (&c, "3")] {
        assert_eq!(bed.newest(key).as_deref(), Some(expected.as_bytes()));
    }
}

pub(super) fn all_generations_are_committed_at_one_instant(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let keys: Vec<Bytes> = (0..40).map(|n| bed.key(format!("{n:02}"))).collect();
    let old: Vec<_> = keys.iter().map(|key| put(key, "old")).collect();
    bed.apply(&old);
    let start = bed.begin();
    let new: Vec<_> = keys.iter().map(|key| put(key, "new")).collect();
    let mut before = Vec::new();
    for (part, number) in new.chunks(7).zip(1..) {
        bed.flushes(start, number, &keys[0], part);
        before.push(bed.begin());
    }
    let values = |at: Timestamp| -> Vec<Bytes> {
        let pairs = bed.scan(.., at, 99, false).into_iter();
        pairs.map(|(_, value)| value).collect()
    };
    assert!(values(bed.now()).iter().all(|value| value == "old"));
    let time = bed.commit(start);
    assert!(before.iter().all(|&at| at < time));
    let after = bed.now();
    for at in before {
        assert_eq!(values(at), vec![Bytes::from_static(b"old"); 40]);
        bed.rollback(at);
    }
    assert_eq!(values(after), vec![Bytes::from_static(b"new"); 40]);
    assert_eq!(bed.commit(start), time);
    keys.iter().for_each(|key| bed.is_free(key));
}

pub(super) fn a_rollback_takes_every_generation_back(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| bed.key(name));
    bed.apply(&[put(&a, "old"), put(&b, "old")]);
    let seen = || bed.scan(.., bed.now(), 9, false);
    let before = seen();
    let (start, earlier) = (bed.begin(), bed.begin());
    bed.flushes(start, 1, &a, &[put(&a, "1"), delete(&b), put(&c, "1")]);
    bed.flushes(start, 2, &a, &[delete(&a), put(&b, "2"), put(&d, "2")]);
    bed.flushes(start, 3, &a, &[put(&a, "3"), delete(&c)]);
    for _ in 0..2 {
        bed.rollback(start);
    }
    assert_eq!(seen(), before);
    let all = [&a, &b, &c, &d];
    all.into_iter().for_each(|key| bed.is_free(key));
    // Nothing was committed, so there is nothing to be in conflict with.
    let prewritten = bed.prewrite(earlier, &all.map(|key| put(key, "x")));
    assert!(prewritten.is_ok(), "{prewritten:?}");
    bed.rollback(earlier);
}

pub(super) fn a_generation_that_comes_after_the_end_is_refused(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let (key, other) = (bed.key("k"), bed.key("other"));
    for state in [Committed, RolledBack] {
        let start = bed.begin();
        bed.flushes(start, 1, &key, &[put(&key, "v")]);
        match state {
            Committed => drop(bed.commit(start)),
            _ => bed.rollback(start),
        }
        for (number, late) in [(1, &key), (2, &key), (2, &other)] {
            let refused = bed.flush(start, number, &key, &[put(late, "late")]);
            refused_as(refused, state);
        }
        refused_as(
            bed.ask(bed.store.flushed(start, std::slice::from_ref(&key))),
            state,
        );
        assert_eq!(bed.newest(&key).as_deref(), Some(&b"v"[..]));
        assert_eq!(bed.newest(&other), None);
        bed.is_free(&key);
        bed.is_free(&other);
    }
}

pub(super) fn a_generation_over_a_later_commit_is_a_conflict(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let (key, other) = (bed.key("k"), bed.key("other"));
    let start = bed.begin();
    bed.flushes(start, 1, &other, &[put(&other, "1")]);
    let time = bed.apply(&[put(&key, "theirs")]);
    let refused = bed.flush(start, 2, &other, &[put(&key, "2"), put(&other, "2")]);
    assert!(
        matches!(&refused, Err(Error::WriteConflict { key: at, conflict_commit_ts, .. })
            if *at == key && *conflict_commit_ts == time),
        "{refused:?}"
    );
    bed.rollback(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"theirs"[..]));
    assert_eq!(bed.newest(&other), None);
}

pub(super) fn an_insert_of_a_generation_needs_an_absent_key(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let [there, free, gone] = ["there", "free", "gone"].map(|name| bed.key(name));
    bed.apply(&[put(&there, "v"), put(&gone, "v")]);
    bed.apply(&[delete(&gone)]);
    let start = bed.begin();
    let absent = checked(&gone, MutationOp::CheckNotExists);
    bed.flushes(start, 1, &free, &[insert(&free, "1"), absent]);
    assert_eq!(bed.flushed(start, &[&free, &gone]), [value("1"), None]);
    for mutation in [
        insert(&there, "2"),
        checked(&there, MutationOp::CheckNotExists),
    ] {
        let refused = bed.flush(start, 2, &free, &[mutation]);
        assert!(
            matches!(&refused, Err(Error::KeyExists { key }) if *key == there),
            "{refused:?}"
        );
    }
    bed.rollback(start);
}

pub(super) fn a_flushed_key_is_locked_until_the_end(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let key = bed.key("k");
    let (start, other) = (bed.begin(), bed.begin());
    bed.flushes(start, 1, &key, &[put(&key, "1")]);
    bed.flushes(start, 2, &key, &[put(&key, "2")]);
    let refused = bed.prewrite(other, &[put(&key, "theirs")]);
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    let mut waiting = bed.locking(other, patient(&key).with_value());
    bed.waits(&mut waiting);
    bed.commit(start);
    let locked = bed.sure(waiting);
    assert_eq!(locked.value.as_deref(), Some(&b"2"[..]));
    bed.rollback(other);
}

pub(super) fn a_generation_waits_for_a_lock_within_its_budget(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let key = bed.key("k");
    let (holder, start) = (bed.begin(), bed.begin());
    bed.sure(bed.locking(holder, request(&key)));
    let mut brief = generation(1, &key, &[put(&key, "1")]);
    brief.prewrite.wait = Wait::For(Duration::from_millis(30));
    let refused = bed.ask(bed.store.flush(start, &brief));
    assert!(
        matches!(refused, Err(Error::LockWaitTimeout { .. })),
        "{refused:?}"
    );
    let mut patient = generation(1, &key, &[put(&key, "1")]);
    patient.prewrite.wait = Wait::For(PATIENCE);
    let mut waiting = bed.store.flush(start, &patient);
    bed.waits(&mut waiting);
    bed.rollback(holder);
    bed.sure(waiting);
    assert_eq!(bed.flushed(start, &[&key]), [value("1")]);
    bed.commit(start);
    assert_eq!(bed.newest(&key).as_deref(), Some(&b"1"[..]));
}

pub(super) fn what_a_dead_owner_flushed_is_taken_back_by_who_finds_it(bed: &Bed) {
    if !bed.is_pipelined() {
        return;
    }
    let (key, other) = (bed.key("k"), bed.key("other"));
    bed.apply(&[put(&other, "old")]);
    let dead = bed.sure(bed.store.begin(Begin::default()));
    for (number, written) in [(1, &key), (2, &other)] {
        let mut brief = generation(number, &key, &[put(written, "new")]);
        brief.prewrite.ttl = Duration::from_millis(1);
        bed.sure(bed.store.flush(dead, &brief));
    }
    let start = bed.begin();
    let locked = bed.sure(bed.locking(start, patient(&other).with_value()));
    assert_eq!(locked.value.as_deref(), Some(&b"old"[..]));
    refused_as(bed.ask(bed.store.commit(dead)), RolledBack);
    bed.rollback(start);
    assert_eq!(bed.newest(&key), None);
    bed.is_free(&key);
}
