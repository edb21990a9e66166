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
//!    ^                  | |                                                     |  ^
//!    +------------------+ +---------------- unanswered, dropped ----------------|--+
//!    |         denied                                                           |
//!    +--------------------------------------------------------------------------+ given back
//! ```
//!
//! `a` is the number of the request, unique in the transaction; the store knows the lock by it. Everything
//! changes under one mutex, held for a few steps and never across a wait or a call of the store.
//!
//! # Rules (30 to 37)
//!
//! - A call claims all its keys before it asks for the first.
//! - It asks for its keys in order, neighbours that are free in one request. Of a key that is asked for it waits for
//!   the answer (it *joins*); a key that a sibling claims and has not asked for yet it asks for itself. So what is
//!   waited for is always a request that is with the store, never another call.
//! - The first key that is asked for is the [*primary*](primary), and is asked for alone: until it is granted nothing
//!   else is.
//! - A call that fails withdraws its claims. A lock that nobody claims any more and nobody kept goes back,
//!   under its number. While it goes back the key is not asked for anew.
//! - A call that succeeds keeps all its keys in one step, or leaves them [pending](fair) in fair mode.
//! - Once closed, every step is refused but withdrawing.

mod fair;
mod primary;

use crate::error::{Error, TxnState};
use crate::lock::LockMode;
use crate::store::Timestamp;
use crate::sync::Mutex;
use bytes::Bytes;
use fair::Fair;
use primary::Primary;
use std::collections::HashMap;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) attempt: u64,
    pub(super) mode: LockMode,
    pub(super) known: Known,
    pub(super) for_update_ts: Timestamp,
    /// A commit that a forced lock was granted in spite of.
    pub(super) conflict_ts: Option<Timestamp>,
    /// The primary that its request named.
    pub(super) primary: Bytes,
}

/// What a call says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) mode: LockMode,
    /// The round of fair mode that the call belongs to.
    pub(super) round: Option<u64>,
    /// It locks only what exists, and names more keys than one.
    pub(super) needs_primary: bool,
}

/// What a call finds when it comes to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is to ask for this key and the following ones, `count` in all, under numbers from `first` on.
    Ask {
        first: u64,
        count: usize,
        primary: Bytes,
    },
    /// The lock is held. `kept`: its flags are published, or being published.
    Held { hold: Hold, kept: bool },
    /// A sibling's request is with the store; a request beside it would name this primary.
    Asked { primary: Bytes },
    /// It is being given back.
    Returning,
    /// The primary is not granted yet.
    NoPrimary { key: Bytes, is_queued: bool },
}

/// What a withdrawal leaves to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Withdrawn {
    /// To be given back, then [`returned`](Register::returned).
    pub(super) locks: Vec<(Bytes, u64)>,
    /// The primary, which stays because other locks name it: its flag is to be set.
    pub(super) primary: Option<Bytes>,
}

