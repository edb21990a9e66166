//! Histories of keys, and what was written in a stage.
#![allow(clippy::unwrap_used)]

use untorn_txn::buffer::Stage;
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

fn value(text: &'static str) -> Entry {
    Entry::Value(text.into())
}

fn contents(buffer: &MemBuffer, key: &str) -> Vec<Option<Entry>> {
    buffer.history(key).map(|version| version.entry).collect()
}

fn written(buffer: &MemBuffer, stage: &Stage) -> Vec<(String, Entry)> {
    let mut shown = Vec::new();
    let show =
        |key: bytes::Bytes, entry, _| shown.push((String::from_utf8(key.to_vec()).unwrap(), entry));
    buffer.inspect_stage(stage, show).unwrap();
    shown
}

fn pair(key: &str, entry: Entry) -> (String, Entry) {
    (key.to_owned(), entry)
}

/// Rule 16.
#[test]
fn a_key_that_nothing_can_return_to_has_one_version() {
    let buffer = MemBuffer::new();
    assert_eq!(buffer.history("k").len(), 0);
    for text in ["1", "2", "3"] {
        buffer.set("k", text).unwrap();
    }
    assert_eq!(contents(&buffer, "k"), [Some(value("3"))]);
}

/// Rule 16.
#[test]
fn each_stage_and_savepoint_shows_what_it_would_return_to() {
    let buffer = MemBuffer::new();
    buffer.set("k", "1").unwrap();
    let outer = buffer.stage();
    let _unchanged = buffer.savepoint();
    buffer.set("k", "2").unwrap();
    buffer.set("k", "3").unwrap();
    let inner = buffer.stage();
    buffer.delete("k").unwrap();
    let expected = [Some(Entry::Tombstone), Some(value("3")), Some(value("1"))];
    assert_eq!(contents(&buffer, "k"), expected);
    inner.cleanup().unwrap();
    assert_eq!(contents(&buffer, "k"), expected[1..]);
    outer.release().unwrap();
    assert_eq!(contents(&buffer, "k"), expected[1..], "for the savepoint");
}

#[test]
fn flags_alone_are_a_version_and_absence_is_none() {
    let buffer = MemBuffer::new();
    let _stage = buffer.stage();
    buffer.update_flags("k", [FlagOp::SetReadable]).unwrap();
    let _inner = buffer.stage();
    buffer.set("k", "v").unwrap();
    let versions: Vec<_> = buffer
        .history("k")
        .map(|version| (version.entry, version.flags))
        .collect();
    assert_eq!(
        versions,
        [
            (Some(value("v")), KeyFlags::READABLE),
            (None, KeyFlags::READABLE)
        ]
    );
}

#[test]
fn a_stage_shows_the_newest_write_of_each_key_the_newest_first() {
    let buffer = MemBuffer::new();
    buffer.set("before", "1").unwrap();
    buffer.set("again", "1").unwrap();
    let stage = buffer.stage();
    for (key, text) in [("a", "1"), ("b", "1"), ("again", "2"), ("a", "2")] {
        buffer.set(key, text).unwrap();
    }
    buffer.delete("c").unwrap();
    let expected = [
        pair("c", Entry::Tombstone),
        pair("a", value("2")),
        pair("again", value("2")),
        pair("b", value("1")),
    ];
    assert_eq!(written(&buffer, &stage), expected);
}

#[test]
fn flag_updates_are_not_shown_and_do_not_move_a_write() {
    let buffer = MemBuffer::new();
    buffer.set("before", "1").unwrap();
    let stage = buffer.stage();
    buffer.set("a", "1").unwrap();
    buffer.set("b", "1").unwrap();
    for key in ["before", "a", "flags only"] {
        buffer.update_flags(key, [FlagOp::SetReadable]).unwrap();
    }
    assert_eq!(
        written(&buffer, &stage),
        [pair("b", value("1")), pair("a", value("1"))]
    );
    let inner = buffer.stage();
    buffer.update_flags("b", [FlagOp::SetPrewriteOnly]).unwrap();
    assert_eq!(written(&buffer, &inner), []);
}

#[test]
fn inner_stages_are_shown_unless_they_were_cleaned_up() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    buffer.set("a", "1").unwrap();
    let inner = buffer.stage();
    buffer.set("a", "2").unwrap();
    buffer.set("b", "2").unwrap();
    assert_eq!(
        written(&buffer, &stage),
        [pair("b", value("2")), pair("a", value("2"))]
    );
    inner.release().unwrap();
    let cleaned = buffer.stage();
    buffer.set("a", "3").unwrap();
    buffer.set("c", "3").unwrap();
    cleaned.cleanup().unwrap();
    let savepoint = buffer.savepoint();
    buffer.set("d", "4").unwrap();
    buffer.rollback_to(&savepoint).unwrap();
    drop(savepoint);
    assert_eq!(
        written(&buffer, &stage),
        [pair("b", value("2")), pair("a", value("2"))]
    );
}

/// Rule 15.
#[test]
fn what_is_called_may_write_stage_and_roll_back() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    let savepoint = buffer.savepoint();
    buffer.set("a", "1").unwrap();
    buffer.set("b", "1").unwrap();
    let mut keys = Vec::new();
    let inspected = buffer.inspect_stage(&stage, |key, _, _| {
        buffer.set("from inside", "1").unwrap();
        let inner = buffer.stage();
        buffer.delete(&key).unwrap();
        inner.release().unwrap();
        buffer.rollback_to(&savepoint).unwrap();
        keys.push(key);
    });
    inspected.unwrap();
    assert_eq!(keys, ["b", "a"]);
    assert!(buffer.is_empty());
}

#[test]
fn a_stage_of_another_buffer_or_from_before_a_reset_is_refused() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    let foreign = MemBuffer::new().stage();
    let nothing = |_, _, _| unreachable!("nothing is shown");
    assert!(matches!(
        buffer.inspect_stage(&foreign, nothing),
        Err(Error::StageOrder)
    ));
    buffer.reset().unwrap();
    assert!(matches!(
        buffer.inspect_stage(&stage, nothing),
        Err(Error::StageOrder)
    ));
}
