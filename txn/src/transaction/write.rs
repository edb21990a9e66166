//! Writes into the buffer.

use super::register::Known;
use super::{Core, Transaction, owned};
use crate::buffer::Entry;
use crate::error::Error;
use crate::flags::{FlagOp, KeyFlags};
use crate::sync::MutexGuard;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

impl Transaction {
    /// Sets the value of a key. One that was given to [`insert`](Self::insert) in this transaction stays presumed absent.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::OptionConflict`] for a key that is locked shared, and those of
    /// [`MemBuffer::set`](crate::MemBuffer::set).
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = key.as_ref();
        self.core.check_writable(key)?;
        let _turn = self.core.turn(key);
        self.core.closing(self.core.buffer.set(key, value))
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
        let key = key.as_ref();
        self.core.check_writable(key)?;
        let _turn = self.core.turn(key);
        let exists = || Error::KeyExists { key: owned(key) };
        let written = match self.core.buffer.get(key) {
            Some(Entry::Value(_)) => return Err(exists()),
            // Deleted here: whatever the store has, the key is free, and what was presumed before stays.
            Some(Entry::Tombstone) => self.core.buffer.set(key, value),
            None => {
                let hold = self.core.register.kept(key);
                if hold.is_some_and(|hold| hold.known == Known::Exists) {
                    return Err(exists());
                }
                self.core
                    .buffer
                    .set_with_flags(key, value, [FlagOp::SetPresumeNotExists])
            }
        };
        self.core.closing(written)
    }

    /// Deletes a key, also one that is not there.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = key.as_ref();
        self.core.check_writable(key)?;
        let _turn = self.core.turn(key);
        self.core.closing(self.core.buffer.delete(key))
    }
}

impl Core {
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
