//! A database: a store, and the transactions on it.

mod close;
mod registry;
mod retry;
mod run;
mod snapshot;

pub use close::Closed;
pub use retry::RetryPolicy;
pub use run::Cause;
pub use snapshot::{BlockingSnapshot, DbSnapshot, SnapshotRange};

use crate::error::Error;
use crate::store::mem::{LogOptions, OpenError};
use crate::store::{Begin, MemStore, NO_FLUSHES, SafePoint, Store, Timestamp};
use crate::transaction::{
    BeginOptions, Core, PipelinedOptions, PipelinedTransaction, Transaction, block_on,
};
use crate::worker::Worker;
use registry::Registry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tracing::Instrument;

/// A handle on a store, to begin transactions. A clone is the same database.
///
/// ```
/// use untorn_txn::{BeginOptions, Db, Error};
///
/// let db = Db::in_memory();
/// let writer = db.blocking().begin(BeginOptions::default())?;
/// writer.put("greeting", "hello")?;
/// writer.blocking().commit()?;
///
/// let reader = db.blocking().begin(BeginOptions::optimistic())?;
/// assert_eq!(reader.blocking().get("greeting")?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

/// What a database and its transactions have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) worker: Worker,
    pub(crate) registry: Registry,
    is_closed: AtomicBool,
}

impl Db {
    /// A database on an empty embedded store: [`Db::new`] with [`MemStore::new`].
    pub fn in_memory() -> Self {
        Self::new(Arc::new(MemStore::new()))
    }

