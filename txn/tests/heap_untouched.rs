//! What a buffer takes of the heap before it is written: nothing.
#![allow(clippy::unwrap_used)]

use untorn_txn::{Error, FlagOp, MemBuffer};

/// Scans and views of a buffer that was never used.
fn scans_show_nothing(buffer: &MemBuffer) {
    assert_eq!(buffer.range("a".."z").count(), 0);
    assert_eq!(buffer.range("a".."z").rev().count(), 0);
    assert_eq!(buffer.range_with_flags("a"..).count(), 0);
    for view in [buffer.snapshot(), buffer.snapshot_now().clone()] {
        assert_eq!(view.get("k"), None);
        assert_eq!(view.range("a"..="z").rev().count(), 0);
    }
}

/// What a buffer that was never used refuses.
fn refusals_change_nothing(buffer: &MemBuffer) {
    assert!(matches!(buffer.set("k", ""), Err(Error::EmptyValue)));
    static LONG: [u8; 65_536] = [0; 65_536];
    let refused = [
        buffer.set(LONG, "v"),
        buffer.delete(LONG),
        buffer.update_flags(LONG, [FlagOp::SetLocked]),
    ];
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(Error::KeyTooLarge { .. })))
    );
}

#[test]
fn a_buffer_that_is_never_written_owns_no_heap() {
    // Of this thread alone: the test harness has one, too.
    let touched = allocation_counter::measure(|| {
        let buffer = MemBuffer::new();
        assert_eq!((buffer.get("k"), buffer.get_flags("k")), (None, None));
        assert_eq!(
            (buffer.len(), buffer.size(), buffer.is_dirty()),
            (0, 0, false)
        );
        assert_eq!(buffer.batch_get(["k", "l"]).len(), 0);
        assert_eq!(buffer.history("k").len(), 0);
        assert_eq!((buffer.memory().total(), buffer.open_stages()), (0, 0));
        scans_show_nothing(&buffer);
        refusals_change_nothing(&buffer);
        buffer.reset().unwrap();
        buffer.clear_memory_hook();
        buffer.compact();
        assert_eq!(buffer.limits().buffer, usize::MAX);
    });
    assert_eq!((touched.count_total, touched.count_current), (0, 0));
}
