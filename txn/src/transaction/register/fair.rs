//! Fair mode (rule 44): locks that stay pending until the statement that asked for them has gone through.
//!
//! The mode has a *round* for each attempt of the statement. A call that succeeds leaves its key pending in its round.
//! A retry begins the next round and lets go of what the round before last left and the last did not ask for again;
//! done keeps what the last round asked for and lets go of the rest; cancel lets go of all.
//!
//! The room in the buffer that a call has reserved lies with its pending key: put there in the step in which the call ends,
//! taken out in the one in which the key is not pending any more.

use super::key::{Hold, Key, Place};
use super::slots::Slot;
use super::{Keys, Register, Withdrawn};
use crate::buffer::Reservation;
use crate::error::Error;
use crate::lock::LockMode;
use crate::wake::wake_all;
use bytes::Bytes;
use std::task::Waker;

/// Room in the buffer.
type Room = Reservation<'static>;

/// What is kept with a key that is pending.
pub(in crate::transaction) struct Pending {
    /// The last round that locked it.
    pub(in crate::transaction) round: u64,
    /// For the flags of its lock. Dropped outside of the mutex: it goes back through the gate of the buffer.
    pub(in crate::transaction) room: Room,
    /// The last request for it, or look at it, carried the presumption.
    pub(in crate::transaction) checked: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fair {
    pub(super) round: Option<u64>,
    /// Calls in flight that belong to the mode.
    calls: usize,
    /// Where calls have left their keys pending. Some are not any more, some slots have other keys.
    pub(super) pending: Vec<Slot>,
}

/// What is to be done after the mode has ended.
pub(in crate::transaction) struct Settled {
    /// Locks that stay from now on: their flags are to be published.
    pub(in crate::transaction) kept: Vec<(Bytes, Hold, Pending)>,
    /// Those that go.
    pub(in crate::transaction) gone: Withdrawn,
}

const NOT_ON: Error = Error::OptionConflict {
    reason: "fair mode is not on",
};
const BUSY: Error = Error::OptionConflict {
    reason: "a fair lock call is in flight",
};

impl Fair {
    /// Notes a call that begins, and says which round it belongs to.
    pub(super) fn enter(&mut self, keys: usize, mode: LockMode) -> Result<Option<u64>, Error> {
        if self.round.is_none() {
            return Ok(None);
        }
        if mode == LockMode::Shared {
            return Err(Error::OptionConflict {
                reason: "fair locks are exclusive",
            });
        }
        if keys > 1 {
            return Err(Error::OptionConflict {
                reason: "fair mode was begun again while a call of several keys ended it",
            });
        }
        self.calls += 1;
        Ok(self.round)
    }

    pub(super) fn leave(&mut self, round: Option<u64>) {
        if round.is_some() {
            self.calls -= 1;
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.round.is_some()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.calls > 0
    }

    fn idle_round(&self) -> Result<u64, Error> {
        let round = self.round.ok_or(NOT_ON)?;
        if self.is_busy() { Err(BUSY) } else { Ok(round) }
    }
}

impl Keys {
    /// Leaves a key pending. One that was pending before has its room; the other is told back.
    pub(super) fn pend(&mut self, slot: Slot, pending: Pending) -> Option<Room> {
        match &mut self.slots[slot].pending {
            Some(before) => {
                before.round = pending.round;
                before.checked = pending.checked;
                Some(pending.room)
            }
            none => {
                *none = Some(Box::new(pending));
                self.fair.pending.push(slot);
                None
            }
        }
    }

    /// Where keys are pending.
    pub(super) fn pending_slots(&mut self) -> &[Slot] {
        let slots = &mut self.slots;
        let pending = &mut self.fair.pending;
        pending.retain(|&slot| slots.get_mut(slot).is_some_and(|key| key.pending.is_some()));
        pending.sort_unstable();
        pending.dedup();
        pending
    }

    /// The pending locks of the rounds that `which` names, with their attempt numbers.
    fn pending(&mut self, which: impl Fn(u64) -> bool) -> Vec<(Slot, u64)> {
        let slots = self.pending_slots().to_vec();
        let pending = |slot: Slot| match &self.slots[slot] {
            Key {
                place: Place::Held(lock),
                claims: 0,
                pending: Some(pending),
                ..
            } if which(pending.round) => Some((slot, lock.hold.attempt)),
            _ => None,
        };
        slots.into_iter().filter_map(pending).collect()
    }

