//! Limits: what is refused, in which order, and that a refusal changes nothing.
#![allow(clippy::unwrap_used)]

use untorn_txn::buffer::MAX_KEY_LEN;
use untorn_txn::{Error, FlagOp, KeyFlags, MemBuffer};

#[test]
fn the_longest_key_is_taken_and_the_next_refused() {
    let buffer = MemBuffer::new();
    buffer.set(vec![b'k'; MAX_KEY_LEN], "v").unwrap();
    let long = vec![b'k'; MAX_KEY_LEN + 1];
    let limit = MAX_KEY_LEN;
    for refused in [
        buffer.set(&long, "v"),
        buffer.delete(&long),
        buffer.update_flags(&long, [FlagOp::SetLocked]),
    ] {
        assert!(
            matches!(refused, Err(Error::KeyTooLarge { size, limit: l }) if size == limit + 1 && l == limit)
        );
    }
    assert_eq!(buffer.len(), 1);
}

#[test]
fn a_key_limit_above_the_longest_key_is_the_longest_key() {
    let buffer = MemBuffer::builder().key_limit(1 << 20).build();
    assert_eq!(buffer.limits().key, MAX_KEY_LEN);
    buffer.set_key_limit(usize::MAX);
    assert_eq!(buffer.limits().key, MAX_KEY_LEN);
}

/// Rule 2.
#[test]
fn the_entry_limit_binds_values_and_tombstones_not_flags() {
    let buffer = MemBuffer::builder().entry_limit(8).build();
    buffer.set("four", "four").unwrap();
    assert!(matches!(
        buffer.set("four", "five!"),
        Err(Error::EntryTooLarge { size: 9, limit: 8 })
    ));
    buffer.delete("eight888").unwrap();
    assert!(matches!(
        buffer.delete("nine99999"),
        Err(Error::EntryTooLarge { size: 9, limit: 8 })
    ));
    buffer
        .update_flags("nine99999", [FlagOp::SetLocked])
        .unwrap();
    assert_eq!(buffer.len(), 3);
}

/// Rule 2.
#[test]
fn rejections_come_in_order() {
    let buffer = MemBuffer::builder()
        .key_limit(3)
        .entry_limit(5)
        .buffer_limit(4)
        .build();
    assert!(matches!(buffer.set("long", ""), Err(Error::EmptyValue)));
    assert!(matches!(
        buffer.set("long", "value"),
        Err(Error::KeyTooLarge { .. })
    ));
    assert!(matches!(
        buffer.set("key", "value"),
        Err(Error::EntryTooLarge { .. })
    ));
    assert!(matches!(
        buffer.set("key", "va"),
        Err(Error::TxnTooLarge { size: 5, limit: 4 })
    ));
    buffer.set("key", "v").unwrap();
}

/// Rule 12.
#[test]
fn a_refused_write_leaves_key_flags_counts_and_dirt() {
    let buffer = MemBuffer::builder().buffer_limit(10).build();
    let stage = buffer.stage();
    buffer.set("key", "1234567").unwrap();
    let stats = buffer.stats();
    let ops = [FlagOp::SetLocked, FlagOp::SetReadable];
    for refused in [
        buffer.set_with_flags("key", "12345678", ops),
        buffer.set_with_flags("new", "1", ops),
        buffer.delete_with_flags("new", ops),
        buffer.update_flags("new", ops),
    ] {
        assert!(matches!(refused, Err(Error::TxnTooLarge { limit: 10, .. })));
    }
    assert_eq!(buffer.stats(), stats);
    assert_eq!(buffer.get_flags("key"), Some(KeyFlags::empty()));
    assert_eq!(buffer.get_flags("new"), None);
    assert!(!buffer.is_dirty());
    stage.cleanup().unwrap();
    assert_eq!(buffer.size(), 0);
}

/// Rule 3.
#[test]
fn what_does_not_grow_always_passes() {
    let buffer = MemBuffer::new();
    buffer.set("key", vec![0; 97]).unwrap();
    buffer.set_buffer_limit(50);
    buffer.update_flags("key", [FlagOp::SetLocked]).unwrap();
    buffer.set("key", vec![1; 97]).unwrap();
    buffer.set("key", vec![1; 80]).unwrap();
    assert!(matches!(
        buffer.set("key", vec![1; 81]),
        Err(Error::TxnTooLarge {
            size: 84,
            limit: 50
        })
    ));
    buffer.delete("key").unwrap();
    assert_eq!(buffer.size(), 3);
    buffer.set("key", vec![1; 47]).unwrap();
    assert!(buffer.set("k", "v").is_err());
}

