//! What may be said at the beginning of a transaction and of a lock, and what comes back.

use super::cancel::CancelToken;
use crate::buffer::{Entry, Limits};
use crate::flags::KeyFlags;
use crate::lock::Wait;
use crate::store::{AssertionLevel, ForUpdate, LOCK_TTL, Timestamp};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a transaction finds out about conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It locks before it writes; what it wrote without a lock is checked at commit. Where many threads write the same few keys of an embedded
    /// store, and a failed attempt costs little, [`Optimistic`](Mode::Optimistic) with [`Db::run`](crate::Db::run) is faster.
    #[default]
    Pessimistic,
    /// It checks everything at commit. That locks its keys, so besides [`Error::WriteConflict`](crate::Error::WriteConflict) it may
    /// wait, and end with [`Error::Deadlock`](crate::Error::Deadlock) or
    /// [`Error::LockWaitTimeout`](crate::Error::LockWaitTimeout): ask [`is_retryable`](crate::Error::is_retryable).
    Optimistic,
}

/// What happens, besides the rollback, when the last clone of an open transaction is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// A `tracing` warning, if it had something to commit.
    #[default]
    Warn,
    /// A panic, if it had something to commit; a warning where the thread panics already.
    Panic,
    /// Nothing.
    Silent,
}

/// What commit does about keys that a pessimistic transaction wrote and never locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UnlockedWrites {
    /// A commit of another since the start is a conflict, as in an optimistic transaction.
    #[default]
    Checked,
    /// They are guarded by something else, such as a lock on a parent row: only those that carry
    /// [`NEED_CONSTRAINT_CHECK`](KeyFlags::NEED_CONSTRAINT_CHECK) are checked.
    Trusted,
}

/// Whether commit carries a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// It does.
    Keep,
    /// It does not; if the key is locked, the lock is carried instead.
    Skip,
}

/// Decides at commit which writes are carried, by key, content and flags. It is called in key order, once for each
/// value and tombstone, by the thread that commits; its panic rolls back.
///
/// ```
/// use untorn_txn::{BeginOptions, Db, Keep, MutationFilter};
///
/// let db = Db::in_memory();
/// let filter = MutationFilter::new(|key, _, _| if key.starts_with(b"tmp") { Keep::Skip } else { Keep::Keep });
/// let txn = db.blocking().begin(BeginOptions { filter: Some(filter), ..Default::default() })?;
/// txn.put("row", "1")?;
/// txn.put("tmp/row", "1")?;
/// assert_eq!(txn.blocking().commit()?.keys, 1);
/// # Ok::<(), untorn_txn::Error>(())
/// ```
#[derive(Clone)]
pub struct MutationFilter(Arc<Decide>);

type Decide = dyn Fn(&[u8], &Entry, KeyFlags) -> Keep + Send + Sync;

impl MutationFilter {
    /// A filter that asks `decide`.
    pub fn new(decide: impl Fn(&[u8], &Entry, KeyFlags) -> Keep + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    pub(super) fn skips(&self, key: &[u8], entry: &Entry, flags: KeyFlags) -> bool {
        (self.0)(key, entry, flags) == Keep::Skip
    }
}

impl fmt::Debug for MutationFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MutationFilter")
    }
}

/// How a transaction begins.
///
/// ```
/// use untorn_txn::{BeginOptions, Mode};
///
/// let options = BeginOptions { mode: Mode::Optimistic, ..Default::default() };
/// assert_eq!(options.start_ts, None);
/// ```
#[derive(Debug, Clone)]
pub struct BeginOptions {
    /// Pessimistic by default.
    pub mode: Mode,
    /// The timestamp to read at; by default a fresh one. It names the transaction in the store, so there is one for each. For one that is not fresh keep a [`DbSnapshot`](crate::DbSnapshot) of it
    /// alive until the transaction has begun, else it may be too old by then.
    pub start_ts: Option<Timestamp>,
    /// How long a lock, and a commit that has to lock, waits if nothing else is said. By default 50 seconds, in each of the attempts of
    /// [`Db::run`](crate::Db::run).
    pub lock_wait: Wait,
    /// Limits of the buffer.
    pub limits: Limits,
    /// Whether values may be empty.
    pub empty_values: bool,
    /// Writes of a pessimistic transaction that were never locked.
    pub unlocked_writes: UnlockedWrites,
    /// How far the assertions that keys carry are looked at. Off by default.
    pub assertions: AssertionLevel,
    /// Leaves writes out of the commit.
    pub filter: Option<MutationFilter>,
    /// How long locks outlive the last sign of life. By default 20 seconds; a sign is given twice in that time.
    pub lock_ttl: Duration,
    /// How long signs of life are given at most: then the locks are [lost](crate::Error::LockLost). By default an hour.
    pub max_lifetime: Option<Duration>,
    /// A drop that was not meant.
    pub on_drop: OnDrop,
    /// A name for logs.
    pub label: Option<String>,
}

impl Default for BeginOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            start_ts: None,
            lock_wait: Wait::For(Duration::from_secs(50)),
            limits: Limits::default(),
            empty_values: false,
            unlocked_writes: UnlockedWrites::default(),
            assertions: AssertionLevel::default(),
            filter: None,
            lock_ttl: LOCK_TTL,
            max_lifetime: Some(Duration::from_secs(3600)),
            on_drop: OnDrop::default(),
            label: None,
        }
    }
}

impl BeginOptions {
    /// The default options.
    pub fn pessimistic() -> Self {
        Self::default()
    }

