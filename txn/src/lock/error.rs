//! Why a lock was not granted.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::OwnerId;
use crate::DisplayKey;

/// One edge of a deadlock: `waiter` waits for `holder` on `key`.
///
/// `holder` holds the key, or waits for it ahead of `waiter` in a mode that excludes it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WaitEdge {
    /// The owner that waits.
    pub waiter: OwnerId,
    /// The owner that it waits for.
    pub holder: OwnerId,
    /// The key on which it waits.
    pub key: Bytes,
}

impl fmt::Display for WaitEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} waits for {} on \"{}\"",
            self.waiter,
            self.holder,
            DisplayKey(&self.key)
        )
    }
}

impl fmt::Debug for WaitEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitEdge")
            .field("waiter", &self.waiter)
            .field("holder", &self.holder)
            .field("key", &DisplayKey(&self.key))
            .finish()
    }
}

/// Why a call of [`LockTable`](super::LockTable) was not granted its lock. The failed call has left the queue and
/// holds nothing; what the owner held before, it still holds.
///
/// Holders are the owners that stood in the way when the call failed: those that held the key, then those ahead in its
/// queue, the nearest first, 64 at most. The list may be empty, where they left at that same moment.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The wait budget ([`Wait::For`](super::Wait::For)) ended first.
    #[error("lock on \"{}\" not granted within {waited:?}, held by {holders:?}", DisplayKey(.key))]
    Timeout {
        /// The key asked for.
        key: Bytes,
        /// Who stood in the way.
        holders: Vec<OwnerId>,
        /// How long the call waited.
        waited: Duration,
    },
    /// The key is held and the call was told not to wait.
    #[error("lock on \"{}\" not available, held by {holders:?}", DisplayKey(.key))]
    NotAvailable {
        /// The key asked for.
        key: Bytes,
        /// Who stood in the way.
        holders: Vec<OwnerId>,
    },
    /// The call was the victim of a deadlock: its owner was the youngest of the cycle.
    #[error("deadlock on \"{}\": {}", DisplayKey(.key), Cycle(.cycle))]
    Deadlock {
        /// The key asked for.
        key: Bytes,
        /// The whole cycle, the victim's edge first; each edge's holder is the next one's waiter.
        cycle: Vec<WaitEdge>,
        /// How long the call waited.
        waited: Duration,
    },
    /// The wait was ended by [`Canceller::cancel`](super::Canceller::cancel) or
    /// [`LockTable::cancel_owner`](super::LockTable::cancel_owner).
    #[error("wait for the lock on \"{}\" cancelled", DisplayKey(.key))]
    Cancelled {
        /// The key asked for.
        key: Bytes,
    },
    /// The call's deadline came before its wait budget ended.
    #[error("deadline passed while waiting {waited:?} for the lock on \"{}\", held by {holders:?}", DisplayKey(.key))]
    DeadlineExceeded {
        /// The key asked for.
        key: Bytes,
        /// Who stood in the way.
        holders: Vec<OwnerId>,
        /// How long the call waited.
        waited: Duration,
    },
    /// [`Acquire::wait`](super::Acquire::wait) on a future that had told its outcome before.
    #[error("the outcome of this call was told before")]
    AlreadyTold,
    /// The operating system refused the table's timer thread, without which a wait could not end by itself.
    /// Only [`LockTable::acquire`](super::LockTable::acquire) needs that thread.
    #[error("the lock table's timer thread could not be started: {reason}")]
    TimerUnavailable {
        /// What the operating system said.
        reason: String,
    },
}

impl LockError {
    /// The key that was asked for, where the error is about one.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Timeout { key, .. }
            | Self::NotAvailable { key, .. }
            | Self::Deadlock { key, .. }
            | Self::Cancelled { key }
            | Self::DeadlineExceeded { key, .. } => Some(key),
            Self::AlreadyTold | Self::TimerUnavailable { .. } => None,
        }
    }
}

impl fmt::Debug for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockError({self})")
    }
}

/// Prints a cycle in one line.
pub(crate) struct Cycle<'a>(pub(crate) &'a [WaitEdge]);

impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, edge) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{edge}")?;
        }
        Ok(())
    }
}
