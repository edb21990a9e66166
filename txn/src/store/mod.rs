//! The seam between transactions and the data.
//!
//! [`Store`] is what a [`Transaction`](crate::Transaction) asks of the data below it: timestamps, reads at
//! a timestamp, locks, and a commit in two phases. It is small and used as `dyn Store`. Calls give an
//! [`Answer`]: the result at once where the store knows it, a future of it where it has to wait.
//!
//! [`MemStore`] is the embedded store of this crate. The promises below are tests that any other store can run:
//! [`conformance`]. [`faults`] puts errors, delays, losses and duplicates between a transaction and any store.
//!
//! # What every store promises
//!
//! A transaction is named by its start timestamp. Any request may come twice or late, and in any order:
//!
//! - A repeated request has the effect of one and is answered as the first was. A lock that is asked for after
//!   its attempt was given back is refused.
//! - [`Error::Store`] says that nobody knows whether the request was carried out. It may be sent again; a lock is to be
//!   given back under its attempt. The same goes for an answer that was dropped before it was there. Every other
//!   error is definite: nothing was done.
//! - After its end a transaction locks and writes nothing: [`Error::TransactionClosed`] tells how it ended. A commit
//!   after a rollback is refused like that, and a rollback after a commit. What is neither open nor committed is
//!   rolled back.
//!
//! # Pipelined transactions
//!
//! A [pipelined transaction](crate::transaction::PipelinedTransaction) puts its writes down in *generations* while it goes on
//! writing, and commits them all at one instant. A store that has that says so in [`takes_flushes`](Store::takes_flushes);
//! for every other the calls are [`Error::Unsupported`].
//!
//! ```text
//!   flush 1 ---> flush 2 ---> .. ---> flush n ---> commit: the primary, then all the rest
//!      |            |                    |
//!      +------------+--------------------+-------> rollback of all that was put down
//! ```
//!
//! - [`flush`](Store::flush) is a prewrite of one generation: it locks, checks and puts down. Its primary is the same in
//!   every generation, a key of the first that leaves something.
//! - A key may be in any number of generations. The largest counts, in whatever order they come: so one that is repeated
//!   or late changes nothing that a later one wrote.
//! - [`flushed`](Store::flushed) gives the transaction its own writes back, the newest of each key. Nobody else sees them.
//! - [`commit`](Store::commit), [`rollback`](Store::rollback), [`status`](Store::status) and
//!   [`heartbeat`](Store::heartbeat) are those of every transaction, and so is what becomes of one whose owner is gone. A
//!   generation that comes after the end is refused.
//! - After a generation that failed, a part of it may have been put down: the transaction must be rolled back.

mod answer;
mod attempts;
pub mod conformance;
pub mod faults;
mod flush;
pub mod mem;
mod oracle;
mod read_cache;
mod reply;
mod request;
mod scan;
#[cfg(feature = "tikv")]
pub mod tikv;

pub use answer::Answer;
pub use flush::Flush;
pub use mem::MemStore;
pub use oracle::{COUNTER_BITS, Timestamp};
pub(crate) use read_cache::ReadCache;
pub use read_cache::{OVERHEAD as READ_CACHE_OVERHEAD, ReadCacheStats};
pub use reply::{LockAnswers, Locked, Pairs, Prewritten, SafePoint, TxnStatus};
pub use request::{
    AssertionLevel, Begin, ForUpdate, Guard, LOCK_TTL, LockKey, LockTerms, Mutation, MutationOp,
    Prewrite, ScanRequest,
};
pub(crate) use scan::{Bounds, Scan, owned_bounds, pass};

