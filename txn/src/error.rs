//! The one error type of this crate.
//!
//! Every failure that a caller can cause is one of these, never a panic, and a call that returns
//! one has changed nothing. Calls that must give something back with the failure (a stage whose
//! close came out of order) have a type of their own that converts into [`Error`].

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
    /// The write would have taken the buffer over its limit.
    #[error("transaction of {size} bytes would be over the limit of {limit}")]
    TxnTooLarge {
        /// The size that the buffer would have reached.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The stage is not the innermost open one, or a stage is open where none may be.
    #[error("the stage is not the innermost open one")]
    StageOrder,
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
