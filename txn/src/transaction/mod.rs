//! A transaction that many threads use at once.
//!
//! A [`Transaction`] is a handle; a clone is the same transaction, and every method takes `&self`. Reads see the
//! store as it was at the start timestamp, under the transaction's own writes. Writes go into the
//! [`MemBuffer`]; `commit` carries them to the store at one instant.
//!
//! # What changes, and who changes it
//!
//! - The life word: who takes it out of *open* closes the transaction.
//! - The buffer, which is safe by itself and refuses writes once it is closed.
//! - The register of locks, under its own mutex.
//! - The *gate*, a read-write lock without content: a lock call holds it shared while it publishes its flags,
//!   closing holds it exclusively. So a call is published whole before the mutations are read, or not at all.
//!
//! # Closing
//!
//! Commit and rollback take the life word out of open, under the gate; the loser is told so at once. In the same step
//! the buffer is closed (a write that races is in the mutations or is refused) and the register. Lock calls in
//! flight are told by the store and by the register, leave their queues, and answer
//! [`Error::TransactionClosed`]; a future that nobody polls any more does not hold anything up, because the
//! store releases every lock of the transaction at its end, published or not.
//!
//! A commit that was begun runs to its end: if its future is dropped, the database's thread polls on.

mod blocking;
mod budget;
mod cancel;
mod commit;
mod fair;
mod heartbeat;
mod life;
mod lock_keys;
mod mutations;
mod options;
mod pipelined;
mod range;
mod range_for_update;
mod read;
mod register;
mod rollback;
mod statement;
mod to_the_end;
mod unlock_keys;
mod write;

pub use blocking::{Blocking, BlockingRange};
pub(crate) use blocking::{Rows, block_on};
pub use cancel::CancelToken;
pub use options::{
    BeginOptions, CommitInfo, CommitOptions, Keep, LockOptions, LockOutcome, Mode, MutationFilter,
    OnDrop, RangeLockOptions, UnlockedWrites,
};
pub use pipelined::{BlockingPipelinedTransaction, PipelinedOptions, PipelinedTransaction};
pub use range::Range;
pub use range_for_update::RangeForUpdate;
pub use statement::{BlockingStatementView, StatementView};

use crate::buffer::{MemBuffer, Memory, Savepoint, Stage, Stats};
use crate::db::Shared;
use crate::error::{Error, Loss, TxnState};
use crate::metrics::{self, Event};
use crate::store::{ReadCache, ReadCacheStats, Store, Timestamp};
use crate::sync::{Mutex, RwLock};
use bytes::{Bytes, BytesMut};
use heartbeat::Pulse;
use life::Life;
use pipelined::Writes;
use register::Register;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// A handle on a transaction. See the [module](self) for how it works, and
/// [`Db::begin`](crate::Db::begin) for where it comes from.
///
/// When the last handle on an open transaction is dropped it is rolled back.
///
/// ```
/// use untorn_txn::{BeginOptions, Db};
///
/// let db = Db::in_memory();
/// let txn = db.blocking().begin(BeginOptions::default())?;
/// std::thread::scope(|scope| {
///     for n in 0..4_u8 {
///         let branch = txn.clone();
///         scope.spawn(move || branch.blocking().lock_keys([[n], [n + 1]], Default::default()));
///     }
/// });
/// assert_eq!(txn.len(), 5);
/// let info = txn.blocking().commit()?;
/// assert_eq!(info.keys, 5);
/// # Ok::<(), untorn_txn::Error>(())
/// ```
#[derive(Clone)]
pub struct Transaction {
    core: Arc<Core>,
}

pub(crate) struct Core {
    db: Arc<Shared>,
    start_ts: Timestamp,
    options: BeginOptions,
    /// Stays empty in a pipelined one.
    buffer: MemBuffer,
    /// The store at the start timestamp.
    reads: ReadCache,
    pipelined: Option<Writes>,
    register: Register,
    gate: RwLock<()>,
    life: Life,
    pulse: Pulse,
    /// Serialises `put`, `insert` and `delete` of keys that fall together: an insert looks before it writes.
    stripes: [Mutex<()>; 16],
}

