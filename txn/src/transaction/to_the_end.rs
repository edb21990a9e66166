//! Futures that run to their end once they were polled (rule 60).

use crate::db::Shared;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Polls `future` with its caller, and has the database's thread do so if the caller drops it.
pub(super) struct ToTheEnd<T: Send + 'static> {
    db: Arc<Shared>,
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    is_begun: bool,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(db: &Arc<Shared>, future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            db: Arc::clone(db),
            future: Some(Box::pin(future)),
            is_begun: false,
        }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.is_begun = true;
        // Taken out while it is polled: one that panics is not polled again.
        let Some(mut future) = self.future.take() else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && self.is_begun
        {
            self.db.worker.spawn(async move { drop(future.await) });
        }
    }
}
