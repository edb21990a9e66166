//! The seam between transactions and the data.
//!
//! [`Store`] is what a [`Transaction`](crate::Transaction) asks of the data below it: timestamps, reads at
//! a timestamp, locks, and a commit in two phases. It is small and used as `dyn Store`. Calls give an
//! [`Answer`]: the result at once where the store knows it, a future of it where it has to wait.
//!
//! [`MemStore`] is the embedded store of this crate.

mod answer;
pub mod mem;
mod oracle;
mod request;

pub use answer::Answer;
pub use mem::MemStore;
pub use oracle::{COUNTER_BITS, Timestamp};
pub use request::{ForUpdate, LockKey, Locked, Mutation, MutationOp, Pairs, ScanRequest};

use bytes::Bytes;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::lock::Wait;

/// What transactions need of the data below them.
///
/// A transaction is named by its start timestamp. Every request may come twice or late: a repeated one has the
/// effect of one and the same answer. After [`commit`](Store::commit) or [`rollback`](Store::rollback) the
/// transaction has ended, and what is not a repeated end is
/// [`Error::TransactionClosed`](crate::Error::TransactionClosed), with the state in which it ended.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Opens a transaction: a fresh start timestamp, or the given one. Data that is visible at it is kept
    /// until the transaction ends.
    ///
    /// # Errors
    ///
    /// For a given one [`Error::InvalidTimestamp`](crate::Error::InvalidTimestamp) where it is zero, out of range, in the future or names a
    /// transaction that is open, and [`Error::SnapshotTooOld`](crate::Error::SnapshotTooOld).
    fn begin(&self, given: Option<Timestamp>) -> Answer<'_, Timestamp>;

    /// A timestamp above every one given out before.
    fn timestamp(&self) -> Answer<'_, Timestamp>;

    /// The value of `key` that was committed last at or before `at`.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`](crate::Error::SnapshotTooOld) where it is no longer kept.
    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>>;

    /// The first keys of a range with their values, as they were at a timestamp: in order, or from the back.
    /// Fewer than the limit means: there are no more.
    ///
    /// # Errors
    ///
    /// As for [`get`](Store::get).
    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs>;

    /// Locks one key for the transaction `start`. A failed or dropped request holds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::LockWaitTimeout`](crate::Error::LockWaitTimeout), [`Error::LockNotAvailable`](crate::Error::LockNotAvailable), [`Error::Deadlock`](crate::Error::Deadlock),
    /// [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded), [`Error::WriteConflict`](crate::Error::WriteConflict) and [`Error::InvalidTimestamp`](crate::Error::InvalidTimestamp) (for
    /// [`ForUpdate::At`]), [`Error::KeyExists`](crate::Error::KeyExists) where the key was presumed absent.
    fn lock(&self, start: Timestamp, request: LockKey) -> Answer<'_, Locked>;

    /// Gives back the lock that was taken on `key` under `attempt`, and no other. It takes effect before any
    /// later request for that key by the same transaction.
    fn unlock(&self, start: Timestamp, key: &[u8], attempt: u64);

    /// Ends all waiting in the name of the transaction: its lock requests in flight fail, later ones are
    /// refused. The locks that it holds stay.
    fn stop_locking(&self, start: Timestamp);

    /// The first phase of a commit: locks what is not locked yet, checks everything, and puts the mutations
    /// down where only the decision is missing. Each key once.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`](crate::Error::WriteConflict), [`Error::KeyExists`](crate::Error::KeyExists), those of a lock wait, [`Error::EntryTooLarge`](crate::Error::EntryTooLarge). The
    /// transaction must then be rolled back.
    fn prewrite<'a>(
        &'a self,
        start: Timestamp,
        mutations: &'a [Mutation],
        wait: Wait,
        deadline: Option<Instant>,
    ) -> Answer<'a, ()>;

    /// The second phase: commits everything that was put down, at one instant for every reader, and ends the
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`](crate::Error::TransactionClosed) where it was rolled back before. Where it was
    /// committed before, the answer is that commit's.
    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp>;

    /// Takes back everything that was put down, releases every lock, and ends the transaction. Nothing
    /// happens where that was done before.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`](crate::Error::TransactionClosed) where it was committed before.
    fn rollback(&self, start: Timestamp) -> Answer<'_, ()>;
}

/// Locks a mutex; a panic of an earlier holder does not matter where every change is a single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
