//! What a key holds: values, tombstones, flags, their counts, and the dirty mark.
#![allow(clippy::unwrap_used)]

use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

fn value(entry: Option<Entry>) -> Option<Vec<u8>> {
    entry
        .and_then(Entry::into_value)
        .map(|value| value.to_vec())
}

#[test]
fn a_fresh_buffer_is_empty_and_clean() {
    let buffer = MemBuffer::new();
    assert_eq!(buffer.get("k"), None);
    assert_eq!(buffer.get_flags("k"), None);
    assert_eq!(buffer.stats(), MemBuffer::new().stats());
    assert_eq!(
        (buffer.len(), buffer.size(), buffer.is_empty()),
        (0, 0, true)
    );
    assert!(!buffer.is_dirty());
}

#[test]
fn a_value_is_copied_and_found() {
    let buffer = MemBuffer::new();
    let mut bytes = b"one".to_vec();
    buffer.set("k", &bytes).unwrap();
    bytes[0] = b'x';
    assert_eq!(value(buffer.get("k")).unwrap(), b"one");
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::empty()));
}

#[test]
fn the_empty_key_is_a_key() {
    let buffer = MemBuffer::new();
    buffer.set("", "v").unwrap();
    assert_eq!(value(buffer.get("")).unwrap(), b"v");
    assert_eq!((buffer.len(), buffer.size()), (1, 1));
    assert_eq!(buffer.range::<&[u8]>(..).count(), 1);
}

#[test]
fn an_empty_value_is_refused_and_changes_nothing() {
    let buffer = MemBuffer::new();
    let refused = buffer.set_with_flags("k", "", [FlagOp::SetLocked]);
    assert!(matches!(refused, Err(Error::EmptyValue)));
    assert_eq!(buffer.get_flags("k"), None);
    assert_eq!(buffer.len(), 0);
    assert!(!buffer.is_dirty());
}

/// Rule 5.
#[test]
fn empty_values_can_be_switched_on() {
    let buffer = MemBuffer::builder().empty_values(true).build();
    buffer.set("k", "").unwrap();
    assert_eq!(value(buffer.get("k")).unwrap(), b"");
    assert_eq!((buffer.len(), buffer.size()), (1, 1));
    assert_eq!(buffer.range("a".."z").count(), 1);
}

#[test]
fn a_tombstone_is_written_on_an_absent_key_and_hides_a_value() {
    let buffer = MemBuffer::new();
    buffer.delete("absent").unwrap();
    assert_eq!(buffer.get("absent"), Some(Entry::Tombstone));
    buffer.set("k", "value").unwrap();
    buffer
        .delete_with_flags("k", [FlagOp::SetNewlyInserted])
        .unwrap();
    assert_eq!(buffer.get("k"), Some(Entry::Tombstone));
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::NEWLY_INSERTED));
    assert_eq!((buffer.len(), buffer.size()), (2, "absent".len() + 1));
}

#[test]
fn a_flag_update_makes_a_flags_only_key_even_without_flags() {
    let buffer = MemBuffer::new();
    buffer.update_flags("k", []).unwrap();
    assert_eq!(buffer.get("k"), None);
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::empty()));
    assert_eq!((buffer.len(), buffer.size()), (1, 1));
    assert!(buffer.is_dirty());
}

#[test]
fn a_key_counts_once_however_often_its_flags_change() {
    let buffer = MemBuffer::new();
    for op in FlagOp::ALL {
        buffer.update_flags("key", [op]).unwrap();
        assert_eq!((buffer.len(), buffer.size()), (1, 3));
    }
    buffer.set("key", "value").unwrap();
    buffer.update_flags("key", [FlagOp::SetLocked]).unwrap();
    assert_eq!((buffer.len(), buffer.size()), (1, 8));
    assert_eq!(value(buffer.get("key")).unwrap(), b"value");
}

#[test]
fn size_counts_current_values_only() {
    let buffer = MemBuffer::new();
    buffer.set("key", vec![1; 100]).unwrap();
    buffer.set("key", vec![2; 10]).unwrap();
    assert_eq!(buffer.size(), 13);
    let Stats { len, size, .. } = buffer.stats();
    assert_eq!((len, size), (1, 13));
}