use crate::{Entry, Error};
use bytes::Bytes;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What transactions need of the data below them. What holds for all of it is told in the [module](self).
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Opens a transaction: a fresh start timestamp, or the given one. Data that is visible at it is kept
    /// until the transaction ends.
    ///
    /// # Errors
    ///
    /// For a given one [`Error::InvalidTimestamp`] where it is zero, out of range, in the future or names a
    /// transaction that is open or is known to have ended, and [`Error::SnapshotTooOld`].
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp>;

    /// A timestamp above every one given out before.
    fn timestamp(&self) -> Answer<'_, Timestamp>;

    /// Keeps what is visible at a timestamp, a fresh or a given one, until [`let_go`](Store::let_go). A timestamp
    /// may be held more than once.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTimestamp`] where it is zero or in the future, and [`Error::SnapshotTooOld`].
    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp>;

    /// Undoes one [`hold`](Store::hold).
    fn let_go(&self, at: Timestamp);

    /// The value of `key` that was committed last at or before `at`.
    ///
    /// # Errors
    ///
    /// [`Error::SnapshotTooOld`] where it is no longer kept.
    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>>;

    /// [`get`](Store::get) of several keys, in the order given.
    ///
    /// # Errors
    ///
    /// As there.
    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        Answer::waiting(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key, at).await?);
            }
            Ok(values)
        })
    }

    /// How many bytes a transaction or a snapshot keeps of what its point reads found, so that it does not ask again. 0, the
    /// default, for a store that is asked as cheaply.
    fn read_cache(&self) -> usize {
        0
    }

    /// The first keys of a range with their values, as they were at a timestamp: in order, or from the back.
    /// Fewer than the limit means: there are no more.
    ///
    /// # Errors
    ///
    /// As for [`get`](Store::get).
    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs>;

    /// How many keys a range of a transaction or a snapshot asks for first; later it asks for four times as many each time, up to
    /// 256. Few in a store that is asked cheaply, so that who takes a row or two does not pay for many. 256, the default, where a
    /// request takes longer than its rows.
    fn first_batch(&self) -> usize {
        scan::BATCH
    }

    /// Locks keys for the transaction `start`: ascending, none twice. A key that it holds in this mode or a stronger
    /// one is granted at once. A lock of a transaction whose owner is gone and whose time to live is over is
    /// resolved, also for a request that does not wait.
    ///
    /// Each answer tells of one key: what fails leaves that key unlocked, and the others as they are answered. There
    /// may be fewer answers than keys: of those not answered nothing is locked, nor will be, and they may be asked for
    /// again. A store in this process answers up to the first key that it would have to wait for, which may be none of
    /// several, and waits where it is asked for one key alone: so nobody waits for one key while others of its request
    /// are locked and untold. A distributed one asks each region once, all at the same time, and answers every key; a
    /// key that was not locked because of another one in its region has that one's error. An error of the whole
    /// request is that of each key.
    ///
    /// # Errors
    ///
    /// [`Error::LockWaitTimeout`], [`Error::LockNotAvailable`], [`Error::Deadlock`],
    /// [`Error::DeadlineExceeded`], [`Error::WriteConflict`] and [`Error::InvalidTimestamp`] (for
    /// [`ForUpdate::At`]), [`Error::KeyExists`] where the key was presumed absent,
    /// [`Error::OptionConflict`] for an exclusive request where it holds the key shared.
    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers>;

    /// Gives back the locks that were taken on keys under these attempts, and no others. It takes effect before any
    /// later request for those keys by the same transaction.
    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()>;

    /// Ends all waiting in the name of the transaction: its lock requests in flight fail, later ones are
    /// refused. The locks that it holds stay.
    fn stop_locking(&self, start: Timestamp);

    /// A sign of life: the transaction's locks live for `ttl` from now on.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`] where it has ended, by its own hand or because it was taken for dead.
    fn heartbeat(&self, start: Timestamp, primary: Bytes, ttl: Duration) -> Answer<'_, ()>;

    /// How far a transaction has come. One whose owner is gone and whose time to live is over is rolled back
    /// hereby.
    fn status(&self, start: Timestamp, primary: Bytes) -> Answer<'_, TxnStatus>;

    /// The first phase of a commit: locks what is not locked yet, checks everything, and puts the mutations
    /// down where only the decision is missing.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`], [`Error::KeyExists`], [`Error::AssertionFailed`],
    /// [`Error::LockLost`], those of a lock wait, [`Error::EntryTooLarge`], [`Error::SnapshotTooOld`] where
    /// a conflict can no longer be told. The transaction must then be rolled back.
    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten>;

    /// Whether a prewrite may commit, so that one which was not answered leaves that open.
    fn decides_in_prewrite(&self) -> bool {
        false
    }

    /// Whether it takes [`flush`](Store::flush) and [`flushed`](Store::flushed).
    fn takes_flushes(&self) -> bool {
        false
    }

    /// Puts one generation of a pipelined transaction down. A key that a later generation has written stays as it is.
    ///
    /// A transaction that flushes is prewritten by nothing else.
    ///
    /// # Errors
    ///
    /// Those of [`prewrite`](Store::prewrite), [`Error::OptionConflict`] for what is not part of a generation
    /// ([`Flush`]), [`Error::Unsupported`].
    fn flush<'a>(&'a self, _start: Timestamp, _request: &'a Flush) -> Answer<'a, ()> {
        Answer::ready(Err(NO_FLUSHES))
    }

    /// What the generations of a transaction that is open have put down for keys, in the order given: the newest of each, a
    /// tombstone where that deletes, `None` where none has written it.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`], [`Error::Unsupported`].
    fn flushed<'a>(
        &'a self,
        _start: Timestamp,
        _keys: &'a [Bytes],
    ) -> Answer<'a, Vec<Option<Entry>>> {
        Answer::ready(Err(NO_FLUSHES))
    }

    /// The second phase: commits everything that was put down, at one instant for every reader, and ends the
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`] where it was rolled back before;
    /// [`Error::LogFailed`], and it is rolled back hereby.
    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp>;

    /// Takes back everything that was put down, releases every lock, and ends the transaction. Nothing
    /// happens where it was rolled back before.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`] where it was committed before.
    fn rollback(&self, start: Timestamp) -> Answer<'_, ()>;

    /// Waits, until the deadline at most, for what the store does in the background for anybody: ends that nobody waits
    /// for, locks that go back. Says whether all of it is done. [`Db::close`](crate::Db::close) asks at last.
    fn settle(&self, deadline: Instant) -> Answer<'_, bool> {
        let _ = deadline;
        Answer::ready(Ok(true))
    }

    /// Up to where old versions may have been dropped: the oldest open transaction or snapshot.
    fn safe_point(&self) -> Answer<'_, SafePoint>;
}

/// For stores that hold no generations.
pub(crate) const NO_FLUSHES: Error = Error::Unsupported {
    what: "pipelined transactions",
};

/// Locks a mutex; a panic of an earlier holder does not matter where every change is a single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
