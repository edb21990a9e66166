//! What a store tells a transaction.

use super::Timestamp;
use crate::Error;
use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt;
use std::time::Duration;

/// Keys with their values.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// The answers to a lock request, one for each of its first keys, in their order. See [`Store::lock`](super::Store::lock).
pub type LockAnswers = SmallVec<[Result<Locked, Error>; 1]>;

/// The answer for a key whose lock was not refused.
#[derive(Clone, PartialEq, Eq)]
pub struct Locked {
    /// Whether the key is locked now: not where only existing keys were to be, and it has no value.
    pub locked: bool,
    /// As of when the key was seen.
    pub for_update_ts: Timestamp,
    /// A commit after the timestamp that was asked for, under which a forced lock was granted all the same.
    pub conflict_ts: Option<Timestamp>,
    /// Whether it had a value, where that was asked.
    pub exists: Option<bool>,
    /// Its value, where that was asked.
    pub value: Option<Bytes>,
    /// How long the request stood in the queue.
    pub waited: Duration,
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("locked", &self.locked)
            .field("for_update_ts", &self.for_update_ts)
            .field("conflict_ts", &self.conflict_ts)
            .field("exists", &self.exists)
            .field("value_len", &self.value.as_ref().map(Bytes::len))
            .field("waited", &self.waited)
            .finish()
    }
}

/// How far the first phase of a commit has brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prewritten {
    /// Everything is put down, the decision is missing: [`Store::commit`](super::Store::commit) makes it.
    Undecided,
    /// The store has decided along with it.
    Committed {
        /// When.
        at: Timestamp,
        /// In this single request.
        one_phase: bool,
    },
}

/// What a store says of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TxnStatus {
    /// Not decided.
    Open,
    /// Committed at this timestamp.
    Committed(Timestamp),
    /// Rolled back, or never known.
    RolledBack,
}

/// Up to where old versions may have been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafePoint {
    /// Reads below it are refused.
    pub at: Timestamp,
    /// How far it lies in the past: how long something old has been open.
    pub age: Duration,
}
