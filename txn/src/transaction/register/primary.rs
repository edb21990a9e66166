//! The key whose lock stands for the whole transaction (rules 30 and C8).
//!
//! It is the first key that is asked for while there is none. Every request names it, so nothing else is asked for
//! until it is granted; who has to ask for another key waits for that, not for the call that chose it. Denied, it is
//! given up and the next call chooses. Withdrawn, it is given up only if no lock names it any more; else it stays
//! held, without a claim.

use super::{Hold, Keys, Next, Place, Register, Terms, Withdrawn};
use crate::error::Error;
use crate::lock::LockMode;
use bytes::Bytes;
use std::task::{Poll, Waker};

#[derive(Debug)]
pub(super) struct Primary {
    pub(super) key: Bytes,
    pub(super) is_granted: bool,
    /// Its request waits in the store.
    pub(super) is_queued: bool,
    /// It was chosen in fair mode, and is given up by a retry.
    pub(super) is_fair: bool,
    pub(super) waiters: Vec<Waker>,
}

impl Keys {
    /// Makes `name` the primary of the transaction, which has none.
    pub(super) fn choose(&mut self, name: &Bytes, terms: Terms) -> Result<Bytes, Error> {
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
        self.set_primary(name, terms.round.is_some(), false);
        Ok(name.clone())
    }

    fn set_primary(&mut self, name: &Bytes, is_fair: bool, is_granted: bool) {
        self.primary = Some(Primary {
            key: name.clone(),
            is_granted,
            is_queued: false,
            is_fair,
            waiters: Vec::new(),
        });
    }

    /// Whether a pending lock can serve a call of a later round: it names the primary that there is, or becomes the
    /// primary itself.
    pub(super) fn adopt(&mut self, name: &Bytes, hold: &Hold) -> bool {
        match &self.primary {
            Some(primary) => primary.key == hold.primary || primary.key == *name,
            None if hold.primary == *name => {
                self.set_primary(name, true, true);
                true
            }
            None => false,
        }
    }

    /// Has a pending lock asked for anew, under the primary that there is now.
    pub(super) fn ask_anew(&mut self, name: &Bytes) -> Next {
        match &self.primary {
            None => self.set_primary(name, true, false),
            Some(primary) if !primary.is_granted => {
                return Next::NoPrimary {
                    key: primary.key.clone(),
                    is_queued: primary.is_queued,
                };
            }
            Some(_) => {}
        }
        let first = self.number(1);
        if let Some(key) = self.map.get_mut(name)
            && let Place::Held(old) = std::mem::replace(&mut key.place, Place::Asked(first))
        {
            key.old = Some(old);
        }
        let primary = self.primary.as_ref().map(|primary| primary.key.clone());
        Next::Ask {
            first,
            count: 1,
            primary: primary.unwrap_or_else(|| name.clone()),
        }
    }

    /// Whether a lock names a primary that was given up since it was asked for.
    pub(super) fn names_another(&self, name: &Bytes, hold: &Hold) -> bool {
        let primary = self.primary.as_ref().map(|primary| &primary.key);
        hold.primary != name && primary != Some(&hold.primary)
    }

    pub(super) fn primary_granted(&mut self, name: &Bytes, named: &Bytes, wakers: &mut Vec<Waker>) {
        if self.primary.is_none() && name == named {
            // Asked for beside a sibling that was denied: it stands for itself.
            self.set_primary(name, false, true);
        }
        if let Some(primary) = &mut self.primary
            && primary.key == *name
        {
            primary.is_granted = true;
            wakers.append(&mut primary.waiters);
        }
    }

    pub(super) fn primary_denied(&mut self, name: &Bytes, wakers: &mut Vec<Waker>) {
        if self
            .primary
            .as_ref()
            .is_some_and(|primary| primary.key == *name)
        {
            self.give_primary_up(wakers);
        }
    }

    pub(super) fn give_primary_up(&mut self, wakers: &mut Vec<Waker>) {
        if let Some(primary) = self.primary.take() {
            wakers.extend(primary.waiters);
        }
    }

    /// Lets go of locks that nobody wants. The primary stays if a lock that is not among them names it.
    pub(super) fn let_go(
        &mut self,
        mut unwanted: Vec<(Bytes, u64)>,
        wakers: &mut Vec<Waker>,
    ) -> Withdrawn {
        let mut withdrawn = Withdrawn::default();
        let primary = self.primary.as_ref().map(|primary| primary.key.clone());
        let at = unwanted
            .iter()
            .position(|(name, _)| Some(name) == primary.as_ref());
        if let Some(at) = at {
            if self.active > unwanted.len() {
                let (name, _) = unwanted.remove(at);
                if let Some(key) = self.map.get_mut(&name) {
                    key.kept = true;
                    key.pending = None;
                }
                withdrawn.primary = Some(name);
            } else {
                self.give_primary_up(wakers);
            }
        }
        self.active -= unwanted.len();
        for (name, attempt) in &unwanted {
            if let Some(key) = self.map.get_mut(name) {
                key.place = Place::Returning(*attempt);
                key.pending = None;
            }
        }
        withdrawn.locks = unwanted;
        withdrawn
    }
}

impl Register {
    /// Ready once there is a primary that is granted, or none.
    pub(in crate::transaction) fn await_primary(&self, waker: &Waker) -> Poll<Result<(), Error>> {
        let mut register = self.keys.lock();
        if let Err(closed) = register.check_open() {
            return Poll::Ready(Err(closed));
        }
        match &mut register.primary {
            Some(primary) if !primary.is_granted => {
                if !primary.waiters.iter().any(|known| known.will_wake(waker)) {
                    primary.waiters.push(waker.clone());
                }
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// For a commit that has locked nothing: this key stands for the transaction.
    pub(in crate::transaction) fn settle_primary(&self, name: &Bytes) {
        self.keys.lock().set_primary(name, false, true);
    }

    /// The key whose lock stands for the transaction, if there is one.
    pub(in crate::transaction) fn primary(&self) -> Option<Bytes> {
        let register = self.keys.lock();
        register.primary.as_ref().map(|primary| primary.key.clone())
    }
}
