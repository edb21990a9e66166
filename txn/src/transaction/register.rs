//! Who of a transaction's calls has asked for which lock, and which locks are held.
//!
//! # A key
//!
//! A key is in the register while a call claims it or its lock is held or being given back. It has a count
//! of *claims* (lock calls in flight that name it), a mark *kept* (a call that named it has succeeded), and
//! a place:
//!
//! ```text
//!            ask                 granted                   last claim withdrawn,
//!   Free ----------> Asked(a) --------------> Held(a) ----- not kept -----> Returning(a)
//!    ^                  |                                                       |
//!    +------------------+ denied, withdrawn                                     |
//!    +--------------------------------------------------------------------------+ given back
//! ```
//!
//! `a` is the number of the request, unique in the transaction; the store knows the lock by it. Everything
//! changes under one mutex, held for a few steps and never across a wait or a call of the store.
//!
//! # Rules (30 to 36)
//!
//! - A call claims all its keys before it asks for the first.
//! - It asks for its keys one after another, in order. Of a key that is asked for it waits for the answer (it
//!   *joins*); a key that a sibling claims and has not asked for yet it asks for itself. So what is waited
//!   for is always a request that is with the store, never another call.
//! - A call that fails withdraws its claims. A lock that nobody claims any more and nobody kept goes back,
//!   under its number. While it goes back the key is not asked for anew.
//! - A call that succeeds keeps all its keys in one step.
//! - Once closed, every step is refused but withdrawing.

use crate::error::{Error, TxnState};
use crate::store::{Timestamp, lock};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Mutex;
use std::task::{Poll, Waker};

/// What a lock knows of the value of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Exists,
    Absent,
    Unknown,
}

impl Known {
    pub(super) fn of(exists: Option<bool>) -> Self {
        match exists {
            Some(true) => Self::Exists,
            Some(false) => Self::Absent,
            None => Self::Unknown,
        }
    }

    pub(super) fn exists(self) -> Option<bool> {
        match self {
            Self::Exists => Some(true),
            Self::Absent => Some(false),
            Self::Unknown => None,
        }
    }
}

/// A lock that the store granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) attempt: u64,
    pub(super) known: Known,
    pub(super) for_update_ts: Timestamp,
}

/// What a call finds when it comes to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is to ask for this key and the following ones, `count` in all, under numbers from `first` on.
    Ask { first: u64, count: usize },
    /// The lock is held. `kept`: its flags are published, or being published.
    Held { hold: Hold, kept: bool },
    /// A request or a give-back is with the store.
    Busy,
}

#[derive(Debug, Default)]
pub(super) struct Register {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    closed: bool,
    numbers: u64,
    map: HashMap<Bytes, Key>,
}

#[derive(Debug, Default)]
struct Key {
    claims: usize,
    kept: bool,
    place: Place,
    joiners: Vec<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Free,
    Asked(u64),
    Held(Hold),
    Returning(u64),
}

impl Keys {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed {
            // Whoever calls knows the state better and puts it in.
            return Err(Error::TransactionClosed {
                state: TxnState::RolledBack,
            });
        }
        Ok(())
    }

    fn number(&mut self, count: usize) -> u64 {
        let first = self.numbers + 1;
        self.numbers += count as u64;
        first
    }
}

impl Register {
    /// Claims all keys, or none if the transaction is closed.
    pub(super) fn claim(&self, keys: &[Bytes]) -> Result<(), Error> {
        let mut register = lock(&self.keys);
        register.check_open()?;
        for key in keys {
            register.map.entry(key.clone()).or_default().claims += 1;
        }
        Ok(())
    }

    /// What to do about the first of `keys`, all of which are claimed; at most `most` requests at once.
    pub(super) fn next(&self, keys: &[Bytes], most: usize) -> Result<Next, Error> {
        let mut register = lock(&self.keys);
        register.check_open()?;
        let free = |register: &Keys, key: &Bytes| {
            register
                .map
                .get(key)
                .is_none_or(|key| key.place == Place::Free)
        };
        let count = keys
            .iter()
            .take(most)
            .take_while(|key| free(&register, key))
            .count();
        if count > 0 {
            let first = register.number(count);
            for (key, attempt) in keys[..count].iter().zip(first..) {
                if let Some(key) = register.map.get_mut(key) {
                    key.place = Place::Asked(attempt);
                }
            }
            return Ok(Next::Ask { first, count });
        }
        Ok(match keys.first().and_then(|key| register.map.get(key)) {
            Some(&Key {
                place: Place::Held(hold),
                kept,
                ..
            }) => Next::Held { hold, kept },
            _ => Next::Busy,
        })
    }

