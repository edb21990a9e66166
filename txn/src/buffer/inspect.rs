//! Looking at what may be taken back: the versions of a key, and what was written in a stage.

use super::tag::Tag;
use super::{Entry, MemBuffer, Stage};
use crate::error::Error;
use crate::flags::KeyFlags;
use bytes::Bytes;
use std::iter::FusedIterator;

/// What a key held after one of the writes that left something there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its content; `None`: flags only.
    pub entry: Option<Entry>,
    /// Its flags: the persistent ones of now, the others as they were.
    pub flags: KeyFlags,
}

/// Versions of a key, newest first; made by [`MemBuffer::history`].
#[derive(Debug, Clone)]
#[must_use = "iterators do nothing unless they are advanced"]
pub struct History {
    versions: std::vec::IntoIter<untorn_memtable::Entry>,
}

impl Iterator for History {
    type Item = Version;

    fn next(&mut self) -> Option<Version> {
        self.versions.next().map(|entry| Version {
            flags: Tag(entry.tag).flags(),
            entry: Entry::of(entry.kind, entry.value),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.versions.size_hint()
    }
}

impl ExactSizeIterator for History {}

impl FusedIterator for History {}

impl MemBuffer {
    /// The versions of a key that can still be rolled back to, newest first: the current one and,
    /// for each open stage and live savepoint, the one that it would return to, if that is another.
    /// Flag updates make versions too. Where a rollback would leave the key absent, or alive for
    /// its lock alone, there is none.
    ///
    /// Linearizable; the iterator owns what it yields. One lookup, and a walk over the key's
    /// versions and the open stages and savepoints; never waits.
    ///
    /// ```
    /// use untorn_txn::{Entry, MemBuffer};
    ///
    /// # fn main() -> Result<(), untorn_txn::Error> {
    /// let buffer = MemBuffer::new();
    /// buffer.set("k", "settled")?;
    /// let stage = buffer.stage();
    /// buffer.set("k", "overwritten")?;
    /// buffer.set("k", "staged")?;
    /// let savepoint = buffer.savepoint();
    /// buffer.delete("k")?;
    /// let versions: Vec<_> = buffer.history("k").filter_map(|version| version.entry).collect();
    /// let value = |text: &'static str| Entry::Value(text.into());
    /// assert_eq!(versions, [Entry::Tombstone, value("staged"), value("settled")]);
    /// # drop((stage, savepoint));
    /// # Ok(())
    /// # }
    /// ```
    pub fn history(&self, key: impl AsRef<[u8]>) -> History {
        let made = self.made();
        let versions = made.map_or_else(Vec::new, |inner| inner.table.load().history(key));
        History {
            versions: versions.into_iter(),
        }
    }

    /// Calls `f` with the newest write of each key made since the stage was opened, the newest
    /// first: key, content, flags. Tombstones and what was written in inner stages are included,
    /// what was taken back and flag-only updates are not.
    ///
    /// Shows one instant. `f` is called afterwards, with no lock held, and may use the buffer in any
    /// way; what it writes is not shown. Of two writes that overlapped in time either may come
    /// first. Takes time in proportion to the stage's writes, for which writers wait; readers do
    /// not.
    ///
    /// ```
    /// use untorn_txn::MemBuffer;
    ///
    /// # fn main() -> Result<(), untorn_txn::Error> {
    /// let buffer = MemBuffer::new();
    /// buffer.set("before", "1")?;
    /// let stage = buffer.stage();
    /// buffer.set("a", "2")?;
    /// buffer.delete("b")?;
    /// buffer.set("a", "3")?;
    /// let mut keys = Vec::new();
    /// buffer.inspect_stage(&stage, |key, _, _| keys.push(key))?;
    /// assert_eq!(keys, ["a", "b"]);
    /// stage.release()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StageOrder`] if a reset closed the stage, or it is one of another buffer.
    pub fn inspect_stage(
        &self,
        stage: &Stage,
        mut f: impl FnMut(Bytes, Entry, KeyFlags),
    ) -> Result<(), Error> {
        let inner = self.made().ok_or(Error::StageOrder)?;
        let writes = {
            let shut = inner.shut();
            let open = stage.in_table(self, &shut);
            open.and_then(|stage| inner.table.load().stage_writes(stage))
        };
        for write in writes.ok_or(Error::StageOrder)? {
            if let Some(entry) = Entry::of(write.kind, write.value) {
                f(write.key, entry, Tag(write.tag).flags());
            }
        }
        Ok(())
    }
}
