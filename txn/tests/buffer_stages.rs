//! Stages: nesting, order, dropped handles, and what a rollback leaves.
#![allow(clippy::unwrap_used)]

use untorn_txn::buffer::StageOrder;
use untorn_txn::{Entry, Error, FlagOp, KeyFlags, MemBuffer};

fn keys(buffer: &MemBuffer) -> Vec<String> {
    buffer
        .range_with_flags::<&[u8]>(..)
        .map(|(key, ..)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

#[test]
fn cleanup_takes_back_values_tombstones_and_flags() {
    let buffer = MemBuffer::new();
    buffer
        .set_with_flags("a", "old", [FlagOp::SetReadable])
        .unwrap();
    buffer.set("b", "old").unwrap();
    let before = buffer.stats();
    let stage = buffer.stage();
    buffer
        .set_with_flags("a", "new", [FlagOp::SetNewlyInserted])
        .unwrap();
    buffer.delete("b").unwrap();
    buffer.set("c", "new").unwrap();
    buffer
        .update_flags("d", [FlagOp::SetPresumeNotExists])
        .unwrap();
    assert_eq!(keys(&buffer), ["a", "b", "c", "d"]);
    stage.cleanup().unwrap();
    assert_eq!(keys(&buffer), ["a", "b"]);
    assert_eq!(buffer.get("a"), Some(Entry::Value("old".into())));
    assert_eq!(buffer.get_flags("a"), Some(KeyFlags::READABLE));
    assert_eq!(buffer.get("b"), Some(Entry::Value("old".into())));
    assert_eq!(buffer.get_flags("d"), None);
    assert_eq!(buffer.stats(), before);
}

#[test]
fn overwrites_of_equal_length_are_taken_back_too() {
    let buffer = MemBuffer::new();
    buffer.set("k", "aaaa").unwrap();
    let stage = buffer.stage();
    for value in ["bbbb", "cccc", "dddd"] {
        buffer.set("k", value).unwrap();
    }
    stage.cleanup().unwrap();
    assert_eq!(buffer.get("k"), Some(Entry::Value("aaaa".into())));
}

#[test]
fn released_inner_writes_go_with_the_outer_stage() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    buffer.set("a", "1").unwrap();
    let inner = buffer.stage();
    buffer.set("a", "2").unwrap();
    buffer.set("b", "2").unwrap();
    inner.release().unwrap();
    assert_eq!(buffer.len(), 2);
    outer.cleanup().unwrap();
    assert_eq!(buffer.len(), 0);
}

#[test]
fn inner_cleanup_leaves_the_outer_writes() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    buffer.set("a", "1").unwrap();
    let inner = buffer.stage();
    buffer.set("a", "2").unwrap();
    inner.cleanup().unwrap();
    assert_eq!(buffer.get("a"), Some(Entry::Value("1".into())));
    outer.release().unwrap();
    assert_eq!(buffer.get("a"), Some(Entry::Value("1".into())));
    assert_eq!(buffer.open_stages(), 0);
}

#[test]
fn three_hundred_nested_stages_close_from_within() {
    let buffer = MemBuffer::new();
    let mut open = Vec::new();
    for depth in 0..300u32 {
        open.push(buffer.stage());
        buffer.set("depth", depth.to_be_bytes()).unwrap();
    }
    for depth in (1..300u32).rev() {
        open.pop().unwrap().cleanup().unwrap();
        let below = (depth - 1).to_be_bytes().to_vec();
        assert_eq!(buffer.get("depth"), Some(Entry::Value(below.into())));
    }
    drop(open);
    assert_eq!(buffer.get("depth"), None);
}

#[test]
fn a_thousand_nested_stages_may_be_dropped_from_without() {
    let buffer = MemBuffer::new();
    buffer.set("depth", "none").unwrap();
    let open: Vec<_> = (0..1_000_u32)
        .map(|depth| {
            let stage = buffer.stage();
            buffer.set("depth", depth.to_be_bytes()).unwrap();
            stage
        })
        .collect();
    assert_eq!(buffer.open_stages(), 1_000);
    // A vector drops the outermost first: each dooms its stage, and the last takes them all along.
    drop(open);
    assert_eq!(buffer.open_stages(), 0);
    assert_eq!(buffer.get("depth"), Some(Entry::Value("none".into())));
}

