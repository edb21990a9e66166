//! A transaction that may be larger than memory.
//!
//! Its writes go into a [`PipelinedBuffer`]. Whenever that has grown over its thresholds, what was written is frozen as a
//! *generation* and flushed to the store in the background, while writing goes on: it is locked, checked for conflicts
//! and put down there, where nobody else sees it. Commit flushes the rest and decides for all of it at one instant. So
//! memory holds two generations at most, one that is written and one that is flushed, however much is written.
//!
//! ```text
//!   put, insert, delete ---> active part --due--> frozen ---> Store::flush(1), (2), ..
//!   get  <--- active part, else the frozen one, else Store::flushed, else the store at start_ts
//!   commit ---> flush of the rest ---> Store::commit      rollback, drop ---> Store::rollback
//! ```
//!
//! # What changes, and who changes it
//!
//! What it has in common with every transaction, and the same code for: the life word, the gate, heartbeats, the decision,
//! what is done about a store that does not answer. What is different:
//!
//! - The buffer closes instead of the [`MemBuffer`](crate::MemBuffer), in the same step: a write that races with commit or
//!   rollback is in a generation or is refused.
//! - The register has no locks. It has the primary, a key of the first generation that leaves something: settled by
//!   that flush before it is sent, and named by every later one.
//! - Heartbeats begin with the first flush and end with the transaction, since what was flushed is locked until then.
//! - What was sent is counted in [`Sent`], by the flushes, one at a time.
//!
//! # Failure
//!
//! A generation is sent again while the store may get over its failure, which changes nothing if it had arrived. One that
//! fails for good ends all flushing: the next write that a flush is due for gets the error, and so does commit, which rolls
//! back. Writes in between are taken (rule 18). A flush that waits for a lock when the transaction is rolled back or dropped is
//! told to stop, and what it had put down is taken back; one that comes later is refused by the store.
//!
//! # What is not there
//!
//! Savepoints, snapshots, ranges, history, inspection: they would need what was flushed (C6). Locks and fair mode: it is optimistic,
//! and a conflict is found by the flush. Mutation filters, because what is skipped could not be read back; flags, and with
//! them assertions, which are not kept for what was flushed.

mod blocking;
mod commit;
mod options;
mod writes;

pub use blocking::BlockingPipelinedTransaction;
pub use options::PipelinedOptions;
pub(super) use writes::Writes;

use super::{CommitInfo, CommitOptions, Core};
use crate::buffer::{Entry, PipelinedBuffer, Stage, Stats};
use crate::db::Shared;
use crate::error::{Error, TxnState};
use crate::flags::FlagOp;
use crate::store::{Timestamp, TxnStatus};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A handle on a transaction whose writes go to the store as it goes on; made by
/// [`Db::begin_pipelined`](crate::Db::begin_pipelined). A clone is the same transaction.
///
/// Writes are async, because they may wait for a flush. When the last handle on an open one is dropped it is rolled back.
///
/// ```
/// use untorn_txn::{Db, Error, PipelinedOptions};
///
/// let db = Db::in_memory();
/// let options = PipelinedOptions { min_keys: 1_000, min_bytes: 16_000, ..Default::default() };
/// let txn = db.blocking().begin_pipelined(options)?;
/// let calls = txn.blocking();
/// for n in 0..10_000_u32 {
///     calls.put(n.to_be_bytes(), "a value of some length")?;
/// }
/// // Flushed long ago, read back from the store; nobody else sees it.
/// assert!(calls.get(7_u32.to_be_bytes())?.is_some());
/// assert_eq!(db.blocking().snapshot()?.blocking().get(7_u32.to_be_bytes())?, None);
///
/// let info = calls.commit()?;
/// assert_eq!(info.keys, 10_000);
/// assert!(info.generations >= 9);
/// assert!(db.blocking().snapshot()?.blocking().get(7_u32.to_be_bytes())?.is_some());
/// # Ok::<(), Error>(())
/// ```
///
/// # Consistency and cost
///
/// Isolation is snapshot isolation, as for every [`Transaction`](crate::Transaction).
///
/// | operation | promise | cost, waiting |
/// |---|---|---|
/// | `get`, `batch_get` | own write, else the snapshot; own writes key by key | two parts, then the store: once for what was flushed, once for the rest |
/// | `put`, `delete` | linearizable, of one key | that of the buffer; waits for the flush under way if the next one is due |
/// | `insert` | linearizable beside `put`, `insert` and `delete` of the transaction | besides, asks the store for what was flushed |
/// | `len`, `size`, `stats` | linearizable; over all generations, a key written again counts again | those of the buffer |
/// | `commit` | one instant for all readers | flushes the rest; the store takes time in proportion to all that was written |
#[derive(Clone)]
pub struct PipelinedTransaction {
    core: Arc<Core>,
}

