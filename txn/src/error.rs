//! The one error type of this crate.
//!
//! Every failure that a caller can cause is one of these, never a panic, and a call that returns
//! one has changed nothing. Calls that must give something back with the failure (a stage whose
//! close came out of order) have a type of their own that converts into [`Error`].

use crate::DisplayKey;
use crate::flags::Assertion;
use crate::lock::{Cycle, LockError, WaitEdge};
use crate::store::Timestamp;
use crate::store::mem::LogFailure;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Why a call was refused or failed.
///
/// Not exhaustive: match with a wildcard arm.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value without bytes; only a buffer built with
    /// [`empty_values`](crate::buffer::Builder::empty_values) takes one.
    #[error("the value is empty")]
    EmptyValue,
    /// The key is longer than the key limit.
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge {
        /// Length of the key.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// Key and value together are longer than the entry limit; a tombstone counts its key.
    #[error("entry of {size} bytes is over the limit of {limit}")]
    EntryTooLarge {
        /// Length of key and value.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The allocator had no memory for the write.
    #[error("out of memory: {bytes} bytes were not to be had")]
    OutOfMemory {
        /// Size of the allocation.
        bytes: usize,
    },
    /// The write would have taken the buffer over its limit.
    #[error("transaction of {size} bytes would be over the limit of {limit}")]
    TxnTooLarge {
        /// The size that the buffer would have reached.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The stage is not the innermost open one, or not open at all.
    #[error("the stage is not the innermost open one")]
    StageOrder,
    /// A stage is open, and none may be: at a commit, at a flush, and at a rollback to a savepoint none that was opened after it.
    #[error("a stage is open")]
    StageOpen,
    /// The savepoint was rolled back itself, belongs to another buffer or is from before a reset.
    #[error("the savepoint is no longer valid")]
    StaleSavepoint,
    /// The transaction is no longer open.
    #[error("the transaction is {state}")]
    TransactionClosed {
        /// How far it had come when the call was refused.
        state: TxnState,
    },
    /// The call does not go with the mode that the object is in.
    #[error("not possible here: {reason}")]
    OptionConflict {
        /// What conflicts.
        reason: &'static str,
    },
    /// The store below has no such thing.
    #[error("the store has no {what}")]
    Unsupported {
        /// What was asked of it.
        what: &'static str,
    },
    /// Somebody committed the key after the timestamp at which this transaction looked at it.
    #[error(
        "\"{}\" was committed at {conflict_commit_ts} by transaction {conflict_start_ts}, after {read_ts}",
        DisplayKey(.key)
    )]
    WriteConflict {
        /// The key.
        key: Bytes,
        /// The transaction that failed.
        start_ts: Timestamp,
        /// The timestamp that was passed: the start timestamp, or the one given to the lock.
        read_ts: Timestamp,
        /// The transaction that committed the key.
        conflict_start_ts: Timestamp,
        /// When it did.
        conflict_commit_ts: Timestamp,
        /// What looked for it.
        reason: ConflictReason,
    },
    /// The key was presumed absent and has a value.
    #[error("\"{}\" exists already", DisplayKey(.key))]
    KeyExists {
        /// The key.
        key: Bytes,
    },
    /// The call would have waited for itself: it was the youngest of a circle of waiting transactions.
    ///
    /// A lock call that fails so has given back what it took, but for a [primary that other locks name](crate::Transaction::lock_keys), and leaves
    /// the transaction [open](TxnState::Open): its statement may run again there, once what the others wait for is given up. A commit that
    /// fails so has rolled back.
    #[error("deadlock of {} transactions: {}", .cycle.len(), Cycle(.cycle))]
    Deadlock {
        /// The circle, this transaction's edge first.
        cycle: Vec<WaitEdge>,
    },
    /// The wait budget ended before the lock was granted.
    ///
    /// The transaction is open and keeps its other locks: the call may be made again in it, or the transaction rolled back, so that
    /// others go on. [`Db::run`](crate::Db::run) does the latter and tries again, where the lock may be waited for as long as before.
    /// A commit that fails so has rolled back.
    #[error("no lock on \"{}\" within {waited:?}, held by {holders:?}", DisplayKey(.key))]
    LockWaitTimeout {
        /// The key.
        key: Bytes,
        /// The transactions in the way, 64 at most; may be empty.
        holders: Vec<Timestamp>,
        /// How long the call waited.
        waited: Duration,
    },
    /// The key is locked and the call does not wait.
    #[error("\"{}\" is locked by {holders:?}", DisplayKey(.key))]
    LockNotAvailable {
        /// The key.
        key: Bytes,
        /// The transactions in the way, 64 at most; may be empty.
        holders: Vec<Timestamp>,
    },
    /// The transaction is taken for dead, or may be: its locks are not to be relied on. Only rollback is left.
    #[error("the locks of transaction {start_ts} are lost: {loss}")]
    LockLost {
        /// The transaction.
        start_ts: Timestamp,
        /// The key that stands for all of them, where it is known.
        primary: Option<Bytes>,
        /// How it came about.
        loss: Loss,
    },
    /// What was asserted of the key is not so.
    #[error("\"{}\" was asserted to be {assertion}", DisplayKey(.key))]
    AssertionFailed {
        /// The key.
        key: Bytes,
        /// The transaction that asserted it.
        start_ts: Timestamp,
        /// What it asserted.
        assertion: Assertion,
    },
    /// The store did not tell whether the commit was carried out: it may have been or not. Final for the
    /// transaction; the store is asked again in the background, and
    /// [`Transaction::outcome`](crate::Transaction::outcome) tells once it has answered.
    #[error("nobody knows whether transaction {start_ts} is committed: {source}")]
    Undetermined {
        /// The transaction.
        start_ts: Timestamp,
        /// The last that was heard of the store.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store takes no commits any more, because its [log](crate::store::mem::log) has failed, be it for want of room on the disk. This
    /// one was rolled back; reads go on. The way on is to open the store again, which needs some room, too.
    #[error("nothing can be committed: {source}")]
    LogFailed {
        /// How it failed.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The database was closed.
    #[error("the database is closed")]
    DatabaseClosed,
    /// The wait was ended by its caller.
    #[error("cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Data as old as this is no longer kept.
    #[error("the snapshot {start_ts} is older than the safe point {safe_point}")]
    SnapshotTooOld {
        /// The timestamp asked for.
        start_ts: Timestamp,
        /// The oldest that is still kept.
        safe_point: Timestamp,
    },
    /// The timestamp cannot be used. One to read at has to be given out by this store before, as by
    /// [`Db::timestamp`](crate::Db::timestamp), or of a snapshot of it; a start timestamp besides not that of another transaction; and
    /// a lock's not below the start of its own. Where none is given a fresh one is drawn.
    #[error(
        "timestamp {given} cannot be used here: give one of this store (the newest is {newest}) that names no other \
         transaction and is not below the start, or none for a fresh one"
    )]
    InvalidTimestamp {
        /// The timestamp given.
        given: Timestamp,
        /// The newest of the store.
        newest: Timestamp,
    },
    /// The store failed, or did not answer: what was asked may have been done or not.
    #[error("the store failed: {source}")]
    Store {
        /// How.
        source: Arc<dyn std::error::Error + Send + Sync>,
        /// Another attempt may succeed.
        transient: bool,
    },
}

