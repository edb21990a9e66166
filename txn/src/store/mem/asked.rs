//! The keys for which an open transaction has asked, and that no lock appears once it has ended.
//!
//! A transaction notes every key that it asks for in [`Asked`], under a mutex that its end takes too: so a
//! request is either noted before the end, which then ends its wait and releases what it got, or it is refused.

use super::core::{COLLECTOR, Core, Open};
use crate::error::Error;
use crate::lock::{Acquire, Granted, LockMode, LockRequest, Refused, Taking, Wait};
use crate::store::attempts::Attempts;
use crate::store::{Timestamp, lock};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

/// Notes of a transaction that may be in vain before it is looked which of its keys it still holds.
const REVIEW: usize = 1024;

/// The keys for which a transaction has asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) keys: Mutex<AskedKeys>,
}

#[derive(Debug, Default)]
pub(super) struct AskedKeys {
    pub(super) closed: bool,
    keys: Vec<Bytes>,
    /// Notes of locks that were let go, or waited for, since the last review.
    pub(super) in_vain: usize,
    /// Attempts that were given back: a request that comes after that is refused.
    given_back: Attempts,
}

#[cfg(test)]
impl Asked {
    /// How many keys are noted.
    pub(super) fn noted(&self) -> usize {
        lock(&self.keys).keys.len()
    }
}

impl AskedKeys {
    pub(super) fn reserve(&mut self, more: usize) {
        self.keys.reserve(more);
    }

    pub(super) fn is_given_back(&self, attempt: u64) -> bool {
        self.given_back.contains(attempt)
    }
}

/// Why a lock was not taken at once.
pub(super) enum NotTaken {
    HasToWait,
    Denied(Error),
}

impl Core {
    /// Forgets what is no longer held, once many notes may be in vain.
    pub(super) fn review(&self, open: &Open, asked: &mut AskedKeys) {
        if asked.in_vain < REVIEW.max(asked.keys.len() / 2) {
            return;
        }
        let owner = open.held.at;
        asked.keys.sort_unstable();
        asked.keys.dedup();
        // What is still queued must stay noted, too.
        let waiting = self.locks.waited_for_by(owner);
        asked
            .keys
            .retain(|key| waiting.contains(key) || self.locks.mode_of(owner, key).is_some());
        asked.in_vain = 0;
    }

    /// A place in the lock's queue; the key is noted with it.
    pub(super) fn queue(
        &self,
        open: &Open,
        key: &Bytes,
        mode: LockMode,
        terms: &LockRequest,
        asked: &mut AskedKeys,
    ) -> Acquire {
        asked.keys.push(key.clone());
        asked.in_vain += 1;
        self.locks.acquire(open.held.at, key, mode, terms)
    }

    /// Waits in the queue, and looks from time to time whether who is in the way is still there.
    pub(super) async fn wait(
        &self,
        owner: Timestamp,
        key: &Bytes,
        mut acquire: Acquire,
    ) -> Result<Granted, Error> {
        let granted = poll_fn(|context| {
            let ended = Pin::new(&mut acquire).poll(context);
            if ended.is_pending()
                && let Some(next) = self.resolve_holders(key, owner)
            {
                acquire.wake_at(next);
            }
            ended
        });
        Ok(granted.await?)
    }

    /// Releases these attempts, and refuses them if they come later.
    pub(super) fn give_back(&self, start: Timestamp, locks: &[(Bytes, u64)]) {
        let Ok(open) = self.open(start) else { return };
        let mut asked = lock(&open.asked.keys);
        for (_, attempt) in locks {
            asked.given_back.insert(*attempt);
        }
        asked.in_vain += locks.len();
        drop(asked);
        for (key, attempt) in locks {
            self.locks.release(start, key, *attempt);
        }
    }

    pub(super) fn stop_asking(&self, open: &Open) {
        lock(&open.asked.keys).closed = true;
        self.locks.cancel_owner(open.held.at);
    }

    /// Releases every lock of a transaction that was decided.
    pub(super) fn release_locks(&self, open: &Open) {
        let keys = {
            let mut asked = lock(&open.asked.keys);
            asked.closed = true;
            std::mem::take(&mut asked.keys)
        };
        self.locks.cancel_owner(open.held.at);
        self.locks.release_all(open.held.at, keys);
    }
}

/// The lock, if it is free; the key is noted with it.
pub(super) fn take(
    taking: &mut Taking<'_>,
    key: &Bytes,
    terms: &LockRequest,
    asked: &mut AskedKeys,
) -> Result<(), NotTaken> {
    let no_wait = no_wait(terms.wait);
    let holders = loop {
        match taking.take(key, terms.attempt, no_wait) {
            Ok(already_held) => {
                // One that is held is noted.
                if !already_held {
                    asked.keys.push(key.clone());
                }
                return Ok(());
            }
            Err(Refused::Upgrade) => return Err(NotTaken::Denied(UPGRADE)),
            // It holds a lock for a few steps only and waits for nobody: not worth a refusal.
            Err(Refused::HeldBy(COLLECTOR)) => std::thread::yield_now(),
            Err(Refused::HeldBy(holder)) => break vec![holder],
            Err(Refused::Crowded(holders)) => break holders,
        }
    };
    if no_wait {
        let key = key.clone();
        return Err(NotTaken::Denied(Error::LockNotAvailable { key, holders }));
    }
    Err(NotTaken::HasToWait)
}

/// A transaction that holds a key shared never gets it exclusively.
pub(super) const UPGRADE: Error = Error::OptionConflict {
    reason: "the transaction holds the key shared, and locks are not upgraded",
};

pub(super) fn no_wait(wait: Wait) -> bool {
    matches!(wait, Wait::NoWait) || wait == Wait::For(Duration::ZERO)
}
