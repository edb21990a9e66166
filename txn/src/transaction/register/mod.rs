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
//! changes under one mutex, held for a few steps a key and never across a wait or a call of the store. A call finds its
//! keys by name when it claims them, and by their [`Slot`]s from then on.
//!
//! # Rules (30 to 37)
//!
//! - A call claims all its keys before it asks for the first.
//! - It asks for its keys in order, all that are free in one request, up to the first that a sibling has asked for: of
//!   that it waits for the answer (it *joins*). A key that a sibling claims and has not asked for yet it asks for
//!   itself. So what is waited for is always a request that is with the store, never another call.
//! - The first key that is asked for is the [*primary*](primary), and is asked for alone: until it is granted nothing
//!   else is.
//! - A call that fails withdraws its claims. A lock that nobody claims any more and nobody kept goes back,
//!   under its number; the primary not before the last lock that names it. While it goes back the key is not asked for anew:
//!   a call that does not wait for others waits for the answer to that as for one to a request of its own, and is refused if
//!   the store gives none.
//! - A call that succeeds keeps all its keys in one step, or leaves them [pending](fair) in fair mode.
//! - A key that is unlocked before the end is not kept any more: its lock goes back like that of a call that fails.
//! - Once closed, every step is refused but withdrawing.

mod fair;
mod key;
mod primary;
mod requests;
mod seats;
mod slots;

pub(super) use fair::Pending;
pub(super) use key::{Hold, Known};
pub(super) use seats::{Awaited, Seat};
pub(super) use slots::Slot;

use crate::error::{Error, TxnState};
use crate::lock::LockMode;
use crate::mutant::planted;
use crate::store::Timestamp;
use crate::sync::{Mutex, MutexGuard};
use crate::wake::wake_all;
use bytes::Bytes;
use fair::Fair;
use key::Place;
use primary::Primary;
use seats::vacate;
use slots::Slots;
use smallvec::SmallVec;

/// What a call says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) mode: LockMode,
    /// The round of fair mode that the call belongs to.
    pub(super) round: Option<u64>,
    /// It locks only what exists, and names more keys than one.
    pub(super) needs_primary: bool,
}

/// The keys of a call, claimed.
pub(super) type Claimed = SmallVec<[Slot; 2]>;

/// A key that is to be asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its place among the keys of the call.
    pub(super) at: usize,
    pub(super) slot: Slot,
    pub(super) attempt: u64,
}

/// Those of one request.
pub(super) type Announcement = SmallVec<[Announced; 1]>;

/// What a call finds when it goes through its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// All locks are held.
    Done,
    /// It is to send a request for what was announced, under this primary.
    Ask { primary: Bytes },
    /// A sibling's request for the next key is with the store.
    Asked,
    /// The next key is being given back; whether the store has left that without an answer.
    Returning { is_unanswered: bool },
    /// The primary is not granted yet.
    NoPrimary { key: Bytes, is_queued: bool },
}

/// Locks that nobody wants, by key and number: to be given back, then [`returned`](Register::returned).
pub(super) type Withdrawn = Vec<(Bytes, u64)>;

pub(super) struct Register {
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    closed: bool,
    numbers: u64,
    /// How many seats were taken.
    seats: u64,
    slots: Slots,
    /// Keys that are asked for or held.
    active: usize,
    /// Those that are asked for.
    asked: usize,
    /// The numbers of requests that were sent beside a sibling's for the same key.
    beside: Vec<u64>,
    primary: Option<Primary>,
    fair: Fair,
    /// The newest timestamp as of which a lock saw its key.
    newest: Timestamp,
    /// A heartbeat runs.
    is_beating: bool,
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

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn announce(&mut self, slot: Slot) -> u64 {
        let attempt = self.number();
        self.slots[slot].place = Place::Asked(attempt);
        self.active += 1;
        self.asked += 1;
        attempt
    }
}

