//! Versions as they are shown to users.

use super::encoding::{decode, split};
use super::seen::Live;
use crate::item::{Entry, Item, Kind};
use crate::table::item;
use crate::version::State;
use std::borrow::Cow;

/// One write of a key, under its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The number that the engine gave it.
    pub sequence: u64,
    /// The key and what was written to it.
    pub entry: Entry,
}

/// One write of a key, under its sequence number, borrowed from a pinned table.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionItem<'g> {
    /// The number that the engine gave it.
    pub sequence: u64,
    /// The key: borrowed, unless it has a byte that is zero, which is stored as two; it is then an allocation of its own.
    pub key: Cow<'g, [u8]>,
    /// [`Kind::Value`] or [`Kind::Tombstone`].
    pub kind: Kind,
    /// The value; empty if it is a tombstone.
    pub value: &'g [u8],
}

/// What the version holds, unless that is a tombstone.
pub(super) fn value<'g>((_, version): Live<'g>) -> Option<&'g [u8]> {
    (version.state() == State::Value).then(|| version.value())
}

impl<'g> VersionItem<'g> {
    pub(super) fn new((entry, version): Live<'g>) -> VersionItem<'g> {
        let Item {
            key, kind, value, ..
        } = item(entry, Some(version), 0);
        VersionItem {
            sequence: split(key).1,
            key: decode(key),
            kind,
            value,
        }
    }

    /// An owned copy: one allocation for key and value together.
    pub fn to_version(&self) -> Version {
        let item = Item {
            key: &self.key,
            kind: self.kind,
            value: self.value,
            tag: 0,
        };
        Version {
            sequence: self.sequence,
            entry: item.to_entry(),
        }
    }
}

impl std::fmt::Debug for VersionItem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionItem")
            .field("sequence", &self.sequence)
            .field("key", &self.key.escape_ascii().to_string())
            .field("kind", &self.kind)
            .field("value_len", &self.value.len())
            .finish()
    }
}