    /// A number for a request beside the one that is with the store.
    pub(super) fn number(&self) -> u64 {
        lock(&self.keys).number(1)
    }

    /// Takes in locks that were granted. Those under which the key is not held, because another came first, are
    /// told back, to be released.
    pub(super) fn granted(&self, granted: &[(Bytes, Hold)]) -> Vec<(Bytes, u64)> {
        let mut wakers = Vec::new();
        let mut surplus = Vec::new();
        let mut register = lock(&self.keys);
        for (name, hold) in granted {
            let key = register.map.entry(name.clone()).or_default();
            if let Place::Held(_) = key.place {
                surplus.push((name.clone(), hold.attempt));
            } else {
                key.place = Place::Held(*hold);
                wakers.append(&mut key.joiners);
            }
        }
        drop(register);
        wakers.into_iter().for_each(Waker::wake);
        surplus
    }

    /// Requests, numbered from `first` on, that were denied, withdrawn or not sent.
    pub(super) fn not_granted(&self, keys: &[Bytes], first: u64) {
        let mut wakers = Vec::new();
        let mut register = lock(&self.keys);
        for (name, attempt) in keys.iter().zip(first..) {
            if let Some(key) = register.map.get_mut(name)
                && key.place == Place::Asked(attempt)
            {
                key.place = Place::Free;
                wakers.append(&mut key.joiners);
            }
        }
        drop(register);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready once nothing of this key is with the store.
    pub(super) fn join(&self, key: &Bytes, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut register = lock(&self.keys);
        if let Err(closed) = register.check_open() {
            return Poll::Ready(Err(closed));
        }
        match register.map.get_mut(key) {
            Some(key) if matches!(key.place, Place::Asked(_) | Place::Returning(_)) => {
                if !key.joiners.iter().any(|joiner| joiner.will_wake(waker)) {
                    key.joiners.push(waker.clone());
                }
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// What a later look has found out about a held key.
    pub(super) fn learn(&self, key: &Bytes, found: Known) {
        if let Some(Key {
            place: Place::Held(hold),
            ..
        }) = lock(&self.keys).map.get_mut(key)
        {
            hold.known = found;
        }
    }

    /// A call has succeeded: its claims become locks that stay.
    pub(super) fn keep(&self, keys: &[Bytes]) {
        let mut register = lock(&self.keys);
        for name in keys {
            if let Some(key) = register.map.get_mut(name) {
                key.claims = key.claims.saturating_sub(1);
                key.kept = true;
            }
        }
    }

    /// A call has failed: its claims go. The locks told are to be given back, then [`returned`](Self::returned).
    pub(super) fn withdraw(&self, keys: &[Bytes]) -> Vec<(Bytes, u64)> {
        let mut returning = Vec::new();
        let mut register = lock(&self.keys);
        for name in keys {
            let Some(key) = register.map.get_mut(name) else {
                continue;
            };
            key.claims = key.claims.saturating_sub(1);
            if key.claims > 0 || key.kept {
                continue;
            }
            match key.place {
                Place::Free => {
                    register.map.remove(name);
                }
                Place::Held(hold) => {
                    key.place = Place::Returning(hold.attempt);
                    returning.push((name.clone(), hold.attempt));
                }
                Place::Asked(_) | Place::Returning(_) => {}
            }
        }
        returning
    }

    /// Locks that were given back.
    pub(super) fn returned(&self, returned: &[(Bytes, u64)]) {
        let mut wakers = Vec::new();
        let mut register = lock(&self.keys);
        for (name, attempt) in returned {
            let Some(key) = register.map.get_mut(name) else {
                continue;
            };
            if key.place == Place::Returning(*attempt) {
                key.place = Place::Free;
                wakers.append(&mut key.joiners);
                if key.claims == 0 {
                    register.map.remove(name);
                }
            }
        }
        drop(register);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Refuses everything from now on, and wakes who waits.
    pub(super) fn close(&self) {
        let mut wakers = Vec::new();
        let mut register = lock(&self.keys);
        register.closed = true;
        for key in register.map.values_mut() {
            wakers.append(&mut key.joiners);
        }
        drop(register);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What the lock knows of the key, if a call that locked it has succeeded.
    pub(super) fn kept(&self, key: &Bytes) -> Option<Known> {
        match lock(&self.keys).map.get(key) {
            Some(&Key {
                kept: true,
                place: Place::Held(hold),
                ..
            }) => Some(hold.known),
            _ => None,
        }
    }

    /// Number of locks that are held, published or not.
    pub(super) fn held(&self) -> usize {
        lock(&self.keys)
            .map
            .values()
            .filter(|key| matches!(key.place, Place::Held(_)))
            .count()
    }
}
