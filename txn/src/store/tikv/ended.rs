//! How transactions ended, for requests that come twice or late (rule 49).
//!
//! The last tens of thousands are remembered. The *horizon* is the largest start timestamp that was forgotten: what is
//! not noted below it may have ended either way, and that is what is answered; above it, it was not begun here.

use crate::error::{Error, TxnState};
use crate::store::{Timestamp, lock, mem::Forgotten};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

const REMEMBERED: usize = 1 << 16;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Committed {
        at: Timestamp,
        /// By its prewrite, which answers the same when it comes again; in one phase or not.
        by_prewrite: Option<bool>,
    },
    RolledBack,
}

impl End {
    /// By a commit of its own.
    pub(super) fn committed(at: Timestamp) -> Self {
        End::Committed {
            at,
            by_prewrite: None,
        }
    }

    /// The answer to a request that an ended transaction does not take any more.
    pub(super) fn closed(self) -> Error {
        let state = match self {
            End::Committed { .. } => TxnState::Committed,
            End::RolledBack => TxnState::RolledBack,
        };
        Error::TransactionClosed { state }
    }

    /// By a request that left no locks of what it wrote.
    pub(super) fn is_one_phase(self) -> bool {
        let by_prewrite = match self {
            End::Committed { by_prewrite, .. } => by_prewrite,
            End::RolledBack => None,
        };
        by_prewrite == Some(true)
    }

    /// Zero for one that was rolled back.
    pub(super) fn commit_ts(self) -> Timestamp {
        match self {
            End::Committed { at, .. } => at,
            End::RolledBack => 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ended {
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    ends: HashMap<Timestamp, End>,
    order: VecDeque<Timestamp>,
    horizon: Timestamp,
}

impl Ended {
    pub(super) fn note(&self, start: Timestamp, end: End) {
        let mut notes = lock(&self.notes);
        if notes.ends.insert(start, end).is_some() {
            return;
        }
        notes.order.push_back(start);
        if notes.order.len() > REMEMBERED
            && let Some(forgotten) = notes.order.pop_front()
        {
            notes.ends.remove(&forgotten);
            notes.horizon = notes.horizon.max(forgotten);
        }
    }

    pub(super) fn of(&self, start: Timestamp) -> Option<End> {
        lock(&self.notes).ends.get(&start).copied()
    }

    /// The answer for a transaction that is not noted.
    pub(super) fn unknown(&self, start: Timestamp) -> Error {
        if start > lock(&self.notes).horizon {
            End::RolledBack.closed()
        } else {
            Error::store(Forgotten { start })
        }
    }
}
