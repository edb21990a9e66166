//! Reads: own writes first, then the store.

use super::options::{LockOptions, LockOutcome, Mode};
use super::{Core, Keys, Transaction, all_owned, owned};
use crate::buffer::Entry;
use crate::error::Error;
use bytes::Bytes;
use tracing::Instrument;

impl Transaction {
    /// The value of a key: as written here, else as it was in the store at the start timestamp, also where a
    /// lock has seen a newer one.
    ///
    /// What was read from a store that [wants that](crate::Store::read_cache) is kept, and read again without a request.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::SnapshotTooOld`], [`Error::Store`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        self.core.life.check_open()?;
        self.core.get(key.as_ref()).await
    }

    /// The values of keys, in the order given. Own writes are looked up key by key, not at one instant.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        self.core.life.check_open()?;
        let own = |key: &Bytes| self.core.buffer.get(key);
        self.core.batch_get(all_owned(keys), own).await
    }

    /// Locks keys. From any number of threads at once, with keys that overlap: each is locked once. The
    /// outcomes are in the order of the keys, duplicates answered each. No keys: no request.
    ///
    /// A call that fails gives back exactly the locks that it took; a future that is dropped likewise. But the transaction's first lock, its
    /// primary, by which others learn whether the transaction lives, is held as long as another lock of it is held or asked for:
    /// if its own call fails, it goes with the last of those. Until then it is among [`held_locks`](Self::held_locks), without a flag;
    /// a commit carries it as a lock, and a write of it is checked as one of a key that was not locked.
    ///
    /// In an optimistic transaction the store is not asked for locks: the keys are marked, and checked at commit
    /// against commits since the start.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`] where a key was inserted here and exists; [`Error::LockWaitTimeout`],
    /// [`Error::LockNotAvailable`], [`Error::DeadlineExceeded`], [`Error::Deadlock`];
    /// [`Error::WriteConflict`] and [`Error::InvalidTimestamp`] with a given timestamp; [`Error::Cancelled`];
    /// [`Error::LockLost`]; before any lock is taken [`Error::KeyTooLarge`], [`Error::TxnTooLarge`] and, for options
    /// that do not go together or a key that is locked shared, [`Error::OptionConflict`];
    /// [`Error::TransactionClosed`].
    pub async fn lock_keys<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        let keys = all_owned(keys);
        let span = tracing::debug_span!("lock_keys", start_ts = self.start_ts(), keys = keys.len());
        self.core.lock_keys(keys, &options).instrument(span).await
    }

    /// Locks a key and reads it: as written here, else the newest committed value. An absent key is locked, too: nobody else makes it.
    ///
    /// [`get`](Self::get) answers as of the start timestamp as before, where the key was not written here. This may be asked again, of a key
    /// that is locked already: the answer is the same.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// let other = db.blocking().begin(BeginOptions::default())?;
    /// other.put("k", "newer")?;
    /// other.blocking().commit()?;
    /// let calls = txn.blocking();
    /// assert_eq!(calls.get_for_update("k")?.as_deref(), Some(&b"newer"[..]));
    /// assert_eq!(calls.get("k")?, None);
    /// txn.put("k", "own")?;
    /// assert_eq!(calls.get("k")?, calls.get_for_update("k")?);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// In an optimistic transaction the value is the one at the start timestamp, and commit checks that it is
    /// still the newest.
    ///
    /// # Errors
    ///
    /// Those of [`lock_keys`](Self::lock_keys).
    pub async fn get_for_update(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let values = self.batch_get_for_update([key]).await?;
        Ok(values.into_iter().next().flatten())
    }

    /// [`get_for_update`](Self::get_for_update) of several keys, in the order given.
    ///
    /// # Errors
    ///
    /// Those of [`lock_keys`](Self::lock_keys).
    pub async fn batch_get_for_update<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let keys: Vec<Bytes> = keys.into_iter().map(owned).collect();
        let options = LockOptions {
            return_values: true,
            ..LockOptions::default()
        };
        let outcomes = self.lock_keys(&keys, options).await?;
        Ok(keys
            .iter()
            .zip(outcomes)
            .map(|(key, outcome)| match self.core.buffer.get(key) {
                Some(own) => own.into_value(),
                None => outcome.value,
            })
            .collect())
    }

    /// Whether commit, not the lock, is where conflicts come out.
    pub fn is_optimistic(&self) -> bool {
        self.core.options.mode == Mode::Optimistic
    }
}

impl Core {
    /// The values of keys: those of `own`, else the store's at the start timestamp.
    pub(super) async fn batch_get(
        &self,
        keys: Keys,
        own: impl Fn(&Bytes) -> Option<Entry>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let own: Vec<Option<Entry>> = keys.iter().map(own).collect();
        let asked: Vec<Bytes> = keys
            .into_iter()
            .zip(&own)
            .filter_map(|(key, own)| own.is_none().then_some(key))
            .collect();
        let stored = self.reads.batch_get(self.store(), &asked);
        let stored = stored.await.map_err(|error| self.as_of_now(error))?;
        let mut stored = stored.into_iter();
        let value = |own: Option<Entry>| match own {
            Some(own) => own.into_value(),
            None => stored.next().flatten(),
        };
        Ok(own.into_iter().map(value).collect())
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        match self.buffer.get(key) {
            Some(Entry::Value(value)) => Ok(Some(value)),
            Some(Entry::Tombstone) => Ok(None),
            None => {
                let read = self.reads.get(self.store(), key).await;
                read.map_err(|error| self.as_of_now(error))
            }
        }
    }
}