    /// The default options of an optimistic transaction.
    pub fn optimistic() -> Self {
        Self {
            mode: Mode::Optimistic,
            ..Self::default()
        }
    }
}

/// How keys are locked.
///
/// ```
/// use untorn_txn::LockOptions;
/// use untorn_txn::lock::Wait;
///
/// let options = LockOptions { wait: Some(Wait::NoWait), return_values: true, ..Default::default() };
/// assert_eq!(options.deadline, None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LockOptions {
    /// One budget for the whole call, from its beginning; by default the transaction's.
    ///
    /// With [`Wait::NoWait`] nobody is waited for, only the store's answers. Where an earlier lock of this transaction on the key is
    /// still being given back, that is the answer to the give-back; if the store gives none, the call fails with
    /// [`LockNotAvailable`](crate::Error::LockNotAvailable), and the holder that it names is this transaction.
    pub wait: Option<Wait>,
    /// When to give up in any case. One in the past makes one attempt without waiting. Over TiKV it ends the waiting for locks, but not for
    /// a request that the cluster is slow to answer.
    pub deadline: Option<Instant>,
    /// Tell the newest committed values.
    pub return_values: bool,
    /// Tell whether there are values.
    pub check_existence: bool,
    /// Lock only keys that have a value in the store; needs `return_values`, and for several keys that something was
    /// locked before.
    pub only_if_exists: bool,
    /// Lock shared: others may too. Needs that another key was locked exclusively before.
    pub shared: bool,
    /// As of when the keys are seen.
    pub for_update_ts: ForUpdate,
    /// Ends the call from elsewhere, with [`Error::Cancelled`](crate::Error::Cancelled). One that begins with a cancelled token
    /// answers that too, also without keys and in an optimistic transaction, and changes nothing.
    pub cancel: Option<CancelToken>,
}

/// How [`Transaction::range_for_update`](crate::Transaction::range_for_update) locks.
///
/// ```
/// use untorn_txn::{LockOptions, RangeLockOptions};
/// use untorn_txn::lock::Wait;
///
/// // .. LIMIT 10 FOR UPDATE NOWAIT
/// let lock = LockOptions { wait: Some(Wait::NoWait), ..Default::default() };
/// let options = RangeLockOptions { limit: Some(10), lock, ..Default::default() };
/// assert_eq!(options.page, 256);
/// ```
#[derive(Debug, Clone)]
pub struct RangeLockOptions {
    /// How many rows are yielded at most; no more are locked, but for rows that are gone when their locks are granted. All by
    /// default.
    pub limit: Option<usize>,
    /// How many rows are locked at a time, ahead of the one that is yielded; at least one. By default 256.
    pub page: usize,
    /// How a page is locked: `wait` is a budget for each of them, `return_values` is implied. With a given `for_update_ts`
    /// pages are read at it. `cancel` ends the range: rows that are locked and not yielded yet stay locked.
    pub lock: LockOptions,
    /// `SKIP LOCKED`: rows that others have locked are passed over and do not count for `limit`; nobody is waited for, whatever
    /// `lock.wait` says. Not in an optimistic transaction. A page of which some are locked is locked row by row. Where that is cut
    /// short, by an error or a dropped future, those that it has locked stay locked.
    pub skip_locked: bool,
}

impl Default for RangeLockOptions {
    fn default() -> Self {
        Self {
            limit: None,
            page: 256,
            lock: LockOptions::default(),
            skip_locked: false,
        }
    }
}

/// What became of one key of a lock call.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockOutcome {
    /// The transaction holds the lock.
    pub locked: bool,
    /// It held it before, through an earlier call or a sibling's.
    pub already_locked: bool,
    /// Whether the key has a value, where that is known.
    pub exists: Option<bool>,
    /// The newest committed value, where that was asked.
    pub value: Option<Bytes>,
    /// As of when the key was seen; 0 where the store was not asked (optimistic).
    pub for_update_ts: Timestamp,
    /// Set where a lock was granted in spite of a newer commit. Always `None` outside fair locking.
    pub locked_with_conflict_ts: Option<Timestamp>,
}

impl fmt::Debug for LockOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockOutcome")
            .field("locked", &self.locked)
            .field("already_locked", &self.already_locked)
            .field("exists", &self.exists)
            .field("value_len", &self.value.as_ref().map(Bytes::len))
            .field("for_update_ts", &self.for_update_ts)
            .field("locked_with_conflict_ts", &self.locked_with_conflict_ts)
            .finish()
    }
}

/// How a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitOptions {
    /// When to give up. Before the decision is sent the transaction is rolled back then; after it, what is not known
    /// by then is [undetermined](crate::Error::Undetermined).
    pub deadline: Option<Instant>,
    /// For how long a store that does not answer is asked how the commit ended, where there is no deadline. By
    /// default 10 seconds.
    pub patience: Duration,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            deadline: None,
            patience: Duration::from_secs(10),
        }
    }
}

impl CommitOptions {
    /// Sets [`Self::deadline`].
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets [`Self::patience`].
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitInfo {
    /// The timestamp that the transaction read at.
    pub start_ts: Timestamp,
    /// When its writes became visible; `None` where there was nothing to write. A key that was only locked counts as written.
    pub commit_ts: Option<Timestamp>,
    /// Number of mutations; over all generations, where a key counts again in each that wrote it.
    pub keys: usize,
    /// Length of their keys and values.
    pub bytes: usize,
    /// The store committed in a single request. Never for the embedded one.
    pub one_phase: bool,
    /// Generations that a pipelined transaction flushed; 0 for any other.
    pub generations: u64,
}
