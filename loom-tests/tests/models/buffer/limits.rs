//! S22: the buffer limit under writers at once.

use untorn_loom_tests::{model, spawn};
use untorn_txn::{Error, MemBuffer};

/// A buffer that takes so many bytes.
fn bounded(bytes: usize) -> MemBuffer {
    let buffer = MemBuffer::builder().buffer_limit(bytes).build();
    drop(buffer.clone());
    buffer
}

/// S22. Room for one of two: one of them gets it, and the size never passes the limit.
#[test]
fn s22_room_for_one_of_two() {
    model("buffer_s22_room_for_one_of_two", 4, 130, || {
        let buffer = bounded(6);
        let there = buffer.clone();
        let other = spawn(move || there.set("a", "123"));
        let own = buffer.set("b", "123");
        let size = buffer.size();
        assert!(size <= 6, "{size}");
        let other = other.join().unwrap();
        let refused = |result: &Result<(), Error>| matches!(result, Err(Error::TxnTooLarge { .. }));
        assert!(own.is_ok() != other.is_ok());
        assert!(refused(&own) || refused(&other));
        assert_eq!(buffer.size(), 4);
    });
}

/// S22. What a delete frees is given to others when it is deleted, and not before.
#[test]
fn s22_room_that_a_delete_frees() {
    model("buffer_s22_room_that_a_delete_frees", 4, 400, || {
        let buffer = bounded(5);
        buffer.set("a", "123").unwrap();
        let there = buffer.clone();
        let other = spawn(move || there.delete("a").unwrap());
        let grown = buffer.set("b", "12");
        let size = buffer.size();
        assert!(size <= 5, "{size}");
        other.join().unwrap();
        assert!(grown.is_ok() || buffer.set("b", "12").is_ok());
        assert_eq!(buffer.size(), 4);
    });
}
