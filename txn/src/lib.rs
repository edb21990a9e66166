#![forbid(unsafe_code)]
//! Transactions that many threads use at once.

mod key_display;
pub mod lock;
mod sync;

pub use key_display::{DisplayKey, MAX_PRINTED};
pub use lock::{LockError, LockTable};