/// Rule 6.
#[test]
fn a_value_write_keeps_the_flags_but_for_the_constraint_check() {
    let buffer = MemBuffer::new();
    let ops = [
        FlagOp::SetLocked,
        FlagOp::SetReadable,
        FlagOp::SetNeedConstraintCheck,
    ];
    buffer.set_with_flags("k", "1", ops).unwrap();
    let checked = KeyFlags::LOCKED | KeyFlags::READABLE | KeyFlags::NEED_CONSTRAINT_CHECK;
    assert_eq!(buffer.get_flags("k"), Some(checked));
    buffer
        .update_flags("k", [FlagOp::SetNewlyInserted])
        .unwrap();
    assert_eq!(
        buffer.get_flags("k"),
        Some(checked | KeyFlags::NEWLY_INSERTED)
    );
    buffer.set("k", "2").unwrap();
    let unchecked = KeyFlags::LOCKED | KeyFlags::READABLE | KeyFlags::NEWLY_INSERTED;
    assert_eq!(buffer.get_flags("k"), Some(unchecked));
    buffer
        .update_flags("k", [FlagOp::SetNeedConstraintCheck])
        .unwrap();
    buffer.delete("k").unwrap();
    assert_eq!(buffer.get_flags("k"), Some(unchecked));
}

#[test]
fn bytes_that_were_returned_never_change() {
    let buffer = MemBuffer::new();
    buffer.set("k", vec![7; 500]).unwrap();
    let held = value_bytes(&buffer);
    buffer.set("k", vec![8; 500]).unwrap();
    let stage = buffer.stage();
    buffer.set("k", vec![9; 500]).unwrap();
    let staged = value_bytes(&buffer);
    stage.cleanup().unwrap();
    buffer.reset().unwrap();
    drop(buffer);
    assert_eq!(held, vec![7; 500]);
    assert_eq!(staged, vec![9; 500]);
}

fn value_bytes(buffer: &MemBuffer) -> bytes::Bytes {
    buffer.get("k").and_then(Entry::into_value).unwrap()
}

#[test]
fn a_batch_finds_values_and_tombstones_and_nothing_else() {
    let buffer = MemBuffer::new();
    buffer.set("value", "v").unwrap();
    buffer.delete("tombstone").unwrap();
    buffer.update_flags("flags", [FlagOp::SetLocked]).unwrap();
    let found = buffer.batch_get(["flags", "tombstone", "absent", "value", "value"]);
    assert_eq!(found.len(), 2);
    assert_eq!(found[&b"tombstone"[..]], Entry::Tombstone);
    assert_eq!(found[&b"value"[..]], Entry::Value("v".into()));
}

/// Rule 1.
#[test]
fn clones_are_one_buffer() {
    let buffer = MemBuffer::new();
    let clone = buffer.clone();
    clone.set("k", "v").unwrap();
    assert_eq!(buffer.len(), 1);
    buffer.reset().unwrap();
    assert_eq!(clone.len(), 0);
}