/// So deep that whatever looks at all of the stack, or at all versions of the key, at each step does not come to its end.
const DEEP: u32 = 20_000;

/// Opens stages in each other, with a write of one key in each.
fn nested(buffer: &MemBuffer) -> Vec<untorn_txn::buffer::Stage> {
    buffer.set("depth", "none").unwrap();
    let open = |depth: u32| {
        let stage = buffer.stage();
        buffer.set("depth", depth.to_be_bytes()).unwrap();
        stage
    };
    (0..DEEP).map(open).collect()
}

fn depth(depth: u32) -> Option<Entry> {
    Some(Entry::Value(depth.to_be_bytes().to_vec().into()))
}

#[test]
fn twenty_thousand_stages_are_cleaned_up_from_within_one_by_one() {
    let buffer = MemBuffer::new();
    let mut open = nested(&buffer);
    for below in (0..DEEP - 1).rev() {
        open.pop().unwrap().cleanup().unwrap();
        assert_eq!(buffer.get("depth"), depth(below));
    }
    open.pop().unwrap().cleanup().unwrap();
    assert_eq!(buffer.get("depth"), Some(Entry::Value("none".into())));
    buffer.compact();
    // But for the version that is on top of what is left.
    assert!(buffer.memory().superseded < 100, "{:?}", buffer.memory());
}

#[test]
fn twenty_thousand_stages_are_released_from_within_one_by_one() {
    let buffer = MemBuffer::new();
    let mut open = nested(&buffer);
    assert_eq!(
        buffer.snapshot().get("depth"),
        Some(Entry::Value("none".into()))
    );
    while let Some(stage) = open.pop() {
        stage.release().unwrap();
        assert_eq!(buffer.get("depth"), depth(DEEP - 1));
    }
    buffer.compact();
    // But for the oldest version, whose bytes lie with the key.
    assert!(buffer.memory().superseded < 100, "{:?}", buffer.memory());
    assert_eq!(buffer.history("depth").len(), 1);
}

#[test]
fn twenty_thousand_stages_fall_with_the_innermost_when_all_are_doomed() {
    let buffer = MemBuffer::new();
    drop(nested(&buffer));
    assert_eq!(buffer.open_stages(), 0);
    assert_eq!(buffer.get("depth"), Some(Entry::Value("none".into())));
}

#[test]
fn stages_that_write_nothing_reclaim_what_was_taken_back() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    for key in 0..100_u32 {
        buffer.set(key.to_be_bytes(), [0; 100]).unwrap();
    }
    stage.cleanup().unwrap();
    assert!(buffer.memory().superseded > 10_000);
    for _ in 0..60 {
        buffer.stage().release().unwrap();
    }
    assert_eq!(buffer.memory().superseded, 0);
}

/// C4.
#[test]
fn closing_out_of_order_gives_the_handle_back_and_changes_nothing() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    buffer.set("a", "1").unwrap();
    let inner = buffer.stage();
    buffer.set("b", "1").unwrap();
    let refused: StageOrder = outer.cleanup().unwrap_err();
    assert_eq!((buffer.len(), buffer.open_stages()), (2, 2));
    let refused: StageOrder = refused.into_stage().release().unwrap_err();
    inner.release().unwrap();
    refused.into_stage().release().unwrap();
    assert_eq!((buffer.len(), buffer.open_stages()), (2, 0));
}

#[test]
fn a_stage_order_error_that_is_converted_dooms_its_stage() {
    fn close(stage: untorn_txn::buffer::Stage) -> Result<(), Error> {
        stage.release()?;
        Ok(())
    }
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    buffer.set("a", "1").unwrap();
    let inner = buffer.stage();
    assert!(matches!(close(outer), Err(Error::StageOrder)));
    assert_eq!(buffer.len(), 1);
    inner.release().unwrap();
    assert_eq!((buffer.len(), buffer.open_stages()), (0, 0));
}

