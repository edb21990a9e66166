#![forbid(unsafe_code)]
//! Transactions that many threads use at once.

pub mod buffer;
mod db;
mod error;
pub mod flags;
mod key_display;
pub mod lock;
pub mod store;
mod sync;
pub mod transaction;

pub use buffer::{Entry, MemBuffer};
pub use db::{BlockingDb, Db};
pub use error::{Error, TxnState};
pub use flags::{Assertion, FlagOp, KeyFlags};
pub use key_display::{DisplayKey, MAX_PRINTED};
pub use lock::{LockError, LockTable};
pub use store::{ForUpdate, MemStore, Store, Timestamp};
pub use transaction::{
    BeginOptions, CommitInfo, LockOptions, LockOutcome, Mode, OnDrop, Transaction,
};