#[test]
fn debug_output_shows_no_value() {
    let buffer = MemBuffer::new();
    buffer.set("secret-key", "secret-value").unwrap();
    let shown = format!("{buffer:?} {:?}", buffer.get("secret-key"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_write_without_stage_dirties_and_only_reset_cleans() {
    for write in [
        |buffer: &MemBuffer| buffer.set("k", "v"),
        |buffer: &MemBuffer| buffer.delete("k"),
        |buffer: &MemBuffer| buffer.update_flags("k", [FlagOp::SetReadable]),
    ] {
        let buffer = MemBuffer::new();
        write(&buffer).unwrap();
        assert!(buffer.is_dirty());
        let stage = buffer.stage();
        stage.cleanup().unwrap();
        assert!(buffer.is_dirty());
        buffer.reset().unwrap();
        assert!(!buffer.is_dirty());
    }
}

/// Rule 12.
#[test]
fn a_staged_write_dirties_when_its_outermost_stage_is_released() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    let inner = buffer.stage();
    buffer.set("k", "v").unwrap();
    assert!(!buffer.is_dirty());
    inner.release().unwrap();
    assert!(!buffer.is_dirty());
    outer.release().unwrap();
    assert!(buffer.is_dirty());
}

/// Rule 12.
#[test]
fn what_was_rolled_back_inside_does_not_dirty() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    let inner = buffer.stage();
    buffer.set("k", "v").unwrap();
    inner.cleanup().unwrap();
    buffer.update_flags("flags", [FlagOp::SetReadable]).unwrap();
    outer.release().unwrap();
    assert!(!buffer.is_dirty());
    assert_eq!(buffer.len(), 1);
}

/// Rule 12.
#[test]
fn a_persistent_flag_dirties_at_once_in_any_stage() {
    for op in [
        FlagOp::SetLocked,
        FlagOp::SetLockedValueExists,
        FlagOp::SetNeedConstraintCheck,
    ] {
        let buffer = MemBuffer::new();
        let stage = buffer.stage();
        buffer.update_flags("k", [FlagOp::SetReadable]).unwrap();
        assert!(!buffer.is_dirty());
        buffer.update_flags("k", [op]).unwrap();
        assert!(buffer.is_dirty());
        stage.cleanup().unwrap();
        assert!(buffer.is_dirty());
    }
}

#[test]
fn reset_empties_and_keeps_the_limits() {
    let buffer = MemBuffer::builder().key_limit(5).buffer_limit(20).build();
    buffer.set("k", vec![0; 19]).unwrap();
    buffer.reset().unwrap();
    assert_eq!((buffer.len(), buffer.size()), (0, 0));
    assert_eq!(buffer.get_flags("k"), None);
    assert_eq!(buffer.limits().buffer, 20);
    assert!(matches!(
        buffer.set("longer", "v"),
        Err(Error::KeyTooLarge { size: 6, limit: 5 })
    ));
    buffer.set("k", vec![0; 19]).unwrap();
    assert!(buffer.set("l", "v").is_err());
}

/// Rule 1.
#[test]
fn buffer_handles_and_iterators_go_to_other_threads() {
    fn everywhere<T: Send + Sync + 'static>(_: &T) {}
    fn sendable<T: Send + 'static>(_: &T) {}
    let buffer = MemBuffer::new();
    everywhere(&buffer);
    everywhere(&buffer.snapshot());
    sendable(&buffer.stage());
    everywhere(&buffer.savepoint());
    sendable(&buffer.history("k"));
    sendable(&buffer.union_rev::<&[u8], _>(.., Vec::new()));
    sendable(&buffer.range::<&[u8]>(..));
    sendable(&buffer.range_with_flags::<&[u8]>(..));
    sendable(&buffer.snapshot().range::<&[u8]>(..));
    sendable(&buffer.union::<&[u8], _>(.., Vec::new()));
    buffer.set("k", "v").unwrap();
    let scan = buffer.range::<&[u8]>(..);
    let seen = std::thread::spawn(move || scan.count()).join().unwrap();
    assert_eq!(seen, 1);
}

/// Longer than any key that a buffer takes, and than any that a table takes.
fn keys_of_no_buffer() -> [Vec<u8>; 3] {
    [65_536, 1 << 18, (1 << 18) + 1].map(|len| vec![b'k'; len])
}

#[test]
fn a_key_that_is_too_long_is_read_as_absent() {
    let buffer = MemBuffer::new();
    for made in [false, true] {
        for key in keys_of_no_buffer() {
            assert_eq!(buffer.get(&key), None);
            assert_eq!(buffer.get_flags(&key), None);
            assert_eq!(buffer.batch_get([&key[..], b"k"]).len(), usize::from(made));
            assert_eq!(buffer.history(&key).len(), 0);
            assert_eq!(buffer.snapshot().get(&key), None);
        }
        buffer.set("k", "v").unwrap();
    }
}

#[test]
fn a_key_that_is_too_long_bounds_ranges_and_unions() {
    let buffer = MemBuffer::new();
    for key in ["a", "k", "z"] {
        buffer.set(key, "v").unwrap();
    }
    for key in keys_of_no_buffer() {
        let bound = &key[..];
        let keys = |scan: Vec<(bytes::Bytes, Entry)>| -> Vec<_> {
            scan.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(buffer.range(bound..).collect()), ["z"]);
        assert_eq!(keys(buffer.range(..bound).rev().collect()), ["k", "a"]);
        assert_eq!(buffer.range_with_flags(..=bound).count(), 2);
        assert_eq!(buffer.snapshot().range(bound..).count(), 1);
        assert_eq!(buffer.range(bound..=bound).count(), 0);
        let stored = || [(bytes::Bytes::from(key.clone()), "stored".into())];
        assert_eq!(buffer.union(bound.., stored()).count(), 2);
        assert_eq!(buffer.union_rev(..bound, stored()).count(), 2);
    }
}
