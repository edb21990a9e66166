//! The writes of a batch, one after another: what a log has to hold to make the batch anew.

use super::write_batch::{List, What, Write, WriteBatch};
use std::iter::FusedIterator;
use std::slice;

/// One write of a [`WriteBatch`], from [`WriteBatch::iter`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BatchWrite<'b> {
    /// See [`WriteBatch::put`].
    Put {
        /// The key.
        key: &'b [u8],
        /// Its value from then on.
        value: &'b [u8],
    },
    /// See [`WriteBatch::delete`].
    Delete {
        /// The key.
        key: &'b [u8],
    },
    /// See [`WriteBatch::tag`].
    Tag {
        /// The key.
        key: &'b [u8],
        /// Its tag from then on.
        tag: u32,
    },
}

impl<'b> BatchWrite<'b> {
    /// The key that is written.
    pub fn key(&self) -> &'b [u8] {
        match *self {
            BatchWrite::Put { key, .. }
            | BatchWrite::Delete { key }
            | BatchWrite::Tag { key, .. } => key,
        }
    }

    fn of(list: &'b List, write: Write) -> BatchWrite<'b> {
        let key = list.part(write.key);
        match write.what {
            What::Put(value) => BatchWrite::Put {
                key,
                value: list.part(value),
            },
            What::Delete => BatchWrite::Delete { key },
            What::Tag(tag) => BatchWrite::Tag { key, tag },
        }
    }
}

impl std::fmt::Debug for BatchWrite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key().escape_ascii().to_string();
        match self {
            BatchWrite::Put { value, .. } => f
                .debug_struct("Put")
                .field("key", &key)
                .field("value_len", &value.len())
                .finish(),
            BatchWrite::Delete { .. } => f.debug_struct("Delete").field("key", &key).finish(),
            BatchWrite::Tag { tag, .. } => f
                .debug_struct("Tag")
                .field("key", &key)
                .field("tag", tag)
                .finish(),
        }
    }
}

/// The writes of a batch in the order in which they were added, from [`WriteBatch::iter`].
#[derive(Clone)]
pub struct BatchWrites<'b> {
    list: &'b List,
    left: slice::Iter<'b, Write>,
}

impl<'b> Iterator for BatchWrites<'b> {
    type Item = BatchWrite<'b>;

    fn next(&mut self) -> Option<BatchWrite<'b>> {
        let write = self.left.next()?;
        Some(BatchWrite::of(self.list, *write))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl DoubleEndedIterator for BatchWrites<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let write = self.left.next_back()?;
        Some(BatchWrite::of(self.list, *write))
    }
}

impl ExactSizeIterator for BatchWrites<'_> {}

impl FusedIterator for BatchWrites<'_> {}

impl std::fmt::Debug for BatchWrites<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl WriteBatch {
    /// The writes in the order in which they were added, several of one key each: what a log has to hold. Of them
    /// [`collect`](Iterator::collect) makes a batch that does the same.
    ///
    /// ```
    /// use untorn_memtable::{BatchWrite, WriteBatch};
    /// let mut batch = WriteBatch::new();
    /// batch.put("alice", "70").delete("carol").tag("alice", 3);
    /// let mut log: Vec<u8> = Vec::new();
    /// for write in &batch {
    ///     let (kind, key, rest) = match write {
    ///         BatchWrite::Put { key, value } => (b'p', key, value),
    ///         BatchWrite::Delete { key } => (b'd', key, &[][..]),
    ///         BatchWrite::Tag { key, tag } => (b't', key, &tag.to_le_bytes()[..]),
    ///     };
    ///     log.push(kind);
    ///     for bytes in [key, rest] {
    ///         log.extend((bytes.len() as u32).to_le_bytes());
    ///         log.extend(bytes);
    ///     }
    /// }
    /// # assert_eq!(log.len(), 3 * 9 + batch.size() + 4);
    /// let again: WriteBatch = batch.iter().collect();
    /// assert!(again.iter().eq(&batch));
    /// ```
    pub fn iter(&self) -> BatchWrites<'_> {
        let list = self.list();
        BatchWrites {
            list,
            left: list.writes.iter(),
        }
    }
}

impl<'b> IntoIterator for &'b WriteBatch {
    type Item = BatchWrite<'b>;
    type IntoIter = BatchWrites<'b>;

    fn into_iter(self) -> BatchWrites<'b> {
        self.iter()
    }
}

impl<'b> Extend<BatchWrite<'b>> for WriteBatch {
    fn extend<I: IntoIterator<Item = BatchWrite<'b>>>(&mut self, writes: I) {
        for write in writes {
            match write {
                BatchWrite::Put { key, value } => self.put(key, value),
                BatchWrite::Delete { key } => self.delete(key),
                BatchWrite::Tag { key, tag } => self.tag(key, tag),
            };
        }
    }
}

impl<'b> FromIterator<BatchWrite<'b>> for WriteBatch {
    fn from_iter<I: IntoIterator<Item = BatchWrite<'b>>>(writes: I) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.extend(writes);
        batch
    }
}
