//! What a store's call gives back: the answer at once, or a future of it.
//!
//! An embedded store knows nearly every answer when it is asked: only a queued lock has to wait. A boxed
//! future per call would cost it an allocation and an indirect call each time, an `async fn` in the trait
//! would cost `dyn Store`. So the answer is an enum that is itself a future: [`Answer::Ready`] completes at
//! the first poll and allocates nothing, [`Answer::Waiting`] is the boxed future that a remote store (or a
//! lock queue) needs. No runtime is named: whoever polls, drives it.

use crate::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The answer to a request: known already, or to be waited for.
///
/// Dropping one that waits withdraws the request where that is still possible.
#[must_use = "an answer does nothing unless it is awaited or taken"]
pub enum Answer<'a, T> {
    /// Known. `None` once it was taken by a poll.
    Ready(Option<Result<T, Error>>),
    /// Not known yet.
    Waiting(Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    /// An answer that is known already.
    pub const fn ready(result: Result<T, Error>) -> Self {
        Self::Ready(Some(result))
    }

    /// An answer that `future` will give.
    pub fn waiting(future: impl Future<Output = Result<T, Error>> + Send + 'a) -> Self {
        Self::Waiting(Box::pin(future))
    }
}

/// Nothing in an `Answer` is pinned in place: what waits is behind a box.
impl<T> Unpin for Answer<'_, T> {}

impl<T> Future for Answer<'_, T> {
    type Output = Result<T, Error>;

    /// # Panics
    ///
    /// When polled again after it was ready, as futures may.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(result) => Poll::Ready(
                result
                    .take()
                    .expect("an answer is not polled again once it was ready"),
            ),
            Self::Waiting(future) => future.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Answer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(Some(Ok(_))) => "Answer::Ready(Ok)",
            Self::Ready(Some(Err(_))) => "Answer::Ready(Err)",
            Self::Ready(None) => "Answer::Ready(taken)",
            Self::Waiting(_) => "Answer::Waiting",
        })
    }
}
