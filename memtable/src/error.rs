//! What can go wrong, as values.

use std::alloc::{Layout, handle_alloc_error};

/// Longest key, in bytes: four times 65,535 and a little more, so that an engine can encode a 65,535-byte user key with a suffix.
pub const MAX_KEY_LEN: usize = 1 << 18;

/// Longest value, in bytes (1 GiB).
pub const MAX_VALUE_LEN: usize = 1 << 30;

/// Why a write, or a read of what was pruned, was refused. A refused write changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is longer than [`MAX_KEY_LEN`].
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge {
        /// Length of the key, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The value is longer than [`MAX_VALUE_LEN`].
    #[error("value of {size} bytes is over the limit of {limit}")]
    ValueTooLarge {
        /// Length of the value, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Physical removal in a table whose tags have persistent bits: a key there may only be deleted by tombstone,
    /// because its persistent bits outlive every write.
    #[error("keys with persistent tag bits cannot be removed, only deleted")]
    PersistentTag,
    /// The allocator had no memory for the key and its value.
    #[error("out of memory: {bytes} bytes were not to be had")]
    OutOfMemory {
        /// Size of the allocation, in bytes.
        bytes: usize,
    },
    /// With the write there would be more memory in use than the [`Limits`](crate::Limits) of the set allow. Flush, or wait for room.
    #[error("over the memory limit of {limit} bytes")]
    MemoryLimit {
        /// The hard limit, in bytes.
        limit: u64,
    },
    /// The write alone takes more memory than the [`Limits`](crate::Limits) of the set allow: it will never be taken.
    #[error("a write that takes {size} bytes is over the memory limit of {limit} by itself")]
    WriteTooLarge {
        /// What the write takes, in bytes; see [`Room`](crate::Room).
        size: u64,
        /// The hard limit, in bytes.
        limit: u64,
    },
    /// A batch for a [`MemtableSet`](crate::MemtableSet) sets a key's tag and not its content, which may lie in an older table.
    #[error("a batch for a set of tables has to write the content of each key whose tag it sets")]
    TagAlone,
    /// A batch for a [`SequencedMemtable`](crate::SequencedMemtable) sets a tag, which its versions do not have.
    #[error("versions under sequence numbers have no tags")]
    NoTags,
    /// A read or write below what was pruned from a [`SequencedMemtable`](crate::SequencedMemtable).
    #[error(
        "what is below sequence number {oldest} was pruned: it is neither read nor written any more"
    )]
    Pruned {
        /// The oldest number that may be read and written.
        oldest: u64,
    },
    /// The table is frozen: it takes no write any more. What was to be written is still the caller's, for the next table.
    #[error("the table is frozen")]
    Frozen,
}

/// An allocation that failed.
pub(crate) struct OutOfMemory(pub(crate) Layout);

impl OutOfMemory {
    /// For where a failure cannot be undone.
    pub(crate) fn abort(self) -> ! {
        handle_alloc_error(self.0)
    }
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory(layout): OutOfMemory) -> Error {
        Error::OutOfMemory {
            bytes: layout.size(),
        }
    }
}
