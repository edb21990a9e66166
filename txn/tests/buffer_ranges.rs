//! Ranges and unions: order, bounds, both ends, writes on the way.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::ops::Bound;
use untorn_txn::buffer::StageOrder;
use untorn_txn::{Entry, FlagOp, KeyFlags, MemBuffer};

fn filled(keys: &[&str]) -> MemBuffer {
    let buffer = MemBuffer::new();
    for key in keys {
        buffer.set(key, format!("own {key}")).unwrap();
    }
    buffer
}

fn names(pairs: impl Iterator<Item = (Bytes, Entry)>) -> Vec<String> {
    pairs
        .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

fn store(keys: &[&str]) -> Vec<(Bytes, Bytes)> {
    keys.iter()
        .map(|key| (Bytes::from(key.to_string()), Bytes::from("store")))
        .collect()
}

fn merged(pairs: impl Iterator<Item = (Bytes, Bytes)>) -> Vec<String> {
    pairs
        .map(|(key, value)| format!("{}={}", key.escape_ascii(), value.escape_ascii()))
        .collect()
}

#[test]
fn every_kind_of_bound_is_kept() {
    let buffer = filled(&["a", "b", "c", "d"]);
    assert_eq!(names(buffer.range::<&[u8]>(..)), ["a", "b", "c", "d"]);
    assert_eq!(names(buffer.range("b"..)), ["b", "c", "d"]);
    assert_eq!(names(buffer.range(.."c")), ["a", "b"]);
    assert_eq!(names(buffer.range(..="c")), ["a", "b", "c"]);
    assert_eq!(names(buffer.range("b"..="c")), ["b", "c"]);
    let open = (Bound::Excluded("a"), Bound::Excluded("d"));
    assert_eq!(names(buffer.range::<&str>(open)), ["b", "c"]);
    assert_eq!(names(buffer.range::<&str>(open).rev()), ["c", "b"]);
}

#[test]
fn empty_and_inverted_bounds_yield_nothing() {
    let buffer = filled(&["a", "b", "c"]);
    assert_eq!(buffer.range("b".."b").count(), 0);
    assert_eq!(buffer.range("c".."a").count(), 0);
    assert_eq!(buffer.range("c"..="a").rev().count(), 0);
    assert_eq!(
        buffer
            .range::<&str>((Bound::Excluded("b"), Bound::Excluded("b")))
            .count(),
        0
    );
    assert_eq!(
        buffer
            .range::<&str>((Bound::Excluded("b"), Bound::Included("b")))
            .count(),
        0
    );
    assert_eq!(buffer.snapshot().range("c".."a").count(), 0);
    assert_eq!(
        merged(buffer.union("c".."a", store(&["a", "b"]))),
        Vec::<String>::new()
    );
    assert_eq!(buffer.range("b"..="b").count(), 1);
}

#[test]
fn flags_only_keys_show_only_where_asked_for() {
    let buffer = filled(&["a"]);
    buffer.update_flags("b", [FlagOp::SetLocked]).unwrap();
    buffer.delete("c").unwrap();
    assert_eq!(names(buffer.range::<&[u8]>(..)), ["a", "c"]);
    assert_eq!(names(buffer.range::<&[u8]>(..).rev()), ["c", "a"]);
    let all: Vec<_> = buffer.range_with_flags::<&[u8]>(..).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all[1], (Bytes::from("b"), None, KeyFlags::LOCKED));
    assert_eq!(
        all[2],
        (Bytes::from("c"), Some(Entry::Tombstone), KeyFlags::empty())
    );
    let mut back: Vec<_> = buffer.range_with_flags::<&[u8]>(..).rev().collect();
    back.reverse();
    assert_eq!(back, all);
}

#[test]
fn both_ends_meet_without_a_key_twice() {
    let buffer = filled(&["a", "b", "c", "d", "e"]);
    let mut scan = buffer.range::<&[u8]>(..);
    let mut seen = Vec::new();
    while let Some((key, _)) = scan.next() {
        seen.push(key);
        seen.extend(scan.next_back().map(|(key, _)| key));
    }
    assert_eq!(seen, ["a", "e", "b", "d", "c"]);
    assert!(scan.next_back().is_none());
}

