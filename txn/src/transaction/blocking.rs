//! The same methods for threads without a runtime, and for threads of one.
//!
//! A thread that waits [looks](crate::spin) for a while and parks. It is woken by whoever releases the lock or by a thread of the store or the database,
//! never by a task that would have to run on the caller's own worker, so blocking within a runtime only holds up
//! that one worker.

use super::{
    CommitInfo, CommitOptions, LockOptions, LockOutcome, Range, RangeForUpdate, RangeLockOptions,
    Transaction,
};
use crate::error::Error;
use crate::spin::Waiting;
use crate::store::TxnStatus;
use crate::sync::{AtomicBool, Ordering, Parker, Unparker};
use bytes::Bytes;
use std::future::Future;
use std::ops::RangeBounds;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Unparks a thread. The flag makes up for the unparks that others may have used up.
struct Parked {
    thread: Unparker,
    is_woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what the waker has done is seen by the poll after the swap that takes the mark. Whoever finds it set leaves
        // the unpark to him who set it; his own doings are seen with it.
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Runs a future to its end on this thread, parked in between.
#[inline(always)] // so that the future is made where it is run
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    // Most answers are there at the first poll, and need no waker.
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => run_parked(future),
    }
}

#[cold]
fn run_parked<T>(mut future: Pin<&mut impl Future<Output = T>>) -> T {
    let parker = Parker::new();
    let parked = Arc::new(Parked {
        thread: parker.unparker(),
        is_woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        let waiting = Waiting::begin();
        waiting.spin_until(|| parked.is_woken.load(Ordering::Relaxed));
        while !parked.is_woken.swap(false, Ordering::Acquire) {
            parker.park_until(None);
        }
    }
}

/// The methods of a [`Transaction`] that may wait, parking the thread; made by [`Transaction::blocking`].
#[derive(Debug, Clone, Copy)]
pub struct Blocking<'a> {
    txn: &'a Transaction,
}

impl<'a> Blocking<'a> {
    pub(super) fn new(txn: &'a Transaction) -> Self {
        Self { txn }
    }

    /// As [`Transaction::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.txn.get(key))
    }

    /// As [`Transaction::batch_get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn batch_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        block_on(self.txn.batch_get(keys))
    }

    /// As [`Transaction::lock_keys`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn lock_keys<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: LockOptions,
    ) -> Result<Vec<LockOutcome>, Error> {
        block_on(self.txn.lock_keys(keys, options))
    }

    /// As [`Transaction::unlock_keys`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn unlock_keys<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<usize, Error> {
        block_on(self.txn.unlock_keys(keys))
    }

    /// As [`Transaction::get_for_update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_for_update(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        block_on(self.txn.get_for_update(key))
    }

    /// As [`Transaction::batch_get_for_update`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn batch_get_for_update<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        block_on(self.txn.batch_get_for_update(keys))
    }

    /// As [`Transaction::range`], as an iterator.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> BlockingRange {
        BlockingRange::new(self.txn.range(bounds))
    }

    /// As [`Transaction::range_for_update`], as an iterator.
    pub fn range_for_update<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
        options: RangeLockOptions,
    ) -> BlockingRange<RangeForUpdate> {
        BlockingRange::new(self.txn.range_for_update(bounds, options))
    }

    /// As [`Transaction::commit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn commit(&self) -> Result<CommitInfo, Error> {
        block_on(self.txn.commit())
    }

    /// As [`Transaction::commit_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn commit_with(&self, options: CommitOptions) -> Result<CommitInfo, Error> {
        block_on(self.txn.commit_with(options))
    }

    /// As [`Transaction::outcome`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn outcome(&self) -> Result<TxnStatus, Error> {
        block_on(self.txn.outcome())
    }

    /// As [`Transaction::rollback`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn rollback(&self) -> Result<(), Error> {
        block_on(self.txn.rollback())
    }
}

/// Rows that come in order, each of them maybe after a wait.
pub trait Rows: Sized {
    /// From the other end.
    fn rev(self) -> Self;

    /// The next key and its value.
    fn next(&mut self) -> impl Future<Output = Result<Option<(Bytes, Bytes)>, Error>>;
}

/// Keys and values in order, of a range whose steps park the thread. Once it has yielded an error it has ended.
#[derive(Debug)]
pub struct BlockingRange<R = Range> {
    range: R,
}

impl<R: Rows> BlockingRange<R> {
    pub(crate) fn new(range: R) -> Self {
        Self { range }
    }

    /// From the back; to be chosen before the first step.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // one direction, chosen once: not a double-ended iterator
    pub fn rev(self) -> Self {
        Self {
            range: self.range.rev(),
        }
    }
}

impl<R: Rows> Iterator for BlockingRange<R> {
    type Item = Result<(Bytes, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.range.next()).transpose()
    }
}

impl<R: Rows> std::iter::FusedIterator for BlockingRange<R> {}
