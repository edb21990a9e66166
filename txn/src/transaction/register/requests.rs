//! What becomes of keys that were asked for: granted, denied, unanswered, given back; and who waits for that.

use super::key::{Hold, Known, Lock, Place};
use super::seats::vacate;
use super::slots::Slot;
use super::{Keys, Register};
use crate::mutant::planted;
use crate::wake::wake_all;
use bytes::Bytes;
use std::task::Waker;

impl Keys {
    /// Takes an unanswered or denied request off a key. The lock that it was asked for beside is held as before.
    fn not_asked(&mut self, slot: Slot, attempt: u64, then: Place, wakers: &mut Vec<Waker>) {
        self.is_answered(attempt);
        let key = &mut self.slots[slot];
        if key.place != Place::Asked(attempt) {
            return;
        }
        vacate(&mut key.joiners, wakers);
        self.asked -= 1;
        match key.old.take() {
            Some(old) => key.place = Place::Held(*old),
            None => {
                key.place = then;
                self.active -= 1;
            }
        }
        self.primary_denied(slot, wakers);
    }

    fn holds(&self, slot: Slot) -> bool {
        let place = &self.slots[slot].place;
        matches!(place, Place::Held(lock) if self.may_name(slot, &lock.primary))
    }

    /// A request is over, if it was one beside another.
    fn is_answered(&mut self, attempt: u64) {
        self.beside.retain(|&beside| beside != attempt);
    }
}

impl Register {
    /// Announces a request beside the one that a sibling has sent, unless that was answered meanwhile. Its number, and the
    /// primary that it is to name.
    pub(in crate::transaction) fn ask_beside(&self, slot: Slot) -> Option<(u64, Bytes)> {
        let mut register = self.keys.lock();
        if !matches!(register.slots[slot].place, Place::Asked(_)) {
            return None;
        }
        let attempt = register.number();
        if !planted("beside-uncounted") {
            register.beside.push(attempt);
        }
        Some((attempt, register.primary_or(slot)))
    }

    /// Takes in locks that were granted to a request that named `primary`. Those under which the key is not held,
    /// because another came first or the primary has changed, are told back, to be released. And whether a heartbeat is
    /// to be started.
    pub(in crate::transaction) fn granted(
        &self,
        granted: &[(Slot, Hold)],
        primary: &Bytes,
    ) -> (Vec<(Bytes, u64)>, bool) {
        if granted.is_empty() {
            return (Vec::new(), false);
        }
        let mut wakers = Vec::new();
        let mut surplus = Vec::new();
        let mut register = self.keys.lock();
        for &(slot, hold) in granted {
            register.is_answered(hold.attempt);
            if register.holds(slot) || !register.may_name(slot, primary) {
                surplus.push((register.slots[slot].name.clone(), hold.attempt));
                continue;
            }
            let key = &mut register.slots[slot];
            let is_new = matches!(key.place, Place::Free | Place::Returning { .. });
            let was_asked = matches!(key.place, Place::Asked(_));
            let old = key.old.take().map(|old| old.hold.attempt);
            if let Some(attempt) = old.or(key.place.held()) {
                surplus.push((key.name.clone(), attempt));
            }
            key.place = Place::Held(Lock {
                hold,
                primary: primary.clone(),
            });
            if !planted("grant-without-waking") {
                vacate(&mut key.joiners, &mut wakers);
            }
            register.active += usize::from(is_new);
            register.asked -= usize::from(was_asked);
            register.primary_granted(slot, primary, &mut wakers);
        }
        let starts_to_beat = register.active > 0 && !register.is_beating;
        register.is_beating |= starts_to_beat;
        drop(register);
        wake_all(wakers);
        (surplus, starts_to_beat)
    }

    /// Keys whose requests were denied or not sent.
    pub(in crate::transaction) fn not_granted(&self, asked: &[(Slot, u64)]) {
        self.not_asked(asked, |_| Place::Free);
    }

    /// Keys of which nobody knows whether they were granted: they are to be given back.
    pub(in crate::transaction) fn unanswered(&self, asked: &[(Slot, u64)]) {
        self.not_asked(asked, Place::returning);
    }

    fn not_asked(&self, asked: &[(Slot, u64)], then: impl Fn(u64) -> Place) {
        if asked.is_empty() {
            return;
        }
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
        for &(slot, attempt) in asked {
            register.not_asked(slot, attempt, then(attempt), &mut wakers);
        }
        drop(register);
        wake_all(wakers);
    }

    /// Whether the lock on the key is held, and not under a primary that was given up.
    pub(in crate::transaction) fn holds(&self, slot: Slot) -> bool {
        self.keys.lock().holds(slot)
    }

    /// What a later look has found out about a held key.
    pub(in crate::transaction) fn learn(&self, slot: Slot, found: Known) {
        if let Place::Held(lock) = &mut self.keys.lock().slots[slot].place {
            lock.hold.known = found;
        }
    }

    /// Locks that were given back.
    pub(in crate::transaction) fn returned(&self, returned: &[(Bytes, u64)]) {
        self.each_returning(returned, |register, slot| {
            let key = &mut register.slots[slot];
            key.place = Place::Free;
            if key.claims == 0 {
                register.slots.remove(slot);
            }
        });
    }

    /// Locks of which the store does not say that they were given back.
    pub(in crate::transaction) fn not_returned(&self, sent: &[(Bytes, u64)]) {
        self.each_returning(sent, |register, slot| {
            if let Place::Returning { is_unanswered, .. } = &mut register.slots[slot].place {
                *is_unanswered = true;
            }
        });
    }

    /// Changes those of the keys whose locks of these numbers go back, and wakes who waits for them.
    fn each_returning(&self, locks: &[(Bytes, u64)], change: impl Fn(&mut Keys, Slot)) {
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
        for (name, number) in locks {
            let Some(slot) = register.slots.find(name) else {
                continue;
            };
            let key = &mut register.slots[slot];
            if matches!(key.place, Place::Returning { attempt, .. } if attempt == *number) {
                vacate(&mut key.joiners, &mut wakers);
                change(&mut register, slot);
            }
        }
        drop(register);
        wake_all(wakers);
    }
}
