//! Futures that run to their end (rule 60).

use crate::db::Shared;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A future that is polled by its caller, and by the database's thread if the caller drops it.
pub(super) struct ToTheEnd<T: Send + 'static> {
    db: Arc<Shared>,
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(db: &Arc<Shared>, future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            db: Arc::clone(db),
            future: Some(Box::pin(future)),
        }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
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
        if let Some(future) = self.future.take() {
            self.db.worker.spawn(async move { drop(future.await) });
        }
    }
}
