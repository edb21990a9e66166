#![forbid(unsafe_code)]
//! Transactions that many threads use at once.

pub mod buffer;
mod error;
pub mod flags;
mod key_display;
pub mod lock;
pub mod store;

pub use buffer::{Entry, MemBuffer};
pub use error::{Error, TxnState};
pub use flags::{Assertion, FlagOp, KeyFlags};
pub use key_display::{DisplayKey, MAX_PRINTED};
pub use lock::{LockError, LockTable};
pub use store::{MemStore, Store, Timestamp};