impl Transaction {
    pub(crate) fn new(
        db: Arc<Shared>,
        start_ts: Timestamp,
        owner: Arc<()>,
        options: BeginOptions,
    ) -> Self {
        Self {
            core: Arc::new(Core::new(db, start_ts, owner, options, None)),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The timestamp that names the transaction and that it reads at.
    pub fn start_ts(&self) -> Timestamp {
        self.core.start_ts
    }

    /// How it was begun.
    pub fn options(&self) -> &BeginOptions {
        &self.core.options
    }

    /// How far it has come.
    pub fn state(&self) -> TxnState {
        self.core.life.state()
    }

    /// Its writes, flags and stages. What is written here is part of the transaction; `reset` is refused.
    pub fn buffer(&self) -> &MemBuffer {
        &self.core.buffer
    }

    /// The same methods, parking the thread instead of giving futures.
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking::new(self)
    }

    /// Opens a stage within the innermost open one.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn stage(&self) -> Result<Stage, Error> {
        self.core.life.check_open()?;
        Ok(self.core.buffer.stage())
    }

    /// Makes a savepoint of now, for [`rollback_to`](Self::rollback_to).
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`].
    pub fn savepoint(&self) -> Result<Savepoint, Error> {
        self.core.life.check_open()?;
        Ok(self.core.buffer.savepoint())
    }

    /// Takes back everything that was written since the savepoint, at one instant. Locks stay: a key that is left
    /// without a write of its own is committed as locked alone.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::StaleSavepoint`], [`Error::StageOpen`]; nothing is changed then. See
    /// [`MemBuffer::rollback_to`].
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<(), Error> {
        self.core.life.check_open()?;
        self.core.closing(self.core.buffer.rollback_to(savepoint))
    }

    /// Number of keys in the buffer: written, deleted, or locked. Any thread, any time; after the end what it was then.
    pub fn len(&self) -> usize {
        self.core.buffer.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.core.buffer.is_empty()
    }

    /// Length of the keys in the buffer and of their values. Any thread, any time.
    pub fn size(&self) -> usize {
        self.core.buffer.size()
    }

    /// [`len`](Self::len) and [`size`](Self::size) at one instant.
    pub fn stats(&self) -> Stats {
        self.core.buffer.stats()
    }

    /// What the buffer holds on the heap, by kind; nothing as long as nothing was written or locked. A walk over it.
    pub fn memory(&self) -> Memory {
        self.core.buffer.memory()
    }

    /// What is kept of what [`get`](Self::get) and [`batch_get`](Self::batch_get) have read, so that the store is not asked
    /// again; nothing with a store that [wants none](Store::read_cache). The numbers are read one after another.
    pub fn read_cache(&self) -> ReadCacheStats {
        self.core.reads.stats()
    }

    /// Whether there is something that a commit must carry. Never false again once true.
    pub fn is_dirty(&self) -> bool {
        self.core.buffer.is_dirty()
    }

    /// Whether nothing was written and nothing locked. What an open stage has written counts until it is taken back; what was
    /// written outside of stages, what a stage has released, and that something was locked counts for ever.
    pub fn is_read_only(&self) -> bool {
        !self.is_dirty() && self.is_empty()
    }

    /// Number of locks held at the moment, those of calls still in flight included, and the
    /// [primary](Self::lock_keys) that others name. None once the transaction has ended.
    pub fn held_locks(&self) -> usize {
        match self.state() {
            TxnState::Committed | TxnState::RolledBack => 0,
            TxnState::Open | TxnState::Committing | TxnState::Undetermined => {
                self.core.register.held()
            }
        }
    }
}

