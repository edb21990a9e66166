//! One key of the register, and what its lock knows.

use super::fair::Pending;
use super::seats::Seats;
use crate::lock::LockMode;
use crate::mutant::planted;
use crate::store::Timestamp;
use bytes::Bytes;

/// What a lock knows of the value of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transaction) enum Known {
    Exists,
    Absent,
    Unknown,
}

impl Known {
    pub(in crate::transaction) fn of(exists: Option<bool>) -> Self {
        match exists {
            Some(true) => Self::Exists,
            Some(false) => Self::Absent,
            None => Self::Unknown,
        }
    }

    pub(in crate::transaction) fn exists(self) -> Option<bool> {
        match self {
            Self::Exists => Some(true),
            Self::Absent => Some(false),
            Self::Unknown => None,
        }
    }
}

/// A lock that the store granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transaction) struct Hold {
    pub(in crate::transaction) attempt: u64,
    pub(in crate::transaction) mode: LockMode,
    pub(in crate::transaction) known: Known,
    pub(in crate::transaction) for_update_ts: Timestamp,
    /// A commit that a forced lock was granted in spite of.
    pub(in crate::transaction) conflict_ts: Option<Timestamp>,
}

/// A lock, and the primary that its request named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) hold: Hold,
    pub(super) primary: Bytes,
}

/// A key that is claimed, held or being given back.
pub(super) struct Key {
    pub(super) name: Bytes,
    pub(super) claims: usize,
    pub(super) kept: bool,
    /// What fair mode keeps with it, while it is pending.
    pub(super) pending: Option<Box<Pending>>,
    pub(super) place: Place,
    /// The lock that it is asked for anew beside, because the primary has changed.
    pub(super) old: Option<Box<Lock>>,
    pub(super) joiners: Seats,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Free,
    Asked(u64),
    Held(Lock),
    Returning {
        attempt: u64,
        /// The store gave no answer, and is asked again.
        is_unanswered: bool,
    },
}

impl Place {
    /// The lock of this number goes back.
    pub(super) fn returning(attempt: u64) -> Self {
        Self::Returning {
            attempt,
            is_unanswered: false,
        }
    }

    /// The number of the lock, if one is held.
    pub(super) fn held(&self) -> Option<u64> {
        match self {
            Self::Held(lock) => Some(lock.hold.attempt),
            Self::Free | Self::Asked(_) | Self::Returning { .. } => None,
        }
    }
}

impl Key {
    pub(super) fn of(name: Bytes) -> Self {
        Self {
            name,
            claims: 0,
            kept: false,
            pending: None,
            place: Place::Free,
            old: None,
            joiners: Seats::new(),
        }
    }

    /// Nobody wants its lock.
    pub(super) fn is_unwanted(&self) -> bool {
        let is_claimed = self.claims > 0 && !planted("withdraw-a-siblings-claim");
        !is_claimed && !self.kept && self.pending.is_none()
    }
}