impl PipelinedTransaction {
    pub(crate) fn new(
        db: Arc<Shared>,
        start_ts: Timestamp,
        owner: Arc<()>,
        options: PipelinedOptions,
    ) -> Self {
        let core = Arc::new_cyclic(|core| {
            let writes = Writes::new(&db, core, start_ts, &options);
            Core::new(db, start_ts, owner, options.of_any(), Some(writes))
        });
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where its writes are until they are flushed.
    fn buffer(&self) -> &PipelinedBuffer {
        &self.writes().buffer
    }

    fn writes(&self) -> &Writes {
        let writes = self.core.pipelined.as_ref();
        writes.expect("it is made with them")
    }

    /// The timestamp that names the transaction and that it reads at.
    pub fn start_ts(&self) -> Timestamp {
        self.core.start_ts
    }

    /// How far it has come.
    pub fn state(&self) -> TxnState {
        self.core.life.state()
    }

    /// The same methods, parking the thread instead of giving futures.
    pub fn blocking(&self) -> BlockingPipelinedTransaction<'_> {
        BlockingPipelinedTransaction::new(self)
    }

    /// The value of a key: as written here, flushed or not, else as it was in the store at the start timestamp.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::LockLost`], [`Error::SnapshotTooOld`], [`Error::Store`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let mut values = self.batch_get([key]).await?;
        Ok(values.pop().flatten())
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
        let keys = super::all_owned(keys);
        let own = self.buffer().batch_get(&keys).await;
        let own = own.map_err(|error| self.refused(error))?;
        let is_asked = |key: &&Bytes| !own.contains_key(*key);
        let asked: Vec<Bytes> = keys.iter().filter(is_asked).cloned().collect();
        let mut stored = BTreeMap::new();
        if !asked.is_empty() {
            // Its end takes away what was flushed: what is missing then may have been written.
            self.core.life.check_open()?;
            let answer = self.core.reads.batch_get(self.core.store(), &asked);
            let values = answer.await.map_err(|error| self.core.as_of_now(error))?;
            stored.extend(asked.into_iter().zip(values));
        }
        let value = |key: &Bytes| match own.get(key) {
            Some(own) => own.clone().into_value(),
            None => stored.get(key).cloned().flatten(),
        };
        Ok(keys.iter().map(value).collect())
    }

    /// Sets the value of a key. Waits for the flush under way if the next one is due.
    ///
    /// # Errors
    ///
    /// That of a flush that failed, if the next one is due; [`Error::TransactionClosed`], and those of
    /// [`MemBuffer::set`](crate::MemBuffer::set). Nothing is written then.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.core.life.check_open()?;
        let written = self.buffer().write(|active| {
            let _turn = self.core.turn(key);
            active.set(key, value)
        });
        written.await.map_err(|error| self.refused(error))
    }

    /// Deletes a key, also one that is not there.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = key.as_ref();
        self.core.life.check_open()?;
        let written = self.buffer().write(|active| {
            let _turn = self.core.turn(key);
            active.delete(key)
        });
        written.await.map_err(|error| self.refused(error))
    }

    /// Sets the value of a key that is presumed to have none, which the flush checks.
    ///
    /// # Errors
    ///
    /// [`Error::KeyExists`] at once where the transaction wrote a value itself, flushed or not; else those of
    /// [`put`](Self::put).
    pub async fn insert(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.core.life.check_open()?;
        let written = self.buffer().write_over(key, |active, older| {
            let _turn = self.core.turn(key);
            match active.get(key).or(older) {
                Some(Entry::Value(_)) => Err(Error::KeyExists {
                    key: super::owned(key),
                }),
                // Deleted here: whatever the store has, the key is free.
                Some(Entry::Tombstone) => active.set(key, value),
                None => active.set_with_flags(key, value, [FlagOp::SetPresumeNotExists]),
            }
        });
        written.await.map_err(|error| self.refused(error))
    }

    /// Opens a stage within the innermost open one. While one is open no flush begins, whatever is written.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn stage(&self) -> Result<Stage, Error> {
        self.core.life.check_open()?;
        Ok(self.buffer().stage())
    }

    /// Begins to flush what was written since the last flush, however little, after waiting for the one under way. False if there is
    /// nothing.
    ///
    /// # Errors
    ///
    /// That of a flush that failed; [`Error::StageOpen`] while a stage is open; [`Error::TransactionClosed`].
    pub async fn flush(&self) -> Result<bool, Error> {
        self.core.life.check_open()?;
        let begun = self.buffer().flush().await;
        begun.map_err(|error| self.refused(error))
    }

    /// Waits for the flush under way, if there is one.
    ///
    /// # Errors
    ///
    /// That of a flush that failed, now or before; [`Error::TransactionClosed`].
    pub async fn flush_wait(&self) -> Result<(), Error> {
        self.core.life.check_open()?;
        let ended = self.buffer().flush_wait().await;
        ended.map_err(|error| self.refused(error))
    }

    /// Makes all writes visible at one instant: flushes what is left, and decides. Otherwise as
    /// [`Transaction::commit`](crate::Transaction::commit).
    ///
    /// # Errors
    ///
    /// [`Error::StageOpen`] while a stage is open: nothing is sent, the transaction stays open. That of a flush that failed,
    /// now or before: [`Error::WriteConflict`], [`Error::KeyExists`] for an insert, those of a lock wait, [`Error::Store`];
    /// it is rolled back. [`Error::LockLost`], [`Error::LogFailed`], [`Error::Undetermined`],
    /// [`Error::TransactionClosed`].
    pub async fn commit(&self) -> Result<CommitInfo, Error> {
        self.commit_with(CommitOptions::default()).await
    }

    /// [`commit`](Self::commit) with a deadline.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::DeadlineExceeded`]: rolled back.
    pub async fn commit_with(&self, options: CommitOptions) -> Result<CommitInfo, Error> {
        self.core.close_and_commit(options).await
    }

    /// Takes everything back, what was flushed too. Ends open stages. Runs to its end once it was polled, also if the
    /// future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`]; [`Error::Store`] where the store could not be reached: the transaction is
    /// closed all the same, and the store is told in the background.
    pub async fn rollback(&self) -> Result<(), Error> {
        self.core.roll_back().await
    }

    /// How it ended: as [`Transaction::outcome`](crate::Transaction::outcome).
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where it cannot be told now.
    pub async fn outcome(&self) -> Result<TxnStatus, Error> {
        self.core.outcome().await
    }

    /// Keys written, over all generations: one that was written in two of them counts twice. Any thread, any time.
    pub fn len(&self) -> usize {
        self.buffer().len()
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.buffer().is_empty()
    }

    /// Length of the keys and values, over all generations as [`len`](Self::len). Any thread, any time.
    pub fn size(&self) -> usize {
        self.buffer().size()
    }

    /// [`len`](Self::len) and [`size`](Self::size) at one instant.
    pub fn stats(&self) -> Stats {
        self.buffer().stats()
    }

    /// Bytes on the heap for what is not flushed yet. A walk over it.
    pub fn memory(&self) -> u64 {
        self.buffer().memory()
    }

    /// Whether there is something that a commit must carry. Never false again once true.
    pub fn is_dirty(&self) -> bool {
        self.buffer().is_dirty()
    }

    /// Number of flushes begun so far.
    pub fn generations(&self) -> u64 {
        self.buffer().generations()
    }

    /// An error of the buffer or its flushes in terms of the transaction.
    fn refused(&self, error: Error) -> Error {
        self.core.as_of_now(error)
    }
}

impl fmt::Debug for PipelinedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelinedTransaction")
            .field("start_ts", &self.core.start_ts)
            .field("label", &self.core.options.label)
            .field("state", &self.state())
            .field("buffer", self.buffer())
            .finish_non_exhaustive()
    }
}
