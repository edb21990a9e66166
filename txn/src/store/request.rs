//! What a transaction asks of a store, and what it is told.

use super::Timestamp;
use crate::DisplayKey;
use crate::lock::Wait;
use bytes::Bytes;
use std::fmt;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Keys with their values.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// A part of the data, as it was at a timestamp.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// Where the range begins.
    pub lower: Bound<Bytes>,
    /// Where it ends.
    pub upper: Bound<Bytes>,
    /// The timestamp.
    pub at: Timestamp,
    /// How many keys at most.
    pub limit: usize,
    /// From the back.
    pub reverse: bool,
}

/// As of when a locked key is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForUpdate {
    /// As of the grant: there can be no conflict.
    #[default]
    Fresh,
    /// As of this timestamp: a later commit of the key is [`Error::WriteConflict`](crate::Error::WriteConflict).
    At(Timestamp),
}

/// The terms of one lock.
#[derive(Debug, Clone)]
pub struct LockKey {
    /// The key.
    pub key: Bytes,
    /// Names this request among those of its transaction for this key.
    pub attempt: u64,
    /// As of when.
    pub for_update: ForUpdate,
    /// How long to stand in the queue.
    pub wait: Wait,
    /// When to give up in any case.
    pub deadline: Option<Instant>,
    /// Whether to tell the value; implies `existence`.
    pub value: bool,
    /// Whether to tell if there is a value.
    pub existence: bool,
    /// Fail with [`Error::KeyExists`](crate::Error::KeyExists) if there is a value; implies `existence`.
    pub absent: bool,
}

/// A lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// As of when the key was seen.
    pub for_update_ts: Timestamp,
    /// Whether it had a value, where that was asked.
    pub exists: Option<bool>,
    /// Its value, where that was asked.
    pub value: Option<Bytes>,
    /// How long the request stood in the queue.
    pub waited: Duration,
}

/// What a commit does to one key.
#[derive(Clone, PartialEq, Eq)]
pub enum MutationOp {
    /// Sets the value.
    Put(Bytes),
    /// Sets the value; fails if there is one.
    Insert(Bytes),
    /// Deletes the key.
    Delete,
    /// Changes nothing, but conflicts with whoever looked at the key before and writes it after.
    Lock,
    /// Changes nothing and leaves nothing; fails if there is a value.
    CheckNotExists,
}

impl fmt::Debug for MutationOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(f, "Put({} bytes)", value.len()),
            Self::Insert(value) => write!(f, "Insert({} bytes)", value.len()),
            Self::Delete => f.write_str("Delete"),
            Self::Lock => f.write_str("Lock"),
            Self::CheckNotExists => f.write_str("CheckNotExists"),
        }
    }
}

/// One mutation of a commit.
#[derive(Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The key.
    pub key: Bytes,
    /// What happens to it.
    pub op: MutationOp,
    /// Fail with [`Error::WriteConflict`](crate::Error::WriteConflict) if the key was committed after the start
    /// timestamp. Not set for keys that the transaction locked: there the lock did the check.
    pub check_conflict: bool,
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutation")
            .field("key", &format_args!("\"{}\"", DisplayKey(&self.key)))
            .field("op", &self.op)
            .field("check_conflict", &self.check_conflict)
            .finish()
    }
}
