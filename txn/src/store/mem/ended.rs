//! What became of transactions that have ended, for requests that come twice or late (rule 49).
//!
//! Every end is noted before the transaction leaves the map of open ones, so whoever does not find it there
//! finds it here. The notes lie in striped rings, each under its own short mutex. A ring that is full forgets its
//! oldest note and raises its *horizon* to the forgotten start timestamp: below the horizon a transaction that is
//! not noted may have ended either way, and that is what is answered; above it, it was rolled back or never begun.

use crate::error::{Error, TxnState};
use crate::store::Timestamp;
use crate::store::lock;
use std::collections::VecDeque;
use std::sync::Mutex;

const STRIPES: usize = 16;
/// Notes in one ring: 1 MiB in all at 16 bytes each.
const RING: usize = 4096;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Committed(Timestamp),
    RolledBack,
}

impl End {
    /// The answer to a request that an ended transaction does not take any more.
    pub(super) fn closed(self) -> Error {
        let state = match self {
            End::Committed(_) => TxnState::Committed,
            End::RolledBack => TxnState::RolledBack,
        };
        Error::TransactionClosed { state }
    }
}

/// So many transactions have ended since, that it is no longer known how this one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("transaction {start} ended too long ago to tell how")]
pub struct Forgotten {
    /// Its start timestamp.
    pub start: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Ended {
    stripes: [Mutex<Ring>; STRIPES],
}

#[derive(Debug, Default)]
struct Ring {
    /// Start timestamps and commit timestamps; 0 for rolled back.
    notes: VecDeque<(Timestamp, Timestamp)>,
    horizon: Timestamp,
}

impl Ended {
    pub(super) fn note(&self, start: Timestamp, end: End) {
        let mut ring = lock(self.ring(start));
        if ring.notes.len() == RING {
            let forgotten = ring.notes.pop_front().map_or(0, |(start, _)| start);
            ring.horizon = ring.horizon.max(forgotten);
        }
        let time = match end {
            End::Committed(time) => time,
            End::RolledBack => 0,
        };
        ring.notes.push_back((start, time));
    }

    /// How those up to `horizon` ended is not known, but for what is noted.
    pub(super) fn forget(&self, horizon: Timestamp) {
        for ring in &self.stripes {
            lock(ring).horizon = horizon;
        }
    }

    /// How a transaction ended that is not open.
    pub(super) fn of(&self, start: Timestamp) -> Result<End, Error> {
        let ring = lock(self.ring(start));
        // From the back: what comes twice mostly comes soon.
        match ring.notes.iter().rev().find(|note| note.0 == start) {
            Some((_, 0)) => Ok(End::RolledBack),
            Some((_, time)) => Ok(End::Committed(*time)),
            None if start > ring.horizon => Ok(End::RolledBack),
            None => Err(Error::store(Forgotten { start })),
        }
    }

    /// Whether a transaction of this name is known to have ended.
    pub(super) fn has(&self, start: Timestamp) -> bool {
        let ring = lock(self.ring(start));
        ring.notes.iter().any(|note| note.0 == start)
    }

    fn ring(&self, start: Timestamp) -> &Mutex<Ring> {
        // Multiplied, because a clock that ticks in milliseconds leaves the low bits alike.
        let spread = start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        &self.stripes[spread as usize % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_said_to_be_unknown_and_never_guessed() {
        let ended = Ended::default();
        let count = (STRIPES * RING * 2) as Timestamp;
        for start in 1..=count {
            let end = if start % 2 == 0 {
                End::Committed(start + 1)
            } else {
                End::RolledBack
            };
            ended.note(start, end);
        }
        let (mut known, mut forgotten) = (0, 0);
        for start in (1..=count).step_by(97) {
            let Ok(end) = ended.of(start) else {
                forgotten += 1;
                continue;
            };
            known += 1;
            match end {
                End::Committed(time) => assert!(start % 2 == 0 && time == start + 1),
                End::RolledBack => assert_eq!(start % 2, 1),
            }
        }
        assert!(known > 600 && forgotten > 600, "{known} {forgotten}");
        assert_eq!(ended.of(count).ok(), Some(End::Committed(count + 1)));
        assert_eq!(ended.of(count + 1).ok(), Some(End::RolledBack));
    }
}
