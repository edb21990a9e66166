//! Rule 46: what reads at a timestamp see, and that they do not wait for it.

use super::bed::{Bed, checked, put};
use crate::Error;
use crate::store::MutationOp;
use bytes::Bytes;

fn fill(bed: &Bed, names: &[&str]) {
    let mutations: Vec<_> = names
        .iter()
        .map(|name| put(&bed.key(name), "value"))
        .collect();
    bed.apply(&mutations);
}

pub(super) fn a_read_sees_the_last_commit_at_or_before_its_timestamp(bed: &Bed) {
    let key = bed.key("k");
    let holder = bed.begin();
    let first = bed.apply(&[put(&key, "1")]);
    let second = bed.apply(&[put(&key, "2")]);
    let third = bed.apply(&[checked(&key, MutationOp::Delete)]);
    assert!(holder < first && first < second && second < third);
    assert_eq!(bed.get(&key, holder), None);
    assert_eq!(bed.get(&key, first - 1), None);
    assert_eq!(bed.get(&key, first).as_deref(), Some(&b"1"[..]));
    assert_eq!(bed.get(&key, second - 1).as_deref(), Some(&b"1"[..]));
    assert_eq!(bed.get(&key, second).as_deref(), Some(&b"2"[..]));
    assert_eq!(bed.get(&key, third - 1).as_deref(), Some(&b"2"[..]));
    assert_eq!(bed.get(&key, third), None);
    assert_eq!(bed.get(&bed.key("never written"), third), None);
    bed.rollback(holder);
}

pub(super) fn a_snapshot_never_changes(bed: &Bed) {
    let keys = ["a", "b", "c"].map(|name| bed.key(name));
    bed.apply(&[put(&keys[0], "0"), put(&keys[1], "0")]);
    let reader = bed.begin();
    let seen = |reader| {
        (
            bed.scan(.., reader, 9, false),
            keys.each_ref().map(|key| bed.get(key, reader)),
        )
    };
    let before = seen(reader);
    bed.apply(&[
        put(&keys[0], "1"),
        checked(&keys[1], MutationOp::Delete),
        put(&keys[2], "1"),
    ]);
    assert_eq!(seen(reader), before);
    let undecided = bed.put_down(&[put(&keys[0], "2"), put(&keys[2], "2")]);
    assert_eq!(seen(reader), before);
    bed.rollback(undecided);
    assert_eq!(seen(reader), before);
    bed.rollback(reader);
}

pub(super) fn a_read_does_not_wait_for_an_undecided_commit(bed: &Bed) {
    let (old, new) = (bed.key("old"), bed.key("new"));
    bed.apply(&[put(&old, "1")]);
    let undecided = bed.put_down(&[put(&old, "2"), put(&new, "2")]);
    let reader = bed.begin();
    assert_eq!(bed.get(&old, reader).as_deref(), Some(&b"1"[..]));
    assert_eq!(bed.get(&new, reader), None);
    // Decided at an instant after the reader's, whatever was drawn before.
    assert!(bed.commit(undecided) > reader);
    assert_eq!(bed.get(&old, reader).as_deref(), Some(&b"1"[..]));
    assert_eq!(bed.get(&new, reader), None);
    bed.rollback(reader);
}

pub(super) fn a_scan_does_not_wait_for_an_undecided_commit(bed: &Bed) {
    fill(bed, &["a", "c"]);
    let undecided = bed.put_down(&[
        put(&bed.key("b"), "2"),
        checked(&bed.key("c"), MutationOp::Delete),
    ]);
    for reverse in [false, true] {
        let mut names = bed.names(.., 9, reverse);
        names.sort();
        assert_eq!(names, ["a", "c"]);
    }
    bed.commit(undecided);
    assert_eq!(bed.names(.., 9, false), ["a", "b"]);
}

pub(super) fn a_scan_gives_its_range_in_order_and_in_reverse(bed: &Bed) {
    fill(bed, &["d", "a", "c", "b"]);
    assert_eq!(bed.names(.., 9, false), ["a", "b", "c", "d"]);
    assert_eq!(bed.names(.., 9, true), ["d", "c", "b", "a"]);
    assert!(bed.names("e".., 9, false).is_empty());
    assert!(bed.names("e".., 9, true).is_empty());
}

