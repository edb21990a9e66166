//! The key whose lock stands for the whole transaction (rules 30 and C8).
//!
//! It is the first key that is asked for while there is none. Every request names it, so nothing else is asked for
//! until it is granted; who has to ask for another key waits for that, not for the call that chose it. Denied, it is
//! given up and the next call chooses.
//!
//! # Until when it is held
//!
//! A key *names* the primary while it is asked for or held, also where that is beside a sibling's request: whoever meets its
//! lock asks by the primary whether the transaction still lives. What goes back names nothing, because nobody relies on it;
//! what was asked for by a call that is gone goes back from then on, though the store may grant it later.
//!
//! - The primary that is *claimed*, kept or pending is held like any key.
//! - The primary that nobody wants is held as long as a key names it: kept alive, and carried by a commit. It has no flag,
//!   for no call has locked it, but any call may claim it again.
//! - It is given up in the step in which the last key that names it is let go of. From then on there is none: the next key
//!   that is asked for is chosen, while the old one goes back.
//!
//! That step is always a withdrawal. A key that is asked for in vain names nothing any more, but its call is still there: it asks
//! again, under the primary that there is then, or withdraws.

use super::key::Place;
use super::seats::{Seats, vacate};
use super::slots::Slot;
use super::{Announced, Announcement, Keys, Next, Register, Terms, Withdrawn};
use crate::error::Error;
use crate::lock::LockMode;
use crate::mutant::planted;
use crate::wake::wake_all;
use bytes::Bytes;
use std::task::Waker;

#[derive(Debug)]
pub(super) struct Primary {
    pub(super) key: Bytes,
    pub(super) is_granted: bool,
    /// Its request waits in the store.
    pub(super) is_queued: bool,
    /// It was chosen in fair mode, and is given up by a retry.
    pub(super) is_fair: bool,
    pub(super) waiters: Seats,
}

impl Primary {
    /// For a call that needs it granted.
    pub(super) fn awaited(&self) -> Next {
        Next::NoPrimary {
            key: self.key.clone(),
            is_queued: self.is_queued,
        }
    }
}

impl Keys {
    /// Makes a key the primary of the transaction, which has none.
    pub(super) fn choose(&mut self, slot: Slot, terms: Terms) -> Result<(), Error> {
        if terms.mode == LockMode::Shared {
            return Err(Error::OptionConflict {
                reason: "a shared lock needs another key that is locked exclusively before",
            });
        }
        if terms.needs_primary {
            return Err(Error::OptionConflict {
                reason: "several keys that may not exist need another one that is locked before",
            });
        }
        self.set_primary(slot, terms.round.is_some(), false);
        Ok(())
    }

    fn set_primary(&mut self, slot: Slot, is_fair: bool, is_granted: bool) {
        self.primary = Some(Primary {
            key: self.slots[slot].name.clone(),
            is_granted,
            is_queued: false,
            is_fair,
            waiters: Seats::new(),
        });
    }

    pub(super) fn is_primary(&self, slot: Slot) -> bool {
        let name = &self.slots[slot].name;
        self.primary
            .as_ref()
            .is_some_and(|primary| primary.key == *name)
    }

    /// The primary's name; where there is none, that of a key which would become it.
    pub(super) fn primary_or(&self, slot: Slot) -> Bytes {
        match &self.primary {
            Some(primary) => primary.key.clone(),
            None => self.slots[slot].name.clone(),
        }
    }

    /// Whether a pending lock can serve a call of a later round: it names the primary that there is, or becomes the
    /// primary itself.
    pub(super) fn adopt(&mut self, slot: Slot) -> bool {
        let key = &self.slots[slot];
        let Place::Held(lock) = &key.place else {
            return false;
        };
        match &self.primary {
            Some(primary) => primary.key == lock.primary || primary.key == key.name,
            None if lock.primary == key.name => {
                self.set_primary(slot, true, true);
                true
            }
            None => false,
        }
    }

    /// Has a pending lock asked for anew, under the primary that there is now.
    pub(super) fn ask_anew(&mut self, slot: Slot, at: usize, announced: &mut Announcement) -> Next {
        match &self.primary {
            None => self.set_primary(slot, true, false),
            Some(primary) if !primary.is_granted => return primary.awaited(),
            Some(_) => {}
        }
        let attempt = self.number();
        let key = &mut self.slots[slot];
        if let Place::Held(old) = std::mem::replace(&mut key.place, Place::Asked(attempt)) {
            key.old = Some(Box::new(old));
            self.asked += 1;
        }
        announced.push(Announced { at, slot, attempt });
        Next::Ask {
            primary: self.primary_or(slot),
        }
    }

    /// Whether a lock may be held that names this primary: it is the one that there is, or the key becomes it.
    pub(super) fn may_name(&self, slot: Slot, named: &Bytes) -> bool {
        match &self.primary {
            Some(primary) => primary.key == *named,
            None => self.slots[slot].name == *named,
        }
    }