#[test]
fn a_scan_at_its_end_stays_there() {
    let buffer = filled(&["a"]);
    let mut scan = buffer.range::<&[u8]>(..);
    assert!(scan.next().is_some());
    assert!(scan.next().is_none());
    buffer.set("b", "v").unwrap();
    assert!(scan.next().is_none());
    assert!(scan.next_back().is_none());
}

#[test]
fn a_scan_sees_the_newest_value_of_what_lies_ahead() {
    let buffer = filled(&["a", "b", "c"]);
    let mut scan = buffer.range::<&[u8]>(..);
    scan.next();
    buffer.set("b", "new").unwrap();
    buffer.set("bb", "new").unwrap();
    buffer.set("A", "behind").unwrap();
    assert_eq!(
        scan.next(),
        Some((Bytes::from("b"), Entry::Value("new".into())))
    );
    assert_eq!(names(scan), ["bb", "c"]);
}

#[test]
fn a_scan_survives_the_rollback_of_the_key_under_it() -> Result<(), StageOrder> {
    let buffer = filled(&["a", "d"]);
    let stage = buffer.stage();
    buffer.set("b", "staged").unwrap();
    buffer.set("c", "staged").unwrap();
    let mut scan = buffer.range::<&[u8]>(..);
    scan.next();
    assert_eq!(scan.next().map(|(key, _)| key), Some(Bytes::from("b")));
    stage.cleanup()?;
    assert_eq!(names(scan), ["d"]);
    Ok(())
}

#[test]
fn a_scan_outlives_the_last_handle_of_its_buffer() {
    let buffer = filled(&["a", "b"]);
    let scan = buffer.range::<&[u8]>(..);
    drop(buffer);
    assert_eq!(names(scan), ["a", "b"]);
}

#[test]
fn in_a_union_the_buffer_wins_and_tombstones_hide() {
    let buffer = filled(&["b", "d"]);
    buffer.delete("c").unwrap();
    buffer.delete("zz").unwrap();
    buffer.update_flags("e", [FlagOp::SetLocked]).unwrap();
    let below = ["a", "b", "c", "e"];
    let expected = ["a=store", "b=own b", "d=own d", "e=store"];
    assert_eq!(
        merged(buffer.union::<&[u8], _>(.., store(&below))),
        expected
    );
    let back: Vec<_> = below.iter().rev().copied().collect();
    let mut seen = merged(buffer.union_rev::<&[u8], _>(.., store(&back)));
    seen.reverse();
    assert_eq!(seen, expected);
    let view = buffer.snapshot();
    buffer.reset().unwrap();
    assert_eq!(merged(view.union::<&[u8], _>(.., store(&below))), expected);
}

#[test]
fn a_union_keeps_to_its_bounds() {
    let buffer = filled(&["a", "c", "e"]);
    let seen = merged(buffer.union("b".."e", store(&["a", "b", "d", "e", "f"])));
    assert_eq!(seen, ["b=store", "c=own c", "d=store"]);
}

#[test]
fn a_union_never_shows_a_store_value_that_was_overwritten_before_the_step() {
    let buffer = MemBuffer::new();
    let mut union = buffer.union::<&[u8], _>(.., store(&["a", "b", "c", "d"]));
    assert!(union.next().is_some());
    buffer.set("b", "own").unwrap();
    buffer.delete("c").unwrap();
    buffer.set("a", "behind").unwrap();
    assert_eq!(merged(union), ["b=own", "d=store"]);
}

#[test]
fn a_union_at_its_end_stays_there() {
    let buffer = filled(&["a"]);
    let mut union = buffer.union::<&[u8], _>(.., store(&[]));
    assert!(union.next().is_some());
    assert!(union.next().is_none());
    buffer.set("b", "v").unwrap();
    assert!(union.next().is_none());
}