pub(super) fn a_scan_keeps_to_its_bounds(bed: &Bed) {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    fill(bed, &["a", "b", "c", "d"]);
    for (bounds, expected) in [
        ((Included("b"), Included("c")), "bc"),
        ((Included("b"), Excluded("c")), "b"),
        ((Excluded("b"), Included("c")), "c"),
        ((Excluded("b"), Excluded("c")), ""),
        ((Unbounded, Excluded("b")), "a"),
        ((Excluded("c"), Unbounded), "d"),
        // Bounds that are no keys.
        ((Included("aa"), Included("cc")), "bc"),
        ((Excluded("aa"), Excluded("cc")), "bc"),
        // The other way round.
        ((Included("c"), Excluded("b")), ""),
    ] {
        assert_eq!(bed.names(bounds, 9, false).concat(), expected, "{bounds:?}");
        let reverse: String = expected.chars().rev().collect();
        assert_eq!(bed.names(bounds, 9, true).concat(), reverse, "{bounds:?}");
    }
}

/// Fewer than the limit means: there are no more. So what is not visible must not count.
pub(super) fn a_scan_ends_at_its_limit_and_not_before(bed: &Bed) {
    fill(bed, &["a", "b", "c", "d", "e"]);
    bed.apply(&[
        checked(&bed.key("a"), MutationOp::Delete),
        checked(&bed.key("e"), MutationOp::Delete),
    ]);
    let undecided = bed.put_down(&[put(&bed.key("0"), "v"), put(&bed.key("f"), "v")]);
    assert_eq!(bed.names(.., 2, false), ["b", "c"]);
    assert_eq!(bed.names(.., 2, true), ["d", "c"]);
    assert_eq!(bed.names(.., 1, false), ["b"]);
    assert_eq!(bed.names(.., 3, true).len(), 3);
    assert_eq!(bed.names(.., 4, false).len(), 3);
    assert!(bed.names(.., 0, false).is_empty());
    bed.rollback(undecided);
}

pub(super) fn a_scan_in_pages_skips_nothing_and_repeats_nothing(bed: &Bed) {
    const COUNT: usize = 300;
    let names: Vec<Vec<u8>> = (0..COUNT).map(|n| format!("{n:04}").into_bytes()).collect();
    let mutations: Vec<_> = names.iter().map(|name| put(&bed.key(name), "v")).collect();
    bed.apply(&mutations);
    for reverse in [false, true] {
        let at = bed.now();
        let mut read = Vec::new();
        let mut last: Option<Bytes> = None;
        loop {
            use std::ops::Bound::{Excluded, Included};
            let start = Included(bed.key(""));
            let end = Excluded(bed.key("~"));
            let (lower, upper) = match (last, reverse) {
                (None, _) => (start, end),
                (Some(last), false) => (Excluded(last), end),
                (Some(last), true) => (start, Excluded(last)),
            };
            let page = bed.sure(bed.store.scan(&crate::store::ScanRequest {
                lower,
                upper,
                at,
                limit: 7,
                reverse,
            }));
            last = page.last().map(|pair| pair.0.clone());
            let ends = page.len() < 7;
            read.extend(page.into_iter().map(|pair| pair.0));
            if ends {
                break;
            }
        }
        if reverse {
            read.reverse();
        }
        let expected: Vec<Bytes> = names.iter().map(|name| bed.key(name)).collect();
        assert_eq!(read, expected);
    }
}

/// At every timestamp the range as it was then, from either end.
pub(super) fn a_scan_sees_one_snapshot(bed: &Bed) {
    let holder = bed.begin();
    let key = |n: usize| bed.key([b'a' + n as u8]);
    let mut instants = vec![(bed.now(), Vec::new())];
    for n in 0..8 {
        let mut mutations = vec![put(&key(n), "v")];
        if n >= 3 {
            mutations.push(checked(&key(n - 3), MutationOp::Delete));
        }
        let time = bed.apply(&mutations);
        let live: Vec<Vec<u8>> = (n.saturating_sub(2)..=n)
            .map(|n| vec![b'a' + n as u8])
            .collect();
        instants.push((time, live));
    }
    for (at, live) in instants {
        for reverse in [false, true] {
            let mut seen: Vec<Vec<u8>> = bed
                .scan(.., at, 99, reverse)
                .into_iter()
                .map(|pair| pair.0)
                .collect();
            if reverse {
                seen.reverse();
            }
            assert_eq!(seen, live, "at {at}");
        }
    }
    bed.rollback(holder);
}