/// Rule 3.
#[test]
fn what_does_not_grow_passes_an_entry_limit_that_was_lowered() {
    let buffer = MemBuffer::new();
    buffer.set("key", [0; 97]).unwrap();
    buffer.set_entry_limit(50);
    buffer.set("key", [1; 97]).unwrap();
    buffer.set("key", [1; 60]).unwrap();
    for refused in [buffer.set("key", [2; 61]), buffer.set("new", [2; 60])] {
        let limit = 50;
        assert!(matches!(refused, Err(Error::EntryTooLarge { limit: l, .. }) if l == limit));
    }
    assert_eq!(buffer.size(), 63);
    buffer.delete("key").unwrap();
    buffer.set("key", [3; 47]).unwrap();
    assert!(buffer.set("key", [3; 48]).is_err());
}

#[test]
fn what_does_not_grow_passes_a_key_limit_that_was_lowered() {
    let buffer = MemBuffer::new();
    buffer.set("a long key", "value").unwrap();
    buffer
        .update_flags("another one", [FlagOp::SetLocked])
        .unwrap();
    buffer.set_key_limit(3);
    buffer.set("a long key", "other").unwrap();
    buffer
        .update_flags("another one", [FlagOp::ClearLocked])
        .unwrap();
    for refused in [
        buffer.set("a long key", "longer"),
        buffer.delete("a new key"),
        buffer.update_flags("a new key", []),
    ] {
        assert!(matches!(refused, Err(Error::KeyTooLarge { limit: 3, .. })));
    }
    buffer.delete("a long key").unwrap();
    assert_eq!((buffer.len(), buffer.size()), (2, 21));
}

#[test]
fn a_value_that_no_table_takes_is_refused_by_the_entry_limit() {
    // Of zeros that were never touched, so that it takes no memory.
    let value = vec![0; (1 << 30) + 1];
    let buffer = MemBuffer::new();
    buffer.set("k", "v").unwrap();
    let refused = buffer.set("k", &value);
    assert!(matches!(
        refused,
        Err(Error::EntryTooLarge { size, limit }) if size == limit + 1 && size == value.len() + 1
    ));
    assert_eq!(buffer.size(), 2);
}

#[test]
fn room_comes_back_with_shrinks_and_rollbacks() {
    let buffer = MemBuffer::builder().buffer_limit(20).build();
    buffer.set("a", vec![0; 9]).unwrap();
    let stage = buffer.stage();
    buffer.delete("a").unwrap();
    buffer.set("b", vec![0; 18]).unwrap();
    assert!(buffer.set("c", "v").is_err());
    stage.cleanup().unwrap();
    assert_eq!(buffer.size(), 10);
    buffer.set("b", vec![0; 9]).unwrap();
    assert_eq!(buffer.size(), 20);
}

/// C3.
#[test]
fn a_rollback_that_leaves_a_lock_may_pass_the_limit_and_growth_is_refused() {
    let buffer = MemBuffer::builder().buffer_limit(10).build();
    buffer.set("a", vec![0; 9]).unwrap();
    let stage = buffer.stage();
    buffer.delete("a").unwrap();
    buffer.update_flags("locked", [FlagOp::SetLocked]).unwrap();
    stage.cleanup().unwrap();
    assert_eq!(buffer.size(), 16);
    assert!(matches!(
        buffer.set("b", "v"),
        Err(Error::TxnTooLarge {
            size: 18,
            limit: 10
        })
    ));
    buffer
        .update_flags("locked", [FlagOp::ClearLocked])
        .unwrap();
    buffer.set("a", "v").unwrap();
    assert_eq!(buffer.size(), 8);
}

/// C3.
#[test]
fn a_limit_can_be_taken_off_and_set_again() {
    let buffer = MemBuffer::builder().buffer_limit(4).build();
    assert!(buffer.set("key", "value").is_err());
    buffer.set_buffer_limit(usize::MAX);
    buffer.set("key", "value").unwrap();
    buffer.set_buffer_limit(9);
    buffer.set("k", "").unwrap_err();
    assert!(matches!(
        buffer.set("k", "v"),
        Err(Error::TxnTooLarge { size: 10, limit: 9 })
    ));
    buffer.update_flags("k", []).unwrap();
    assert_eq!(buffer.size(), 9);
}
