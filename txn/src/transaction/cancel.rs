//! Ending calls from elsewhere.

use crate::error::Error;
use crate::store::lock;
use crate::wake::wake_all;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Cancels the calls that it was given to; a clone is the same token. Once cancelled it stays so.
///
/// ```
/// use untorn_txn::{BeginOptions, CancelToken, Db, Error, LockOptions};
///
/// let db = Db::in_memory();
/// let (holder, txn) = (
///     db.blocking().begin(BeginOptions::default())?,
///     db.blocking().begin(BeginOptions::default())?,
/// );
/// holder.blocking().lock_keys(["k"], LockOptions::default())?;
/// let token = CancelToken::new();
/// let options = LockOptions { cancel: Some(token.clone()), ..Default::default() };
/// std::thread::scope(|scope| {
///     let waiting = scope.spawn(|| txn.blocking().lock_keys(["k"], options));
///     token.cancel();
///     assert!(matches!(waiting.join().expect("no panic"), Err(Error::Cancelled)));
/// });
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// The wakers of the calls that wait, by a number for each call.
#[derive(Debug, Default)]
struct Waiting {
    calls: u64,
    wakers: HashMap<u64, Waker>,
}

/// The place of one call; given up when it ends.
struct Seat<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let waker = lock(&self.shared.waiting).wakers.remove(&self.number);
        // After the mutex: what a waker's drop does is not ours.
        drop(waker);
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every call that has the token with [`Error::Cancelled`]. A call that is given it later answers the same, and does
    /// nothing.
    pub fn cancel(&self) {
        self.shared.is_cancelled.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut lock(&self.shared.waiting).wakers);
        wake_all(wakers.into_values());
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled.load(Ordering::Acquire)
    }

    /// The outcome of a call, or [`Error::Cancelled`] if it has a token that is cancelled before that is there.
    pub(super) async fn ends<T>(
        token: Option<&Self>,
        mut call: Pin<&mut impl Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        let Some(token) = token else {
            return call.await;
        };
        let mut seat = None;
        poll_fn(|context| {
            if token.is_cancelled() {
                return Poll::Ready(Err(Error::Cancelled));
            }
            if let Poll::Ready(outcome) = call.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            let seat = seat.get_or_insert_with(|| token.seat());
            let mut waiting = lock(&token.shared.waiting);
            let old = waiting.wakers.insert(seat.number, context.waker().clone());
            drop((waiting, old));
            // Noted first, looked at then: who cancels sets the mark first and takes the wakers then.
            if token.is_cancelled() {
                return Poll::Ready(Err(Error::Cancelled));
            }
            Poll::Pending
        })
        .await
    }

    fn seat(&self) -> Seat<'_> {
        let mut waiting = lock(&self.shared.waiting);
        waiting.calls += 1;
        Seat {
            shared: &self.shared,
            number: waiting.calls,
        }
    }
}