pub(super) fn a_scan_passes_over_what_was_deleted(bed: &Bed) {
    fill(bed, &["a", "b", "c"]);
    bed.apply(&[checked(&bed.key("b"), MutationOp::Delete)]);
    assert_eq!(bed.names(.., 9, false), ["a", "c"]);
    fill(bed, &["b"]);
    assert_eq!(bed.names(.., 9, true), ["c", "b", "a"]);
}

/// Zeros, prefixes of each other, bytes that are no text, values of any length.
pub(super) fn keys_are_bytes_and_sort_as_such(bed: &Bed) {
    let mut names: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![0, 1],
        vec![0, 255],
        vec![1],
        vec![1, 0],
        vec![127],
        vec![128],
        vec![255],
        vec![255, 0],
        vec![255, 255],
        vec![7; 300],
    ];
    let value = Bytes::from(vec![0_u8; 70_000]);
    let mutations: Vec<_> = names
        .iter()
        .map(|name| checked(&bed.key(name), MutationOp::Put(value.clone())))
        .collect();
    // A second time, so that there are older versions of each.
    for _ in 0..2 {
        bed.apply(&mutations);
    }
    names.sort();
    let start = bed.begin();
    for name in &names {
        assert_eq!(
            bed.get(&bed.key(name), start).as_ref(),
            Some(&value),
            "{name:?}"
        );
    }
    let seen = bed.scan(.., start, 99, false);
    assert!(seen.iter().map(|pair| &pair.0).eq(&names));
    assert!(seen.iter().all(|pair| pair.1 == value));
    bed.rollback(start);
}

pub(super) fn what_an_open_transaction_may_read_is_kept(bed: &Bed) {
    let (hot, gone) = (bed.key("hot"), bed.key("gone"));
    bed.apply(&[put(&hot, "old"), put(&gone, "old")]);
    let reader = bed.begin();
    bed.apply(&[checked(&gone, MutationOp::Delete)]);
    for _ in 0..100 {
        bed.apply(&[put(&hot, "new")]);
    }
    assert_eq!(bed.get(&hot, reader).as_deref(), Some(&b"old"[..]));
    assert_eq!(bed.get(&gone, reader).as_deref(), Some(&b"old"[..]));
    assert_eq!(bed.scan(.., reader, 9, false).len(), 2);
    // It is a transaction like any other, and old: its writes conflict.
    assert!(bed.prewrite(reader, &[put(&hot, "late")]).is_err());
    bed.rollback(reader);
}

pub(super) fn a_batch_answers_as_its_keys_one_by_one(bed: &Bed) {
    let keys = ["a", "b", "c", "a"].map(|name| bed.key(name));
    bed.apply(&[put(&keys[0], "1"), put(&keys[2], "3")]);
    let at = bed.now();
    let values = bed.sure(bed.store.batch_get(&keys, at));
    let single: Vec<_> = keys.iter().map(|key| bed.get(key, at)).collect();
    assert_eq!(values, single);
    assert_eq!(values[3].as_deref(), Some(&b"1"[..]));
    assert!(bed.sure(bed.store.batch_get(&[], at)).is_empty());
}

/// A held timestamp is readable as an open transaction's is, for as long as it is held once more.
pub(super) fn what_is_held_is_kept(bed: &Bed) {
    let key = bed.key("k");
    bed.apply(&[put(&key, "old")]);
    let at = bed.sure(bed.store.hold(None));
    assert_eq!(bed.sure(bed.store.hold(Some(at))), at);
    bed.store.let_go(at);
    for _ in 0..100 {
        bed.apply(&[put(&key, "new")]);
    }
    assert_eq!(bed.get(&key, at).as_deref(), Some(&b"old"[..]));
    assert!(bed.sure(bed.store.safe_point()).at <= at);
    bed.store.let_go(at);
    for invalid in [0, bed.now() + (1 << 40)] {
        let refused = bed.ask(bed.store.hold(Some(invalid)));
        assert!(
            matches!(refused, Err(Error::InvalidTimestamp { given, .. }) if given == invalid),
            "{refused:?}"
        );
    }
}

pub(super) fn the_safe_point_stays_below_what_is_open(bed: &Bed) {
    let start = bed.begin();
    for n in 0..20 {
        bed.apply(&[put(&bed.key(n.to_string()), "v")]);
        let safe_point = bed.sure(bed.store.safe_point());
        assert!(safe_point.at <= start, "{safe_point:?}, {start} is open");
    }
    bed.rollback(start);
}