    /// Lets go of pending locks; their room is left in `rooms`.
    fn let_go_pending(
        &mut self,
        unwanted: Vec<(Slot, u64)>,
        rooms: &mut Vec<Room>,
        wakers: &mut Vec<Waker>,
    ) -> Withdrawn {
        for &(slot, _) in &unwanted {
            rooms.extend(self.slots[slot].pending.take().map(|pending| pending.room));
        }
        self.let_go(unwanted, wakers)
    }

    /// Whether the primary was chosen in the mode and no lock that stays names it.
    fn primary_is_pending(&self) -> bool {
        let Some(primary) = &self.primary else {
            return false;
        };
        let names = |(_, key): (Slot, &Key)| {
            let is_pending = key.pending.is_some() && !key.kept && key.claims == 0;
            !is_pending
                && match &key.place {
                    Place::Held(lock) => lock.primary == primary.key,
                    Place::Asked(_) => true,
                    Place::Free | Place::Returning { .. } => false,
                }
        };
        primary.is_fair && !self.slots.iter().any(names)
    }
}

impl Register {
    /// Whether fair mode is on.
    pub(in crate::transaction) fn is_fair(&self) -> bool {
        self.keys.lock().fair.is_on()
    }

    /// Whether a key is pending.
    pub(in crate::transaction) fn is_pending(&self, slot: Slot) -> bool {
        self.keys.lock().slots[slot].pending.is_some()
    }

    pub(in crate::transaction) fn fair_begin(&self) -> Result<(), Error> {
        let mut register = self.keys.lock();
        register.check_open()?;
        if register.fair.is_on() {
            return Err(Error::OptionConflict {
                reason: "fair mode is on",
            });
        }
        register.fair.round = Some(1);
        Ok(())
    }

    pub(in crate::transaction) fn fair_retry(&self) -> Result<Withdrawn, Error> {
        let (mut rooms, mut wakers) = (Vec::new(), Vec::new());
        let mut register = self.keys.lock();
        register.check_open()?;
        let round = register.fair.idle_round()?;
        register.fair.round = Some(round + 1);
        let unwanted = register.pending(|pending| pending < round);
        if register.primary_is_pending() {
            register.give_primary_up(&mut wakers);
        }
        let gone = register.let_go_pending(unwanted, &mut rooms, &mut wakers);
        drop(register);
        wake_all(wakers);
        Ok(gone)
    }

    /// The mode ends; what the last round asked for stays.
    pub(in crate::transaction) fn fair_done(&self) -> Result<Settled, Error> {
        let (mut rooms, mut wakers) = (Vec::new(), Vec::new());
        let mut register = self.keys.lock();
        register.check_open()?;
        let round = register.fair.idle_round()?;
        register.fair.round = None;
        let unwanted = register.pending(|pending| pending < round);
        let gone = register.let_go_pending(unwanted, &mut rooms, &mut wakers);
        let mut kept = Vec::new();
        for slot in register.pending_slots().to_vec() {
            let key = &mut register.slots[slot];
            match (key.pending.take(), &key.place) {
                (Some(pending), Place::Held(lock)) if pending.round == round => {
                    key.kept = true;
                    kept.push((key.name.clone(), lock.hold, *pending));
                }
                (pending, _) => rooms.extend(pending.map(|pending| pending.room)),
            }
        }
        drop(register);
        wake_all(wakers);
        Ok(Settled { kept, gone })
    }

    /// The mode ends, and nothing of it stays.
    pub(in crate::transaction) fn fair_cancel(&self) -> Result<Withdrawn, Error> {
        let (mut rooms, mut wakers) = (Vec::new(), Vec::new());
        let mut register = self.keys.lock();
        register.check_open()?;
        register.fair.idle_round()?;
        register.fair.round = None;
        let unwanted = register.pending(|_| true);
        let gone = register.let_go_pending(unwanted, &mut rooms, &mut wakers);
        // What is left of the mode is wanted by a call in flight that does not belong to it.
        for slot in register.pending_slots().to_vec() {
            let pending = register.slots[slot].pending.take();
            rooms.extend(pending.map(|pending| pending.room));
        }
        drop(register);
        wake_all(wakers);
        Ok(gone)
    }
}