impl Error {
    /// A failure of the store that will not go away by itself.
    pub fn store(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store {
            source: Arc::new(source),
            transient: false,
        }
    }

    /// A failure of the store that may be gone at the next attempt.
    pub fn transient(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Store {
            source: Arc::new(source),
            transient: true,
        }
    }

    pub(crate) fn log_failed(failure: LogFailure) -> Self {
        Self::LogFailed {
            source: Arc::new(failure),
        }
    }

    /// Whether a new transaction that does the same may succeed: after `WriteConflict`, `Deadlock`, `LockWaitTimeout`, `LockLost`,
    /// `SnapshotTooOld` and what is transient of `Store`. Not after `LockNotAvailable`, `Cancelled` or `DeadlineExceeded`, which the caller
    /// asked for, nor `Undetermined`, which may have been committed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::WriteConflict { .. }
                | Error::Deadlock { .. }
                | Error::LockWaitTimeout { .. }
                | Error::LockLost { .. }
                | Error::SnapshotTooOld { .. }
                | Error::Store {
                    transient: true,
                    ..
                }
        )
    }

    /// That a lock is not to be had at once, in terms of a call with a budget for waiting, which is used up: a timeout.
    pub(crate) fn after_waiting(self, waited: Duration) -> Error {
        match self {
            Error::LockNotAvailable { key, holders } => Error::LockWaitTimeout {
                key,
                holders,
                waited,
            },
            other => other,
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Error {
        match error {
            LockError::Timeout {
                key,
                holders,
                waited,
            } => Error::LockWaitTimeout {
                key,
                holders,
                waited,
            },
            LockError::NotAvailable { key, holders } => Error::LockNotAvailable { key, holders },
            LockError::Deadlock { cycle, .. } => Error::Deadlock { cycle },
            LockError::Cancelled { .. } => Error::Cancelled,
            LockError::DeadlineExceeded { .. } => Error::DeadlineExceeded,
            other => Error::store(other),
        }
    }
}

/// What found out about a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictReason {
    /// A lock that was asked for as of a given timestamp.
    ForUpdate,
    /// The commit, of a key that was not locked.
    Commit,
}

/// How a transaction came to lose its locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// The store has ended it, or does not know the lock.
    Refused,
    /// No sign of life was answered for as long as the locks live without one.
    Unanswered,
    /// It is older than its lifetime allows.
    Lifetime,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Loss::Refused => "the store has given them up",
            Loss::Unanswered => "the store does not answer",
            Loss::Lifetime => "its lifetime is over",
        })
    }
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TxnState {
    /// Reads, writes and locks are taken.
    Open,
    /// `commit` has begun and has not been decided.
    Committing,
    /// Committed.
    Committed,
    /// Rolled back, or never committed.
    RolledBack,
    /// The store may or may not have committed; final.
    Undetermined,
}

impl std::fmt::Display for TxnState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TxnState::Open => "open",
            TxnState::Committing => "committing",
            TxnState::Committed => "committed",
            TxnState::RolledBack => "rolled back",
            TxnState::Undetermined => "undetermined",
        })
    }
}