    pub(super) fn primary_granted(&mut self, slot: Slot, named: &Bytes, wakers: &mut Vec<Waker>) {
        match &mut self.primary {
            // Asked for beside a sibling that was denied: it stands for itself.
            None if self.slots[slot].name == named => self.set_primary(slot, false, true),
            Some(primary) if !primary.is_granted && primary.key == self.slots[slot].name => {
                primary.is_granted = true;
                vacate(&mut primary.waiters, wakers);
            }
            _ => {}
        }
    }

    pub(super) fn primary_denied(&mut self, slot: Slot, wakers: &mut Vec<Waker>) {
        if self.is_primary(slot) {
            self.give_primary_up(wakers);
        }
    }

    pub(super) fn give_primary_up(&mut self, wakers: &mut Vec<Waker>) {
        if let Some(mut primary) = self.primary.take() {
            vacate(&mut primary.waiters, wakers);
        }
    }

    /// Lets go of locks that nobody wants, the primary not before the last that names it.
    pub(super) fn let_go(
        &mut self,
        mut unwanted: Vec<(Slot, u64)>,
        wakers: &mut Vec<Waker>,
    ) -> Withdrawn {
        unwanted.retain(|&(slot, _)| !self.is_primary(slot));
        let is_named = self.active > unwanted.len() + 1 || !self.beside.is_empty();
        if (!is_named || planted("primary-given-up-though-named"))
            && let Some(primary) = self.unwanted_primary()
        {
            self.give_primary_up(wakers);
            unwanted.push(primary);
        }
        self.active -= unwanted.len();
        let go = |(slot, attempt): (Slot, u64)| {
            let key = &mut self.slots[slot];
            key.place = Place::returning(attempt);
            (key.name.clone(), attempt)
        };
        unwanted.into_iter().map(go).collect()
    }

    /// The primary that is held and that nobody wants, with its attempt number.
    fn unwanted_primary(&self) -> Option<(Slot, u64)> {
        let slot = self.slots.find(&self.primary.as_ref()?.key)?;
        let key = &self.slots[slot];
        match &key.place {
            Place::Held(lock) if key.is_unwanted() && !planted("unnamed-primary-stays") => {
                Some((slot, lock.hold.attempt))
            }
            _ => None,
        }
    }
}

impl Register {
    /// A request that was sent waits in the store. Whoever does not wait for others has waited for that answer.
    pub(in crate::transaction) fn queued(&self, slot: Slot) {
        let mut wakers = Vec::new();
        let mut register = self.keys.lock();
        if register.is_primary(slot)
            && let Some(primary) = &mut register.primary
            && !primary.is_granted
        {
            primary.is_queued = true;
            vacate(&mut primary.waiters, &mut wakers);
        }
        drop(register);
        wake_all(wakers);
    }

    /// For a commit that has locked nothing: this key stands for the transaction.
    pub(in crate::transaction) fn settle_primary(&self, name: &Bytes) {
        self.keys.lock().primary = Some(Primary {
            key: name.clone(),
            is_granted: true,
            is_queued: false,
            is_fair: false,
            waiters: Seats::new(),
        });
    }

    /// The key whose lock stands for the transaction, if there is one.
    pub(in crate::transaction) fn primary(&self) -> Option<Bytes> {
        let register = self.keys.lock();
        register.primary.as_ref().map(|primary| primary.key.clone())
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::super::Awaited;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Rule 30: it came between the moment at which the primary was asked for and the one at which the store queued that.
    #[test]
    fn who_does_not_wait_is_told_when_the_primary_is_queued_and_who_waits_goes_on_waiting() {
        let register = Register::default();
        let terms = Terms {
            mode: LockMode::Exclusive,
            round: None,
            needs_primary: false,
        };
        let next = |name: &'static str| {
            let (claimed, _) = register.claim(&[name.into()], terms.mode).unwrap();
            let mut announced = Announcement::new();
            let held = |_, _, _| panic!("nothing is held");
            let next = register.next(&claimed, &mut 0, 1, terms, &mut announced, held);
            (claimed[0], next.unwrap())
        };
        let (primary, asked) = next("a");
        assert_eq!(
            asked,
            Next::Ask {
                primary: "a".into()
            }
        );
        let awaited = |is_queued| Next::NoPrimary {
            key: "a".into(),
            is_queued,
        };
        assert_eq!(next("b").1, awaited(false));
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut hurries = register.seat(Awaited::Primary, true);
        let mut waits = register.seat(Awaited::Primary, false);
        assert!(hurries.poll(&waker).is_pending() && waits.poll(&waker).is_pending());
        register.queued(primary);
        assert!(bell.0.load(Ordering::Relaxed));
        assert!(hurries.poll(&waker).is_ready());
        assert!(waits.poll(&waker).is_pending());
        assert_eq!(next("c").1, awaited(true));
    }
}
