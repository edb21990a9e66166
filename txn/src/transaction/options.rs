//! What may be said at the beginning of a transaction and of a lock, and what comes back.

use crate::buffer::Limits;
use crate::lock::Wait;
use crate::store::{ForUpdate, Timestamp};
use bytes::Bytes;
use std::fmt;
use std::time::{Duration, Instant};

/// When a transaction finds out about conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It locks before it writes; what it wrote without a lock is checked at commit.
    #[default]
    Pessimistic,
    /// It checks everything at commit.
    Optimistic,
}

/// What happens, besides the rollback, when the last clone of an open transaction is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDrop {
    /// A `tracing` warning, if it had something to commit.
    #[default]
    Warn,
    /// Nothing.
    Silent,
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
    /// The timestamp to read at; by default a fresh one.
    pub start_ts: Option<Timestamp>,
    /// How long a lock, and a commit that has to lock, waits if nothing else is said. By default 50 seconds.
    pub lock_wait: Wait,
    /// Limits of the buffer.
    pub limits: Limits,
    /// Whether values may be empty.
    pub empty_values: bool,
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
#[derive(Debug, Clone, Copy, Default)]
pub struct LockOptions {
    /// One budget for the whole call, from its beginning; by default the transaction's.
    pub wait: Option<Wait>,
    /// When to give up in any case.
    pub deadline: Option<Instant>,
    /// Tell the newest committed values.
    pub return_values: bool,
    /// Tell whether there are values.
    pub check_existence: bool,
    /// As of when the keys are seen.
    pub for_update_ts: ForUpdate,
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

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitInfo {
    /// The timestamp that the transaction read at.
    pub start_ts: Timestamp,
    /// When its writes became visible; `None` where there was nothing to write.
    pub commit_ts: Option<Timestamp>,
    /// Number of mutations.
    pub keys: usize,
    /// Length of their keys and values.
    pub bytes: usize,
    /// The store committed in a single request. Never for the embedded one.
    pub one_phase: bool,
}