fn let_go(mut register: MutexGuard<'_, Keys>, unwanted: Vec<(Slot, u64)>) -> Withdrawn {
    let mut wakers = Vec::new();
    let withdrawn = register.let_go(unwanted, &mut wakers);
    drop(register);
    wake_all(wakers);
    withdrawn
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
    pub(super) fn claim(
        &self,
        names: &[Bytes],
        mode: LockMode,
    ) -> Result<(Claimed, Option<u64>), Error> {
        let mut register = self.keys.lock();
        register.check_open()?;
        let round = register.fair.enter(names.len(), mode)?;
        if names.len() > 1 {
            register.slots.reserve(names.len());
        }
        let mut claimed = Claimed::with_capacity(names.len());
        for name in names {
            let slot = register.slots.find_or_make(name);
            register.slots[slot].claims += 1;
            claimed.push(slot);
        }
        Ok((claimed, round))
    }

    /// Goes through the claimed keys from `from` on. Locks that are held are told to `held`, with whether their flags are
    /// published or being published. Keys that are free are announced, at most `most`, the primary alone. It ends at a
    /// key that somebody else has to be waited for, and leaves `from` there.
    pub(super) fn next(
        &self,
        claimed: &[Slot],
        from: &mut usize,
        most: usize,
        terms: Terms,
        announced: &mut Announcement,
        mut held: impl FnMut(usize, Hold, bool),
    ) -> Result<Next, Error> {
        let mut register = self.keys.lock();
        register.check_open()?;
        while let Some(&slot) = claimed.get(*from) {
            let key = &register.slots[slot];
            let blocked = match &key.place {
                Place::Held(lock) if lock.hold.mode < terms.mode => Err(Error::OptionConflict {
                    reason: "the key is locked shared, and locks are not upgraded",
                }),
                Place::Held(lock) => {
                    let (hold, kept) = (lock.hold, key.kept);
                    if !kept && terms.round.is_some() && !register.adopt(slot) {
                        let next = register.ask_anew(slot, *from, announced);
                        *from += announced.len();
                        return Ok(next);
                    }
                    held(*from, hold, kept);
                    *from += 1;
                    continue;
                }
                Place::Asked(_) => Ok(Next::Asked),
                &Place::Returning { is_unanswered, .. } => Ok(Next::Returning { is_unanswered }),
                Place::Free => {
                    let is_chosen = match &register.primary {
                        Some(primary) if primary.is_granted => false,
                        Some(primary) => return Ok(primary.awaited()),
                        None => {
                            register.choose(slot, terms)?;
                            true
                        }
                    };
                    let attempt = register.announce(slot);
                    announced.push(Announced {
                        at: *from,
                        slot,
                        attempt,
                    });
                    *from += 1;
                    if is_chosen || announced.len() == most {
                        break;
                    }
                    continue;
                }
            };
            if announced.is_empty() {
                return blocked;
            }
            break;
        }
        match &register.primary {
            Some(primary) if !announced.is_empty() => Ok(Next::Ask {
                primary: primary.key.clone(),
            }),
            _ => Ok(Next::Done),
        }
    }

    /// A call has succeeded: its claims on locked keys become locks that stay, or one that is `pending` in fair mode.
    pub(super) fn keep(&self, locked: impl Iterator<Item = Slot>, mut pending: Option<Pending>) {
        let mut rooms = Vec::new();
        let mut register = self.keys.lock();
        register
            .fair
            .leave(pending.as_ref().map(|pending| pending.round));
        for slot in locked {
            let key = &mut register.slots[slot];
            key.claims -= 1;
            let Place::Held(lock) = &key.place else {
                debug_assert!(false, "a claim holds the lock that the call was granted");
                continue;
            };
            let seen = lock.hold.for_update_ts;
            match pending.take_if(|_| !key.kept) {
                Some(pending) => rooms.extend(register.pend(slot, pending)),
                None => {
                    key.kept = true;
                    if let Some(pending) = key.pending.take() {
                        rooms.push(pending.room);
                    }
                }
            }
            register.newest = register.newest.max(seen);
        }
        drop(register);
        drop(rooms);
    }

    /// A call has failed: its claims go.
    pub(super) fn withdraw(&self, claimed: &[Slot], round: Option<u64>) -> Withdrawn {
        let mut register = self.keys.lock();
        register.fair.leave(round);
        let mut unwanted = Vec::new();
        for &slot in claimed {
            let key = &mut register.slots[slot];
            key.claims -= 1;
            if !key.is_unwanted() {
                continue;
            }
            match &key.place {
                Place::Free => register.slots.remove(slot),
                Place::Held(lock) => unwanted.push((slot, lock.hold.attempt)),
                Place::Asked(_) | Place::Returning { .. } => {}
            }
        }
        let_go(register, unwanted)
    }

    /// Locks that calls have taken and that are not to stay, unless a call in flight claims them.
    pub(super) fn unkeep(&self, names: &[Bytes]) -> Withdrawn {
        let mut register = self.keys.lock();
        let mut unwanted = Vec::new();
        for name in names {
            let Some(slot) = register.slots.find(name) else {
                continue;
            };
            let key = &mut register.slots[slot];
            key.kept = false;
            match &key.place {
                Place::Held(lock) if key.is_unwanted() => unwanted.push((slot, lock.hold.attempt)),
                _ => {}
            }
        }
        let_go(register, unwanted)
    }

    /// Whether a commit may begin.
    pub(super) fn check_settled(&self) -> Result<(), Error> {
        let mut register = self.keys.lock();
        if register.fair.is_busy() || !register.pending_slots().is_empty() {
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
        for key in register.slots.values_mut() {
            vacate(&mut key.joiners, &mut wakers);
        }
        if let Some(primary) = &mut register.primary {
            vacate(&mut primary.waiters, &mut wakers);
        }
        drop(register);
        wake_all(wakers);
    }

    /// The lock on the key, if a call that took it has succeeded.
    pub(super) fn kept(&self, name: &[u8]) -> Option<Hold> {
        let register = self.keys.lock();
        let key = &register.slots[register.slots.find(name)?];
        match &key.place {
            Place::Held(lock) if key.kept => Some(lock.hold),
            _ => None,
        }
    }

    /// The newest timestamp as of which a lock that stays saw its key.
    pub(super) fn newest(&self) -> Timestamp {
        self.keys.lock().newest
    }

    /// Number of locks that are held, published or not.
    pub(super) fn held(&self) -> usize {
        let register = self.keys.lock();
        register.active - register.asked
    }

    /// Whether a heartbeat is to be started for a commit: none runs.
    pub(super) fn starts_to_beat(&self) -> bool {
        !std::mem::replace(&mut self.keys.lock().is_beating, true)
    }

    /// Whether the heartbeat goes on. Where it does not, it has ended with this answer.
    pub(super) fn goes_on_beating(&self) -> bool {
        let mut register = self.keys.lock();
        let goes_on = register.active > 0;
        register.is_beating = goes_on || planted("beat-ends-unnoted");
        goes_on
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests;