impl Withdrawn {
    /// Locks to be given back, and nothing else.
    pub(super) fn of(locks: Vec<(Bytes, u64)>) -> Self {
        Self {
            locks,
            primary: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Register {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    closed: bool,
    numbers: u64,
    map: HashMap<Bytes, Key>,
    /// Keys that are asked for or held.
    active: usize,
    primary: Option<Primary>,
    fair: Fair,
    /// The newest timestamp as of which a lock saw its key.
    newest: Timestamp,
    /// A heartbeat runs.
    is_beating: bool,
}

#[derive(Debug, Default)]
struct Key {
    claims: usize,
    kept: bool,
    /// The last round of fair mode that locked it, while it is pending.
    pending: Option<u64>,
    place: Place,
    /// The lock that it is asked for anew beside, because the primary has changed.
    old: Option<Hold>,
    joiners: Vec<Waker>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
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

    /// The number of leading keys that may be asked for under this primary.
    fn askable(&self, keys: &[Bytes], most: usize) -> usize {
        keys.iter()
            .take(most)
            .take_while(|key| {
                self.map
                    .get(*key)
                    .is_none_or(|key| key.place == Place::Free)
            })
            .count()
    }

    /// Takes an unanswered or denied request off a key. The lock that it was asked for beside is held as before.
    fn not_asked(&mut self, name: &Bytes, attempt: u64, then: Place, wakers: &mut Vec<Waker>) {
        let Some(key) = self.map.get_mut(name) else {
            return;
        };
        if key.place != Place::Asked(attempt) {
            return;
        }
        wakers.append(&mut key.joiners);
        if let Some(old) = key.old.take() {
            key.place = Place::Held(old);
            return;
        }
        key.place = then;
        self.active -= 1;
        self.primary_denied(name, wakers);
    }
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Default for Register {
    fn default() -> Self {
        Self {
            keys: Mutex::new(Keys::default()),
        }
    }
}

impl Register {
    /// Claims all keys for a call, or none if that is not possible. Says which round of fair mode the call belongs to.
    pub(super) fn claim(&self, keys: &[Bytes], mode: LockMode) -> Result<Option<u64>, Error> {
        let mut register = self.keys.lock();
        register.check_open()?;
        let round = register.fair.enter(keys.len(), mode)?;
        for key in keys {
            register.map.entry(key.clone()).or_default().claims += 1;
        }
        Ok(round)
    }

    /// What to do about the first of `keys`, all of which are claimed; at most `most` requests at once.
    pub(super) fn next(&self, keys: &[Bytes], most: usize, terms: Terms) -> Result<Next, Error> {
        let mut register = self.keys.lock();
        register.check_open()?;
        let Some(name) = keys.first() else {
            return Ok(Next::Returning);
        };
        let key = register.map.get(name);
        match key.map(|key| &key.place) {
            Some(Place::Held(hold)) => {
                if hold.mode < terms.mode {
                    return Err(Error::OptionConflict {
                        reason: "the key is locked shared, and locks are not upgraded",
                    });
                }
                let (hold, kept) = (hold.clone(), key.is_some_and(|key| key.kept));
                if kept || terms.round.is_none() || register.adopt(name, &hold) {
                    return Ok(Next::Held { hold, kept });
                }
                return Ok(register.ask_anew(name));
            }
            Some(Place::Asked(_)) => {
                let primary = register.primary.as_ref().map(|primary| primary.key.clone());
                let primary = primary.unwrap_or_else(|| name.clone());
                return Ok(Next::Asked { primary });
            }
            Some(Place::Returning(_)) => return Ok(Next::Returning),
            Some(Place::Free) | None => {}
        }
        let (primary, most) = match &register.primary {
            Some(primary) if primary.is_granted => (primary.key.clone(), most),
            Some(Primary { key, is_queued, .. }) => {
                return Ok(Next::NoPrimary {
                    key: key.clone(),
                    is_queued: *is_queued,
                });
            }
            None => (register.choose(name, terms)?, 1),
        };
        let count = register.askable(keys, most);
        let first = register.number(count);
        for (name, attempt) in keys[..count].iter().zip(first..) {
            if let Some(key) = register.map.get_mut(name) {
                key.place = Place::Asked(attempt);
            }
        }
        register.active += count;
        Ok(Next::Ask {
            first,
            count,
            primary,
        })
    }

    /// A number for a request beside the one that is with the store.
    pub(super) fn number(&self) -> u64 {
        self.keys.lock().number(1)
    }

    /// A request that was sent waits in the store.
    pub(super) fn queued(&self, name: &Bytes) {
        let mut register = self.keys.lock();
        if let Some(primary) = &mut register.primary
            && primary.key == *name
            && !primary.is_granted
        {
            primary.is_queued = true;
        }
    }

    /// Takes in locks that were granted. Those under which the key is not held, because another came first or the
    /// primary has changed, are told back, to be released. And whether a heartbeat is to be started.
    pub(super) fn granted(&self, granted: &[(Bytes, Hold)]) -> (Vec<(Bytes, u64)>, bool) {
        if granted.is_empty() {
            return (Vec::new(), false);
        }
        let mut wakers = Vec::new();
        let mut surplus = Vec::new();
        let mut register = self.keys.lock();
        for (name, hold) in granted {
            let named_is_gone = register.names_another(name, hold);
            let key = register.map.entry(name.clone()).or_default();
            let is_beside = !matches!(key.place, Place::Asked(_));
            if matches!(key.place, Place::Held(_)) || (is_beside && named_is_gone) {
                surplus.push((name.clone(), hold.attempt));
                continue;
            }
            if let Some(old) = key.old.take() {
                surplus.push((name.clone(), old.attempt));
            }
            key.place = Place::Held(hold.clone());
            wakers.append(&mut key.joiners);
            register.active += usize::from(is_beside);
            register.primary_granted(name, &hold.primary, &mut wakers);
        }
        let starts_to_beat = register.active > 0 && !register.is_beating;
        register.is_beating |= starts_to_beat;
        drop(register);
        wake(wakers);
        (surplus, starts_to_beat)
    }

    /// Keys whose requests were denied or not sent.
    pub(super) fn not_granted(&self, keys: &[(Bytes, u64)]) {
        self.not_asked(keys, |_| Place::Free);
    }

    /// Keys of which nobody knows whether they were granted: they are to be given back.
    pub(super) fn unanswered(&self, keys: &[(Bytes, u64)]) {
        self.not_asked(keys, Place::Returning);
    }

    fn not_asked(&self, keys: &[(Bytes, u64)], then: impl Fn(u64) -> Place) {
        if keys.is_empty() {
            return;
        }
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
        for (name, attempt) in keys {
            register.not_asked(name, *attempt, then(*attempt), &mut wakers);
        }
        drop(register);
        wake(wakers);
    }

    /// Ready once nothing of this key is with the store.
    pub(super) fn join(&self, key: &Bytes, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut register = self.keys.lock();
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

    /// Whether the lock on the key is held.
    pub(super) fn holds(&self, key: &Bytes) -> bool {
        let register = self.keys.lock();
        let key = register.map.get(key);
        key.is_some_and(|key| matches!(key.place, Place::Held(_)))
    }

    /// What a later look has found out about a held key.
    pub(super) fn learn(&self, key: &Bytes, found: Known) {
        if let Some(Key {
            place: Place::Held(hold),
            ..
        }) = self.keys.lock().map.get_mut(key)
        {
            hold.known = found;
        }
    }

    /// A call has succeeded: its claims become locks that stay, or are pending in fair mode.
    pub(super) fn keep(&self, keys: &[Bytes], round: Option<u64>) {
        let mut register = self.keys.lock();
        for name in keys {
            let Some(key) = register.map.get_mut(name) else {
                continue;
            };
            key.claims -= 1;
            let Place::Held(hold) = &key.place else {
                debug_assert!(false, "a claim holds the lock that the call was granted");
                continue;
            };
            let seen = hold.for_update_ts;
            match round {
                Some(_) if !key.kept => key.pending = round,
                _ => {
                    key.kept = true;
                    key.pending = None;
                }
            }
            register.newest = register.newest.max(seen);
        }
        register.fair.leave(round);
    }

    /// A call has failed: its claims go.
    pub(super) fn withdraw(&self, keys: &[Bytes], round: Option<u64>) -> Withdrawn {
        let mut register = self.keys.lock();
        register.fair.leave(round);
        let mut unwanted = Vec::new();
        for name in keys {
            let Some(key) = register.map.get_mut(name) else {
                continue;
            };
            key.claims -= 1;
            if key.claims > 0 || key.kept || key.pending.is_some() {
                continue;
            }
            match &key.place {
                Place::Free => {
                    register.map.remove(name);
                }
                Place::Held(hold) => unwanted.push((name.clone(), hold.attempt)),
                Place::Asked(_) | Place::Returning(_) => {}
            }
        }
        let mut wakers = Vec::new();
        let withdrawn = register.let_go(unwanted, &mut wakers);
        drop(register);
        wake(wakers);
        withdrawn
    }

    /// Locks that were given back.
    pub(super) fn returned(&self, returned: &[(Bytes, u64)]) {
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
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
        wake(wakers);
    }

    /// Whether a commit may begin.
    pub(super) fn check_settled(&self) -> Result<(), Error> {
        let register = self.keys.lock();
        let is_pending = || register.map.values().any(|key| key.pending.is_some());
        if register.fair.is_busy() || is_pending() {
            return Err(Error::OptionConflict {
                reason: "fair locks are pending: they are to be done or cancelled first",
            });
        }
        Ok(())
    }

    /// Refuses everything from now on, and wakes who waits.
    pub(super) fn close(&self) {
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
        register.closed = true;
        for key in register.map.values_mut() {
            wakers.append(&mut key.joiners);
        }
        if let Some(primary) = &mut register.primary {
            wakers.append(&mut primary.waiters);
        }
        drop(register);
        wake(wakers);
    }

    /// The lock on the key, if a call that took it has succeeded.
    pub(super) fn kept(&self, key: &Bytes) -> Option<Hold> {
        match self.keys.lock().map.get(key) {
            Some(Key {
                kept: true,
                place: Place::Held(hold),
                ..
            }) => Some(hold.clone()),
            _ => None,
        }
    }

    /// The newest timestamp as of which a lock that stays saw its key.
    pub(super) fn newest(&self) -> Timestamp {
        self.keys.lock().newest
    }

    /// Number of locks that are held, published or not.
    pub(super) fn held(&self) -> usize {
        self.keys
            .lock()
            .map
            .values()
            .filter(|key| matches!(key.place, Place::Held(_)))
            .count()
    }

    /// Whether a heartbeat is to be started for a commit: none runs.
    pub(super) fn starts_to_beat(&self) -> bool {
        !std::mem::replace(&mut self.keys.lock().is_beating, true)
    }

    /// Whether the heartbeat goes on. Where it does not, it has ended with this answer.
    pub(super) fn goes_on_beating(&self) -> bool {
        let mut register = self.keys.lock();
        register.is_beating = register.active > 0;
        register.is_beating
    }
}
