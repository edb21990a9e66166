//! What a buffer shows, by every way to look, against what the model says.

use super::model::{KEYS, Model, State};
use bytes::Bytes;
use std::collections::BTreeMap;
use untorn_txn::buffer::{BufferSnapshot, Stage};
use untorn_txn::{Entry, Error, KeyFlags, MemBuffer};

pub fn same_error(real: &Result<(), Error>, model: &Result<(), Error>) -> bool {
    format!("{real:?}") == format!("{model:?}")
}

pub fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap()
}

pub fn check(buffer: &MemBuffer, model: &Model) {
    let expected = model.contents();
    for key in KEYS {
        let state = expected.get(key);
        assert_eq!(
            buffer.get(key),
            state.and_then(|state| state.0.clone()),
            "get {key:?}"
        );
        assert_eq!(
            buffer.get_flags(key),
            state.map(|state| state.1),
            "flags of {key:?}"
        );
    }
    let stats = buffer.stats();
    assert_eq!((stats.len, stats.size), (expected.len(), model.size()));
    assert_eq!((buffer.len(), buffer.size()), (stats.len, stats.size));
    assert_eq!(buffer.is_dirty(), model.dirty, "dirty");
    assert_eq!(buffer.open_stages(), model.stages.len());

    let all: Vec<_> = buffer.range_with_flags::<&[u8]>(..).collect();
    let shown = all
        .iter()
        .map(|(key, entry, flags)| (text(key), (entry.clone(), *flags)));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        expected.clone().into_iter().collect::<Vec<_>>()
    );
    let held: Vec<_> = expected
        .iter()
        .filter_map(|(key, state)| Some((*key, state.0.clone()?)))
        .collect();
    let forward: Vec<_> = buffer.range::<&[u8]>(..).collect();
    let shown = forward
        .iter()
        .map(|(key, entry)| (text(key), entry.clone()));
    assert_eq!(shown.collect::<Vec<_>>(), held);
    let mut back: Vec<_> = buffer.range::<&[u8]>(..).rev().collect();
    back.reverse();
    assert_eq!(back, forward);
    let part = buffer.range("a".."b").count();
    assert_eq!(
        part,
        held.iter()
            .filter(|(key, _)| ("a".."b").contains(key))
            .count()
    );
    let batch = buffer.batch_get(KEYS);
    assert_eq!(batch.into_iter().collect::<Vec<_>>(), forward);

    let own: BTreeMap<_, _> = held.into_iter().collect();
    let all = |key: &str| {
        (
            buffer.union(key.., stored()),
            buffer.union_rev(key.., stored().rev()),
        )
    };
    for low in ["", "aa"] {
        let (forward, back) = all(low);
        check_union(&own, forward, back, |key| key >= low);
    }
}

/// What lies in the store below, beside some of the buffer's keys.
const STORED: [&str; 6] = ["", "a", "aa", "b", "key-five", "zz"];

fn stored() -> impl DoubleEndedIterator<Item = (Bytes, Bytes)> {
    let pair = |key: &'static str| (Bytes::from(key), Bytes::from("stored"));
    STORED.into_iter().map(pair)
}

/// Checks the views `forward` and `back` of the buffer over the store against what the buffer holds.
fn check_union(
    own: &BTreeMap<&'static str, Entry>,
    forward: impl Iterator<Item = (Bytes, Bytes)>,
    back: impl Iterator<Item = (Bytes, Bytes)>,
    within: impl Fn(&str) -> bool,
) {
    let mut merged: BTreeMap<_, _> = STORED
        .into_iter()
        .map(|key| (key, "stored".into()))
        .collect();
    for (key, entry) in own {
        match entry.value() {
            Some(value) => drop(merged.insert(*key, value.clone())),
            None => drop(merged.remove(key)),
        }
    }
    merged.retain(|key, _| within(key));
    let expected: Vec<_> = merged
        .iter()
        .map(|(key, value)| (Bytes::from(*key), value.clone()))
        .collect();
    assert_eq!(forward.collect::<Vec<_>>(), expected, "union");
    let mut back: Vec<_> = back.collect();
    back.reverse();
    assert_eq!(back, expected, "union from the back");
}

pub fn check_snapshot(view: &BufferSnapshot, expected: &BTreeMap<&'static str, Entry>) {
    let all = || view.union::<&str, _>(.., stored());
    check_union(
        expected,
        all(),
        view.union_rev::<&str, _>(.., stored().rev()),
        |_| true,
    );
    let mut back: Vec<_> = view.range("a".."z").rev().collect();
    back.reverse();
    assert_eq!(back, view.range("a".."z").collect::<Vec<_>>());
    let shown: Vec<_> = view.range::<&[u8]>(..).collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|(key, entry)| (text(key), entry.clone()))
        .collect();
    assert_eq!(shown, expected.clone().into_iter().collect::<Vec<_>>());
    for key in KEYS {
        assert_eq!(view.get(key).as_ref(), expected.get(key));
    }
}

pub fn check_history(buffer: &MemBuffer, model: &Model) {
    // The constraint check depends on writes above; that it comes back as it was is seen by rolling back.
    let check = KeyFlags::NEED_CONSTRAINT_CHECK;
    for (index, key) in KEYS.iter().enumerate() {
        let versions = buffer.history(key).map(|it| (it.entry, it.flags - check));
        let mut shown: Vec<_> = versions.collect();
        shown.dedup();
        assert_eq!(shown, model.history(index), "history of {key:?}");
    }
}

pub fn check_stage(
    buffer: &MemBuffer,
    stage: &Stage,
    expected: Option<Vec<(&'static str, State)>>,
) {
    let mut shown = Vec::new();
    let inspected = buffer.inspect_stage(stage, |key, entry, flags| {
        shown.push((text(&key).to_owned(), (Some(entry), flags)));
    });
    assert_eq!(inspected.is_ok(), expected.is_some());
    let expected = expected.unwrap_or_default().into_iter();
    assert_eq!(
        shown,
        expected
            .map(|(key, state)| (key.to_owned(), state))
            .collect::<Vec<_>>()
    );
}
