//! Copies of requests that are delivered once more, later.

use crate::lock::Wait;
use crate::store::{Answer, Flush, LockKey, LockTerms, Prewrite, Store, Timestamp, lock};
use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

/// So many are under way before the oldest is delivered.
pub(super) const UNDER_WAY: usize = 3;

/// A request that changes something. Its copy does not wait for a lock: nobody would give the place in the queue up.
#[derive(Debug)]
pub(super) enum Change {
    Lock(Timestamp, Vec<LockKey>, LockTerms),
    Unlock(Timestamp, Vec<(Bytes, u64)>),
    Prewrite(Timestamp, Prewrite),
    Flush(Timestamp, Flush),
    Commit(Timestamp),
    Rollback(Timestamp),
}

impl Change {
    pub(super) fn of_lock(start: Timestamp, keys: &[LockKey], terms: &LockTerms) -> Self {
        let terms = LockTerms {
            wait: Wait::NoWait,
            ..terms.clone()
        };
        Self::Lock(start, keys.to_vec(), terms)
    }

    pub(super) fn of_prewrite(start: Timestamp, request: &Prewrite) -> Self {
        let wait = Wait::NoWait;
        Self::Prewrite(
            start,
            Prewrite {
                wait,
                ..request.clone()
            },
        )
    }

    pub(super) fn of_flush(start: Timestamp, request: &Flush) -> Self {
        let mut copy = request.clone();
        copy.prewrite.wait = Wait::NoWait;
        Self::Flush(start, copy)
    }

    fn deliver(self, store: &dyn Store) {
        match self {
            Self::Lock(start, keys, terms) => send(store.lock(start, &keys, &terms)),
            Self::Unlock(start, locks) => send(store.unlock(start, locks)),
            Self::Prewrite(start, request) => send(store.prewrite(start, &request)),
            Self::Flush(start, request) => send(store.flush(start, &request)),
            Self::Commit(start) => send(store.commit(start)),
            Self::Rollback(start) => send(store.rollback(start)),
        }
    }
}

/// The first poll sends a request; nobody waits for the answer.
fn send<T>(mut answer: Answer<'_, T>) {
    let _ = Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop()));
}

/// Those under way, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Late {
    copies: Mutex<VecDeque<Change>>,
}

impl Late {
    pub(super) fn add(&self, copy: Change) {
        lock(&self.copies).push_back(copy);
    }

    /// Delivers the oldest if more than `under_way` are. Says whether it did.
    pub(super) fn deliver_one(&self, store: &dyn Store, under_way: usize) -> bool {
        let copy = {
            let mut copies = lock(&self.copies);
            if copies.len() <= under_way {
                return false;
            }
            copies.pop_front()
        };
        copy.map(|copy| copy.deliver(store)).is_some()
    }
}
