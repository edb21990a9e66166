//! What a call asks for and what it is told.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Who holds or waits: a transaction, named by its start timestamp. The greatest is the youngest, and the first to be
/// chosen as the victim of a deadlock.
pub type OwnerId = u64;

/// How a key is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockMode {
    /// Any number of owners at once.
    Shared,
    /// One owner, and no shared ones beside it.
    Exclusive,
}

impl LockMode {
    /// Whether two different owners may hold one key in these modes.
    pub fn is_compatible(self, other: Self) -> bool {
        self == Self::Shared && other == Self::Shared
    }
}

/// How long a call may stand in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Until granted, cancelled, chosen as a deadlock's victim, or past the deadline.
    Forever,
    /// Not at all: [`LockError::NotAvailable`](super::LockError::NotAvailable) at once.
    NoWait,
    /// At most this long, then [`LockError::Timeout`](super::LockError::Timeout). Zero is [`Wait::NoWait`].
    For(Duration),
}

/// The terms of one call.
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::lock::{LockRequest, Wait};
///
/// let request = LockRequest { wait: Wait::For(Duration::from_millis(200)), attempt: 7, ..Default::default() };
/// assert_eq!(LockRequest::default().wait, Wait::For(Duration::from_secs(50)));
/// assert_eq!(request.deadline, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRequest {
    /// The wait budget, measured from the call. Default: 50 s.
    pub wait: Wait,
    /// An instant at which the call ends with [`LockError::DeadlineExceeded`](super::LockError::DeadlineExceeded), if
    /// the budget did not end it before. A deadline in the past makes one attempt without waiting.
    pub deadline: Option<Instant>,
    /// Names this acquisition among those of its owner on this key: [`LockTable::release`](super::LockTable::release)
    /// undoes exactly the acquisitions that carry the number given to it.
    pub attempt: u64,
}

impl Default for LockRequest {
    fn default() -> Self {
        Self {
            wait: Wait::For(Duration::from_secs(50)),
            deadline: None,
            attempt: 0,
        }
    }
}

impl LockRequest {
    /// The default terms under another attempt number.
    pub fn attempt(attempt: u64) -> Self {
        Self {
            attempt,
            ..Self::default()
        }
    }

    /// Ask once, do not wait.
    pub fn no_wait(attempt: u64) -> Self {
        Self {
            wait: Wait::NoWait,
            deadline: None,
            attempt,
        }
    }
}

/// The answer to a call that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// The owner held the key before, in this mode or a stronger one.
    pub already_held: bool,
    /// How long the call stood in the queue; zero if it did not.
    pub waited: Duration,
    /// How many calls were left in the key's queue at the grant.
    pub waiters: usize,
}

impl Granted {
    /// Of a key that was free.
    pub(super) fn at_once() -> Self {
        Self {
            already_held: false,
            waited: Duration::ZERO,
            waiters: 0,
        }
    }
}

/// Who holds a key, as [`LockTable::holders`](super::LockTable::holders) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The owner.
    pub owner: OwnerId,
    /// The strongest mode of its acquisitions.
    pub mode: LockMode,
    /// The attempt numbers of its acquisitions, ascending.
    pub attempts: Vec<u64>,
}

/// A key that is held, as [`LockTable::held`](super::LockTable::held) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldLock {
    /// The key.
    pub key: Bytes,
    /// Its holders, by owner, ascending.
    pub holders: Vec<Holder>,
    /// How many calls wait for it.
    pub waiters: usize,
}

/// A call that waits, as [`LockTable::waiting`](super::LockTable::waiting) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingCall {
    /// The owner that waits.
    pub owner: OwnerId,
    /// The key that it waits for.
    pub key: Bytes,
    /// The mode that it asked for.
    pub mode: LockMode,
    /// The attempt number that it carries.
    pub attempt: u64,
    /// How long it has waited so far.
    pub waited: Duration,
    /// The owners that it waits for, 64 at most: incompatible holders first, then incompatible calls ahead of it, the
    /// nearest first.
    pub blockers: Vec<OwnerId>,
}
