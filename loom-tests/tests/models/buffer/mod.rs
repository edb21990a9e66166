//! The transaction buffer: its gate alone, then the real buffer, two threads and about two operations each.
//!
//! The numbers S1 to S22 are those of `memtable`, which models the same scenarios where the buffer has nothing to add.

mod gate;
mod hook;
mod keys;
mod limits;
mod stages;

use untorn_txn::buffer::Stats;
use untorn_txn::{Entry, MemBuffer};

/// A buffer with these keys, each with its value, before any thread starts.
fn buffer(content: &[(&str, &str)]) -> MemBuffer {
    let buffer = MemBuffer::new();
    for (key, value) in content {
        buffer.set(key, value).unwrap();
    }
    // A clone makes the inside, which must not happen under way.
    drop(buffer.clone());
    buffer
}

fn value(text: &'static str) -> Option<Entry> {
    Some(Entry::Value(text.into()))
}

/// At rest: this content and nothing else, by every way to count.
#[track_caller]
fn assert_exact(buffer: &MemBuffer, content: &[(&str, &str)]) {
    let found: Vec<_> = buffer.range::<&str>(..).collect();
    assert_eq!(found.len(), content.len());
    for ((key, entry), (expected, value)) in found.iter().zip(content) {
        assert_eq!(
            (&key[..], &entry.value().unwrap()[..]),
            (expected.as_bytes(), value.as_bytes())
        );
    }
    let size = content
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert_eq!(buffer.stats(), stats(content.len(), size));
}

fn stats(len: usize, size: usize) -> Stats {
    Stats { len, size }
}
