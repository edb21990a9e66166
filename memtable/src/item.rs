//! What a key holds, as it is shown to users.

use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// What a live key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value.
    Value,
    /// A deletion, which hides what lies in the tables below.
    Tombstone,
    /// A tag and no content of its own.
    TagOnly,
}

/// One live key, borrowed from a pinned table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<'g> {
    /// The key.
    pub key: &'g [u8],
    /// What it holds.
    pub kind: Kind,
    /// The value; empty unless `kind` is [`Kind::Value`].
    pub value: &'g [u8],
    /// The tag: 32 bits that mean nothing to the table.
    pub tag: u32,
}

impl<'g> Item<'g> {
    /// The value, if it is one.
    pub(crate) fn into_value(self) -> Option<&'g [u8]> {
        (self.kind == Kind::Value).then_some(self.value)
    }

    /// An owned copy: one allocation for key and value together.
    pub fn to_entry(&self) -> Entry {
        let mut bytes = BytesMut::with_capacity(self.key.len() + self.value.len());
        bytes.extend_from_slice(self.key);
        bytes.extend_from_slice(self.value);
        let mut bytes = bytes.freeze();
        Entry {
            key: bytes.split_to(self.key.len()),
            kind: self.kind,
            value: bytes,
            tag: self.tag,
        }
    }
}

/// One live key, owned.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// What it holds.
    pub kind: Kind,
    /// The value; empty unless `kind` is [`Kind::Value`].
    pub value: Bytes,
    /// The tag.
    pub tag: u32,
}

impl Entry {
    /// The value, if it is one.
    pub(crate) fn into_value(self) -> Option<Bytes> {
        (self.kind == Kind::Value).then_some(self.value)
    }
}

macro_rules! debug_without_value {
    ($($name:ident $(<$life:lifetime>)?),+) => {$(
        impl std::fmt::Debug for $name $(<$life>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("key", &self.key.escape_ascii().to_string())
                    .field("kind", &self.kind)
                    .field("value_len", &self.value.len())
                    .field("tag", &self.tag)
                    .finish()
            }
        }
    )+};
}

debug_without_value!(Item<'_>, Entry);

/// What an [`update`](crate::Memtable::update) makes of a key.
#[derive(Debug, Clone)]
pub enum Update<'v> {
    /// Nothing is written.
    Keep,
    /// The key holds `value` from now on.
    Put {
        /// The value.
        value: Cow<'v, [u8]>,
        /// The whole new tag.
        tag: u32,
    },
    /// The key is deleted: a tombstone hides what lies below.
    Tombstone {
        /// The whole new tag.
        tag: u32,
    },
    /// The key keeps its content and gets this tag; one that was absent becomes [`Kind::TagOnly`]. Copies the value.
    Tag(u32),
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Whether anything was written, were it the same again: false only if an update chose [`Update::Keep`], or a batch is empty.
    pub changed: bool,
    /// Whether the write lies in a stage, which can still take it back.
    pub staged: bool,
}
