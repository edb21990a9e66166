//! The open transactions of a database, to be ended with it.

use crate::store::{Timestamp, lock};
use crate::transaction::Core;
use crate::wake::wake_all;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

const STRIPES: usize = 16;

/// Transactions by start timestamp, striped. One is entered when it begins and taken out when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    stripes: [Mutex<HashMap<Timestamp, Weak<Core>>>; STRIPES],
    /// Who waits for the last one, and whether anybody does: a stripe's mutex orders the two against a removal.
    waiting: Mutex<Vec<Waker>>,
    is_awaited: AtomicBool,
}

impl Registry {
    pub(super) fn enter(&self, start_ts: Timestamp, core: &Arc<Core>) {
        lock(self.stripe(start_ts)).insert(start_ts, Arc::downgrade(core));
    }

    pub(crate) fn leave(&self, start_ts: Timestamp) {
        let left = lock(self.stripe(start_ts)).remove(&start_ts);
        drop(left);
        if self.is_awaited.load(Ordering::Acquire) {
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            wake_all(waiting);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Core>> {
        let all = |stripe| {
            lock::<HashMap<_, Weak<Core>>>(stripe)
                .values()
                .filter_map(Weak::upgrade)
                .collect::<Vec<_>>()
        };
        self.stripes.iter().flat_map(all).collect()
    }

    /// The start timestamps of those that have not ended, ascending.
    pub(super) fn left(&self) -> Vec<Timestamp> {
        let mut left: Vec<Timestamp> = Vec::new();
        for stripe in &self.stripes {
            left.extend(lock(stripe).keys());
        }
        left.sort_unstable();
        left
    }

    /// Ready once none is left.
    pub(super) async fn empty(&self) {
        poll_fn(|context| {
            // Noted first: one that leaves afterwards wakes.
            self.is_awaited.store(true, Ordering::Release);
            lock(&self.waiting).push(context.waker().clone());
            if self.left().is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn stripe(&self, start_ts: Timestamp) -> &Mutex<HashMap<Timestamp, Weak<Core>>> {
        // Multiplied, because a clock that ticks in milliseconds leaves the low bits alike.
        let spread = start_ts.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        &self.stripes[spread as usize % STRIPES]
    }
}
