//! What a key of the buffer holds.

use bytes::Bytes;
use untorn_memtable::Kind;

/// What a key holds: bytes, or the mark that it is deleted here.
///
/// The bytes never change once returned, whatever is written, rolled back or dropped afterwards.
/// `Debug` shows their number, not the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The value.
    Value(Bytes),
    /// Deleted here; hides what lies below.
    Tombstone,
}

impl Entry {
    /// The value; `None` for a tombstone.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Entry::Value(value) => Some(value),
            Entry::Tombstone => None,
        }
    }

    /// The value, taken out; `None` for a tombstone.
    pub fn into_value(self) -> Option<Bytes> {
        match self {
            Entry::Value(value) => Some(value),
            Entry::Tombstone => None,
        }
    }

    /// The content of a table's entry; `None` for a key that has flags only.
    pub(super) fn of(kind: Kind, value: Bytes) -> Option<Entry> {
        match kind {
            Kind::Value => Some(Entry::Value(value)),
            Kind::Tombstone => Some(Entry::Tombstone),
            Kind::TagOnly => None,
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Entry::Tombstone => f.write_str("Tombstone"),
        }
    }
}