impl Core {
    fn new(
        db: Arc<Shared>,
        start_ts: Timestamp,
        owner: Arc<()>,
        options: BeginOptions,
        pipelined: Option<Writes>,
    ) -> Self {
        let buffer = MemBuffer::builder()
            .key_limit(options.limits.key)
            .entry_limit(options.limits.entry)
            .buffer_limit(options.limits.buffer)
            .empty_values(options.empty_values)
            .without_reset()
            .build();
        tracing::debug!(start_ts, label = options.label.as_deref(), "begin");
        metrics::count(Event::Begun);
        let reads = ReadCache::new(&*db.store, start_ts);
        Self {
            db,
            start_ts,
            options,
            buffer,
            reads,
            pipelined,
            register: Register::default(),
            gate: RwLock::default(),
            life: Life::default(),
            pulse: Pulse::new(owner),
            stripes: Default::default(),
        }
    }

    /// Refuses writes from now on, or changes nothing: while a stage is open, unless that is ended.
    fn close_writes(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        match &self.pipelined {
            None => self.buffer.close(state, end_stages),
            Some(writes) => writes.buffer.close(state, end_stages),
        }
    }

    fn is_dirty(&self) -> bool {
        match &self.pipelined {
            None => self.buffer.is_dirty(),
            Some(writes) => writes.buffer.is_dirty(),
        }
    }

    fn store(&self) -> &dyn Store {
        &*self.db.store
    }

    /// An error of the store in terms of the transaction: one that the store has ended of its own accord has lost
    /// its locks. Not for what the buffer refuses: that closes a moment before the life word moves.
    fn told_by_store(&self, error: Error) -> Error {
        if !matches!(error, Error::TransactionClosed { .. }) {
            return error;
        }
        if self.life.state() == TxnState::Open {
            self.lose(Loss::Refused);
        }
        match self.check_alive() {
            Err(lost) if self.life.state() == TxnState::Open => lost,
            _ => error,
        }
    }

    /// An error that says *closed* in terms of how far the transaction is now. The store keeps nothing for one that has ended.
    fn as_of_now(&self, error: Error) -> Error {
        match (error, self.life.state()) {
            (error, TxnState::Open) => error,
            (
                Error::TransactionClosed { .. } | Error::Cancelled | Error::SnapshotTooOld { .. },
                state,
            ) => Error::TransactionClosed { state },
            (error, _) => error,
        }
    }
}

fn owned(key: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(key.as_ref())
}

/// The keys of one call.
pub(crate) type Keys = SmallVec<[Bytes; 1]>;

/// Copies of the keys of one call, in one block of memory: each will be shared by all who note it.
pub(crate) fn all_owned<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Keys {
    let mut keys = keys.into_iter();
    if keys.size_hint().1 == Some(1) {
        // A short key lies beside the count of its sharers.
        let beside = |key: K| Bytes::from_owner(SmallVec::<[u8; 32]>::from_slice(key.as_ref()));
        return keys
            .next()
            .map_or_else(Keys::new, |key| Keys::from_buf([beside(key)]));
    }
    let mut block = BytesMut::new();
    let mut ends = Vec::with_capacity(keys.size_hint().0);
    for key in keys {
        block.extend_from_slice(key.as_ref());
        ends.push(block.len());
    }
    let block = block.freeze();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let ranges = starts.zip(&ends);
    let keys = ranges.map(|(start, &end)| block.slice(start..end));
    Keys::from_vec(keys.collect())
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("start_ts", &self.core.start_ts)
            .field("label", &self.core.options.label)
            .field("state", &self.state())
            .field("buffer", &self.core.buffer)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::{BeginOptions, Db};

    /// As to a read that is under way when another thread commits.
    #[test]
    fn what_the_store_does_not_keep_for_one_that_has_ended_says_that_it_has() {
        let db = Db::in_memory();
        let txn = db.blocking().begin(BeginOptions::default()).expect("open");
        let too_old = || Error::SnapshotTooOld {
            start_ts: txn.start_ts(),
            safe_point: txn.start_ts() + 1,
        };
        let open = txn.core.as_of_now(too_old());
        assert!(matches!(open, Error::SnapshotTooOld { .. }), "{open}");
        txn.blocking().commit().expect("nobody is in the way");
        let state = TxnState::Committed;
        let ended = txn.core.as_of_now(too_old());
        assert_eq!(
            ended.to_string(),
            Error::TransactionClosed { state }.to_string()
        );
    }
}