#[test]
fn a_dropped_handle_cleans_up() {
    let buffer = MemBuffer::new();
    {
        let _stage = buffer.stage();
        buffer.set("k", "v").unwrap();
    }
    assert_eq!((buffer.len(), buffer.open_stages()), (0, 0));
}

/// Rule 10.
#[test]
fn a_dropped_outer_handle_falls_when_it_becomes_innermost() {
    for release in [true, false] {
        let buffer = MemBuffer::new();
        buffer.set("base", "v").unwrap();
        let outer = buffer.stage();
        buffer.set("outer", "v").unwrap();
        let inner = buffer.stage();
        buffer.set("inner", "v").unwrap();
        drop(outer);
        assert_eq!(keys(&buffer), ["base", "inner", "outer"]);
        buffer.set("later", "v").unwrap();
        if release {
            inner.release().unwrap();
        } else {
            inner.cleanup().unwrap();
        }
        assert_eq!(keys(&buffer), ["base"]);
        assert_eq!(buffer.open_stages(), 0);
    }
}

/// Rule 10.
#[test]
fn doomed_stages_in_a_row_fall_together_and_spare_the_one_outside() {
    let buffer = MemBuffer::new();
    let first = buffer.stage();
    buffer.set("first", "v").unwrap();
    let second = buffer.stage();
    buffer.set("second", "v").unwrap();
    let third = buffer.stage();
    buffer.set("third", "v").unwrap();
    let fourth = buffer.stage();
    drop(second);
    drop(third);
    assert_eq!(buffer.open_stages(), 4);
    fourth.release().unwrap();
    assert_eq!(keys(&buffer), ["first"]);
    assert_eq!(buffer.open_stages(), 1);
    first.release().unwrap();
    assert!(buffer.is_dirty());
}

#[test]
fn persistent_flags_survive_and_keep_the_key_alive() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    let ops = [
        FlagOp::SetLocked,
        FlagOp::SetLockedValueExists,
        FlagOp::SetPresumeNotExists,
    ];
    buffer.set_with_flags("key", "value", ops).unwrap();
    stage.cleanup().unwrap();
    assert_eq!(buffer.get("key"), None);
    let left = KeyFlags::LOCKED | KeyFlags::LOCKED_VALUE_EXISTS;
    assert_eq!(buffer.get_flags("key"), Some(left));
    assert_eq!((buffer.len(), buffer.size()), (1, 3));
    assert_eq!(buffer.range::<&[u8]>(..).count(), 0);
    assert_eq!(keys(&buffer), ["key"]);
}

/// From no flags and from all of them.
#[test]
fn a_rollback_leaves_of_each_flag_operation_what_it_did_to_persistent_flags() {
    for op in FlagOp::ALL {
        for before in [KeyFlags::empty(), KeyFlags::all()] {
            let buffer = MemBuffer::new();
            let set_all = FlagOp::ALL.iter().filter(|op| !op.effect().0.is_empty());
            let ops: Vec<_> = set_all.copied().filter(|_| !before.is_empty()).collect();
            buffer.set_with_flags("k", "v", &ops).unwrap();
            let before = buffer.get_flags("k").unwrap();
            let stage = buffer.stage();
            buffer.update_flags("k", [op]).unwrap();
            let after = buffer.get_flags("k").unwrap();
            assert_eq!(after, op.apply(before));
            stage.cleanup().unwrap();
            let persistent = KeyFlags::PERSISTENT;
            let left = (before - persistent) | (after & persistent);
            assert_eq!(buffer.get_flags("k"), Some(left), "{op:?} on {before:?}");
        }
    }
}

#[test]
fn a_persistent_flag_that_was_cleared_again_keeps_nothing_alive() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    buffer
        .set_with_flags("key", "value", [FlagOp::SetLocked])
        .unwrap();
    buffer.update_flags("key", [FlagOp::ClearLocked]).unwrap();
    stage.cleanup().unwrap();
    assert_eq!(buffer.get_flags("key"), None);
    assert_eq!((buffer.len(), buffer.size()), (0, 0));
}