    /// A database on an embedded store whose commits are in a write-ahead log in the directory `path`, with what was
    /// committed there before. Short for [`Db::new`] with [`MemStore::open`], which says what is promised and what an
    /// opening takes; to [watch](crate#watching) the store keep a handle of it that way.
    ///
    /// The directory is free again when the database, its transactions and its snapshots are dropped; work in the
    /// background may hold it for a moment longer, unless [`close`](Self::close) has ended that.
    ///
    /// ```
    /// use untorn_txn::store::mem::LogOptions;
    /// use untorn_txn::{BeginOptions, Db};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("accounts");
    /// let db = Db::open(&path, LogOptions::default())?;
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("alice", "100")?;
    /// txn.blocking().commit()?;
    /// drop((txn, db));
    ///
    /// let db = Db::open(&path, LogOptions::default())?;
    /// let alice = db.blocking().snapshot()?.blocking().get("alice")?;
    /// assert_eq!(alice.as_deref(), Some(&b"100"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<Self, OpenError> {
        Ok(Self::new(Arc::new(MemStore::open(path, options)?)))
    }

    /// A database on `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                worker: Worker::default(),
                registry: Registry::default(),
                is_closed: AtomicBool::new(false),
            }),
        }
    }

    /// For models, in which time does not pass: the database's thread does what it has to, once.
    #[cfg(untorn_loom)]
    #[doc(hidden)]
    pub fn run_worker(&self) {
        self.shared.worker.run_once();
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Begins a transaction. Does not wait for any other.
    ///
    /// # Errors
    ///
    /// With a given start timestamp [`Error::InvalidTimestamp`] and [`Error::SnapshotTooOld`];
    /// [`Error::DatabaseClosed`], [`Error::Store`].
    pub async fn begin(&self, options: BeginOptions) -> Result<Transaction, Error> {
        let owner = Arc::new(());
        let start_ts = self
            .open_in_store(&owner, options.start_ts, options.label.as_deref())
            .await?;
        let txn = Transaction::new(Arc::clone(&self.shared), start_ts, owner, options);
        self.enter(start_ts, txn.core())?;
        Ok(txn)
    }

    /// Begins a transaction that may be larger than memory: see [`PipelinedTransaction`]. Does not wait for any other.
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin); [`Error::Unsupported`] where the store [takes no flushes](Store::takes_flushes).
    pub async fn begin_pipelined(
        &self,
        options: PipelinedOptions,
    ) -> Result<PipelinedTransaction, Error> {
        if !self.store().takes_flushes() {
            return Err(NO_FLUSHES);
        }
        let owner = Arc::new(());
        let start_ts = self
            .open_in_store(&owner, options.start_ts, options.label.as_deref())
            .await?;
        let txn = PipelinedTransaction::new(Arc::clone(&self.shared), start_ts, owner, options);
        self.enter(start_ts, txn.core())?;
        Ok(txn)
    }

    /// Opens a transaction in the store.
    async fn open_in_store(
        &self,
        owner: &Arc<()>,
        start_ts: Option<Timestamp>,
        label: Option<&str>,
    ) -> Result<Timestamp, Error> {
        self.check_open()?;
        let begin = Begin {
            start_ts,
            owner: Arc::downgrade(owner),
        };
        let span = tracing::debug_span!("begin", label);
        self.store().begin(begin).instrument(span).await
    }

    fn enter(&self, start_ts: Timestamp, core: &Arc<Core>) -> Result<(), Error> {
        self.shared.registry.enter(start_ts, core);
        // Entered first, looked at then: a close that did not meet it is seen here.
        self.check_open()
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.shared.is_closed.load(Ordering::SeqCst) {
            return Err(Error::DatabaseClosed);
        }
        Ok(())
    }

    /// The database as it is now, to read from.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn snapshot(&self) -> Result<DbSnapshot, Error> {
        DbSnapshot::take(self.store(), None).await
    }

    /// The database as it was at a timestamp, to read from. Any number of snapshots may be taken of one timestamp.
    ///
    /// What was visible then is kept as long as a snapshot or an open transaction of that time or before holds the
    /// [safe point](Self::safe_point) back, and no longer: to look back later, keep a [`DbSnapshot`] of the time.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`] where what was visible then may be gone, [`Error::InvalidTimestamp`] for one in the
    /// future; [`Error::Store`].
    pub async fn snapshot_at(&self, at: Timestamp) -> Result<DbSnapshot, Error> {
        DbSnapshot::take(self.store(), Some(at)).await
    }

    /// Up to where old versions may have been dropped, and for how long something has held that back.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn safe_point(&self) -> Result<SafePoint, Error> {
        self.store().safe_point().await
    }

    /// A timestamp above every one given out before.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn timestamp(&self) -> Result<Timestamp, Error> {
        self.store().timestamp().await
    }

    /// The same methods, parking the thread.
    pub fn blocking(&self) -> BlockingDb<'_> {
        BlockingDb { db: self }
    }
}

/// The methods of a [`Db`] that may wait, parking the thread.
#[derive(Debug, Clone, Copy)]
pub struct BlockingDb<'a> {
    db: &'a Db,
}

impl BlockingDb<'_> {
    /// As [`Db::begin`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin(&self, options: BeginOptions) -> Result<Transaction, Error> {
        block_on(self.db.begin(options))
    }

    /// As [`Db::begin_pipelined`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin_pipelined(
        &self,
        options: PipelinedOptions,
    ) -> Result<PipelinedTransaction, Error> {
        block_on(self.db.begin_pipelined(options))
    }

    /// As [`Db::snapshot`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn snapshot(&self) -> Result<DbSnapshot, Error> {
        block_on(self.db.snapshot())
    }

    /// As [`Db::snapshot_at`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn snapshot_at(&self, at: Timestamp) -> Result<DbSnapshot, Error> {
        block_on(self.db.snapshot_at(at))
    }

    /// As [`Db::safe_point`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn safe_point(&self) -> Result<SafePoint, Error> {
        block_on(self.db.safe_point())
    }

    /// As [`Db::close`].
    pub fn close(&self, deadline: Instant) -> Closed {
        block_on(self.db.close(deadline))
    }

    /// As [`Db::timestamp`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn timestamp(&self) -> Result<Timestamp, Error> {
        block_on(self.db.timestamp())
    }
}
