//! Writes into the buffer.

use super::register::Known;
use super::{Core, Transaction, owned};
use crate::buffer::{Content, Entry, MemBuffer};
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::sync::MutexGuard;
use smallvec::{SmallVec, smallvec};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

impl Transaction {
    /// Sets the value of a key. One that was given to [`insert`](Self::insert) in this transaction stays presumed absent.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::OptionConflict`] for a key that is locked shared, and those of
    /// [`MemBuffer::set`](crate::MemBuffer::set).
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.put_with_flags(key, value, [])
    }

    /// [`put`](Self::put), and flag operations on the key, in order, at the same instant: no thread sees the value without them,
    /// and what takes the value back takes them back, but for [persistent](crate::flags) ones. Flags without a write are set by
    /// [`MemBuffer::update_flags`](crate::MemBuffer::update_flags) of [`buffer`](Self::buffer).
    ///
    /// ```
    /// use untorn_txn::{AssertionLevel, BeginOptions, Db, Error, FlagOp};
    ///
    /// let db = Db::in_memory();
    /// let options = BeginOptions { assertions: AssertionLevel::Strict, ..Default::default() };
    /// let txn = db.blocking().begin(options)?;
    /// // An UPDATE: the row was read, so it is there.
    /// txn.put_with_flags("row", "new", [FlagOp::SetAssertExist])?;
    /// assert!(matches!(txn.blocking().commit(), Err(Error::AssertionFailed { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put); no flag is changed then.
    pub fn put_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), Content::Value(value.as_ref()));
        self.core.write(key, |buffer| {
            buffer.write_unreported(key, value, ops.as_ref())
        })
    }

    /// Sets the value of a key that is presumed to have none. The store is asked when the key is locked, else
    /// at commit.
    ///
    /// The key stays presumed absent until the transaction ends, also if a lock call fails with [`Error::KeyExists`] and the value
    /// is put anew afterwards. What should be undone with a failed statement goes into a [stage](Self::stage).
    ///
    /// Who deletes the key again in a pessimistic transaction has to lock it before: without a lock nobody asks the store, and the
    /// delete takes away what others committed there. An optimistic transaction asks in any case.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`] at once where the transaction wrote a value itself, or locked the key and saw one;
    /// else those of [`put`](Self::put).
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.insert_with_flags(key, value, [])
    }

    /// [`insert`](Self::insert), and flag operations on the key, as by [`put_with_flags`](Self::put_with_flags); they come behind the
    /// presumption.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert); no flag is changed then.
    pub fn insert_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), Content::Value(value.as_ref()));
        let exists = || Error::KeyExists { key: owned(key) };
        self.core.write(key, |buffer| match buffer.get(key) {
            Some(Entry::Value(_)) => Err(exists()),
            // Deleted here: whatever the store has, the key is free, and what was presumed before stays.
            Some(Entry::Tombstone) => buffer.write_unreported(key, value, ops.as_ref()),
            None => {
                let hold = self.core.register.kept(key);
                if hold.is_some_and(|hold| hold.known == Known::Exists) {
                    return Err(exists());
                }
                let mut all: SmallVec<[FlagOp; 4]> = smallvec![FlagOp::SetPresumeNotExists];
                all.extend_from_slice(ops.as_ref());
                buffer.write_unreported(key, value, &all)
            }
        })
    }

    /// Deletes a key, also one that is not there.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.delete_with_flags(key, [])
    }

    /// [`delete`](Self::delete), and flag operations on the key, as by [`put_with_flags`](Self::put_with_flags).
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put); no flag is changed then.
    pub fn delete_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        ops: impl AsRef<[FlagOp]>,
    ) -> Result<(), Error> {
        let key = key.as_ref();
        self.core.write(key, |buffer| {
            buffer.write_unreported(key, Content::Tombstone, ops.as_ref())
        })
    }
}

impl Core {
    /// One write of a key, in its turn; `write` reports no memory.
    fn write(
        &self,
        key: &[u8],
        write: impl FnOnce(&MemBuffer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check_writable(key)?;
        let turn = self.turn(key);
        let written = write(&self.buffer);
        drop(turn);
        self.buffer.report_memory();
        self.closing(written)
    }

    /// Open, and not locked shared: the lock would have to be upgraded.
    fn check_writable(&self, key: &[u8]) -> Result<(), Error> {
        self.life.check_open()?;
        let flags = self.buffer.get_flags(key).unwrap_or_default();
        if flags.contains(KeyFlags::LOCKED_SHARED) {
            return Err(Error::OptionConflict {
                reason: "the key is locked shared, and locks are not upgraded",
            });
        }
        Ok(())
    }

    /// One writer per stripe of keys.
    pub(super) fn turn(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(key);
        self.stripes[hash as usize % self.stripes.len()].lock()
    }

    pub(super) fn closing(&self, written: Result<(), Error>) -> Result<(), Error> {
        written.map_err(|error| self.as_of_now(error))
    }
}