#[test]
fn a_flag_update_without_effect_keeps_a_key_that_lived_by_its_lock() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    buffer
        .set_with_flags("key", "value", [FlagOp::SetLocked])
        .unwrap();
    stage.cleanup().unwrap();
    buffer.update_flags("key", []).unwrap();
    let stage = buffer.stage();
    buffer.update_flags("key", [FlagOp::ClearLocked]).unwrap();
    stage.cleanup().unwrap();
    assert_eq!(buffer.get_flags("key"), Some(KeyFlags::empty()));
}

/// C2.
#[test]
fn a_write_that_is_taken_back_gives_the_constraint_check_back() {
    let buffer = MemBuffer::new();
    buffer
        .set_with_flags("k", "1", [FlagOp::SetNeedConstraintCheck])
        .unwrap();
    let stage = buffer.stage();
    buffer.set("k", "2").unwrap();
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::empty()));
    stage.cleanup().unwrap();
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::NEED_CONSTRAINT_CHECK));
    let stage = buffer.stage();
    buffer
        .update_flags("k", [FlagOp::ClearNeedConstraintCheck])
        .unwrap();
    stage.cleanup().unwrap();
    assert_eq!(buffer.get_flags("k"), Some(KeyFlags::empty()));
}

/// Rule 10.
#[test]
fn reset_closes_every_stage() {
    let buffer = MemBuffer::new();
    let outer = buffer.stage();
    let inner = buffer.stage();
    buffer.set("k", "v").unwrap();
    buffer.reset().unwrap();
    assert_eq!(buffer.open_stages(), 0);
    buffer.set("after", "v").unwrap();
    drop(inner);
    assert_eq!(keys(&buffer), ["after"]);
    let fresh = buffer.stage();
    buffer.set("fresh", "v").unwrap();
    let refused = outer.cleanup().unwrap_err();
    drop(refused);
    assert_eq!(keys(&buffer), ["after", "fresh"]);
    fresh.cleanup().unwrap();
    assert_eq!(keys(&buffer), ["after"]);
}

/// Rules 1 and 8.
#[test]
fn a_stage_opened_here_is_closed_in_another_thread() {
    let buffer = MemBuffer::new();
    let stage = buffer.stage();
    buffer.set("k", "v").unwrap();
    std::thread::spawn(move || stage.cleanup().unwrap())
        .join()
        .unwrap();
    assert_eq!(buffer.len(), 0);
}

#[test]
fn a_snapshot_shows_what_was_before_the_outermost_stage() {
    let buffer = MemBuffer::new();
    buffer.set("a", "1").unwrap();
    buffer.delete("b").unwrap();
    let outer = buffer.stage();
    buffer.set("a", "2").unwrap();
    let inner = buffer.stage();
    buffer.set("c", "2").unwrap();
    let before = buffer.snapshot();
    let now = buffer.snapshot_now();
    inner.cleanup().unwrap();
    outer.cleanup().unwrap();
    buffer.reset().unwrap();
    let shown = |view: &untorn_txn::buffer::BufferSnapshot| -> Vec<_> {
        view.range::<&[u8]>(..)
            .map(|(key, entry)| (key.to_vec(), entry))
            .collect()
    };
    let a = |value: &'static str| (b"a".to_vec(), Entry::Value(value.into()));
    let b = (b"b".to_vec(), Entry::Tombstone);
    let c = (b"c".to_vec(), Entry::Value("2".into()));
    assert_eq!(shown(&before), [a("1"), b.clone()]);
    assert_eq!(shown(&now), [a("2"), b, c]);
    assert_eq!(before.get("a"), Some(Entry::Value("1".into())));
    assert_eq!(before.get("c"), None);
    let mut back: Vec<_> = now.range("b"..).rev().map(|(key, _)| key).collect();
    back.reverse();
    assert_eq!(back, ["b", "c"]);
}

#[test]
fn a_snapshot_without_a_stage_is_the_present_and_stays() {
    let buffer = MemBuffer::new();
    buffer.set("a", "1").unwrap();
    let view = buffer.snapshot();
    buffer.set("a", "2").unwrap();
    buffer.set("b", "2").unwrap();
    assert_eq!(view.get("a"), Some(Entry::Value("1".into())));
    assert_eq!(view.get("b"), None);
    assert_eq!(view.range::<&[u8]>(..).count(), 1);
}
