#![forbid(unsafe_code)]
//! Transactions that many threads use at once.

pub mod buffer;
mod error;
pub mod flags;

pub use buffer::{Entry, MemBuffer};
pub use error::{Error, TxnState};
pub use flags::{Assertion, FlagOp, KeyFlags};
