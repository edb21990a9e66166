//! Where calls wait for a sibling: each has a seat, which it takes when it finds that it has to wait, and leaves when it ends.

use super::key::Place;
use super::slots::Slot;
use super::{Keys, Register};
use crate::error::Error;
use std::collections::BTreeMap;
use std::mem::take;
use std::task::{Poll, Waker};

/// The wakers of calls that wait for the same, by the numbers of their seats.
pub(super) type Seats = BTreeMap<u64, Waker>;

/// Has all leave. Mostly there is nobody.
#[inline]
pub(super) fn vacate(seats: &mut Seats, wakers: &mut Vec<Waker>) {
    if !seats.is_empty() {
        wakers.extend(take(seats).into_values());
    }
}

/// What a call waits for.
#[derive(Debug, Clone, Copy)]
pub(in crate::transaction) enum Awaited {
    /// That nothing of this key is with the store; for who is in a hurry also that the store has left a give-back without an
    /// answer.
    Key(Slot),
    /// That there is a primary which is granted, or none; for who is in a hurry also that its request waits in the store.
    Primary,
}

/// The place of one call that waits.
pub(in crate::transaction) struct Seat<'r> {
    register: &'r Register,
    awaited: Awaited,
    is_in_a_hurry: bool,
    /// Unique in the transaction: there may be another primary by the time at which it is left.
    number: Option<u64>,
}

impl Keys {
    fn seat_number(&mut self) -> u64 {
        self.seats += 1;
        self.seats
    }

    fn has_come(&self, awaited: Awaited, is_in_a_hurry: bool) -> bool {
        match awaited {
            Awaited::Key(slot) => match self.slots[slot].place {
                Place::Asked(_) => false,
                Place::Returning { is_unanswered, .. } => is_in_a_hurry && is_unanswered,
                Place::Free | Place::Held(_) => true,
            },
            Awaited::Primary => match &self.primary {
                Some(primary) => primary.is_granted || is_in_a_hurry && primary.is_queued,
                None => true,
            },
        }
    }

    fn seats_for(&mut self, awaited: Awaited) -> Option<&mut Seats> {
        match awaited {
            Awaited::Key(slot) => self.slots.get_mut(slot).map(|key| &mut key.joiners),
            Awaited::Primary => self.primary.as_mut().map(|primary| &mut primary.waiters),
        }
    }

    fn leave(&mut self, awaited: Awaited, number: Option<u64>) -> Option<Waker> {
        self.seats_for(awaited)?.remove(&number?)
    }
}

impl Seat<'_> {
    /// Ready once that has come, or the register is closed. Until then the waker takes the seat, in place of that of the poll before.
    pub(in crate::transaction) fn poll(&mut self, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut register = self.register.keys.lock();
        let open = register.check_open();
        let is_over = open.is_err() || register.has_come(self.awaited, self.is_in_a_hurry);
        let replaced = if is_over {
            register.leave(self.awaited, self.number.take())
        } else {
            let number = *self.number.get_or_insert_with(|| register.seat_number());
            let seats = register.seats_for(self.awaited);
            seats.and_then(|seats| seats.insert(number, waker.clone()))
        };
        drop(register);
        // After the mutex: what a waker's drop does is not ours.
        drop(replaced);
        if is_over {
            Poll::Ready(open)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            let left = self.register.keys.lock().leave(self.awaited, self.number);
            drop(left);
        }
    }
}

impl Register {
    /// A seat for a call that waits; `is_in_a_hurry` if it does not wait for others.
    pub(in crate::transaction) fn seat(&self, awaited: Awaited, is_in_a_hurry: bool) -> Seat<'_> {
        Seat {
            register: self,
            awaited,
            is_in_a_hurry,
            number: None,
        }
    }
}
