//! The tail of a run: room behind its last slot, for keys that come in ascending order.
//!
//! Where an insert went behind all slots of its leaf, the next one often does so too. So a run that was made for such an insert has
//! room to spare, it *grows*: a key that is greater than all of its keys is put there in place, without a copy of the run. The
//! word `len` says how far it has grown, and two bits of it what may be done:
//!
//! | `len` | meaning |
//! |---|---|
//! | `n` | `n` slots; who exchanges it for `n` and *claimed* may write the next one |
//! | `n`, *claimed* | somebody is writing head and slot `n` |
//! | `n`, *sealed* | final |
//!
//! * E1: who claims writes behind the slots that count, which nobody reads, and alone. His second exchange, to `n + 1`, publishes
//!   the slot; it is a Release, and `len` is read with Acquire.
//! * E2: the contents are sealed before another run is made of them, so what is copied is all that there ever will be. *Claimed* does
//!   not keep anybody from sealing: the second exchange of who claimed fails then, his slot does not count, and he inserts it
//!   into the leaf as it is by then. So nobody waits for anybody.
//! * E3: the claim expects the length that the key was searched at, and a length never comes back: so the key is still absent, and
//!   greater than all. A run that is no longer in its cell was sealed before it was replaced, so nothing is added to it.
//! * E4: who reads the length twice may find more the second time. A place that a search found is one in every later picture, but
//!   the slot that is there *then* may have come meanwhile, and be below the key or the key's own: what the key is below has to be
//!   read in a picture from before the search.

use super::heads::{self, head};
use super::shape::Shape;
use super::{RunRef, Slot};
use crate::mutant::planted;
use crate::sync;
use crate::sync::atomic::Ordering;

const CLAIMED: u16 = 1 << 15;
const SEALED: u16 = 1 << 14;
/// The bits of the length.
pub(super) const LEN: u16 = SEALED - 1;
/// So often a slot is waited for that somebody else is writing, which is a matter of nanoseconds, before the run is copied instead.
const PATIENCE: usize = if cfg!(untorn_loom) { 1 } else { 32 };

/// What became of an attempt to put a slot behind all others.
pub(crate) enum Appended {
    Done,
    /// The run has grown since the key was searched.
    Moved,
    /// It has to be copied.
    Refused,
}

impl<S: Slot> RunRef<'_, S> {
    /// Whether slots may come.
    #[inline]
    pub(crate) fn grows(&self) -> bool {
        self.get().shape.has(Shape::GROWING)
    }

    /// How many slots count now.
    #[inline]
    pub(super) fn grown(&self) -> usize {
        usize::from(self.get().len.load(Ordering::Acquire) & LEN)
    }

    /// Where a key has to be that the heads alone tell to be behind all others of a run that grows.
    #[inline]
    pub(crate) fn end_for(&self, key: &[u8]) -> Option<usize> {
        let run = self.get();
        if !self.grows() {
            return None;
        }
        let heads = self.heads();
        let follows = heads.are_below(head(key, usize::from(run.prefix)));
        let begins_alike = !run.shape.has(Shape::OWN_PREFIX) || self.has_prefix(key);
        (follows && begins_alike).then_some(heads.len())
    }

    /// Puts `slot` under `key` at `at`, where [`RunRef::end_for`] said it has to be, if there is room.
    #[inline(always)]
    pub(crate) fn append(&self, at: usize, key: &[u8], slot: S) -> Appended {
        let run = self.get();
        if at >= usize::from(run.room) {
            return Appended::Refused;
        }
        let open = at as u16;
        for _ in 0..PATIENCE {
            match run.len.load(Ordering::Relaxed) {
                len if len == open => {}
                len if len == open | CLAIMED => {
                    sync::spin();
                    continue;
                }
                len if len & SEALED != 0 => return Appended::Refused,
                _ => return Appended::Moved,
            }
            let exchange = |from: u16, to: u16, order| {
                let exchanged = run.len.compare_exchange(from, to, order, Ordering::Relaxed);
                exchanged.is_ok()
            };
            if !exchange(open, open | CLAIMED, Ordering::Acquire) {
                continue;
            }
            // SAFETY: there is room, and nobody else writes there or reads it (E1).
            unsafe {
                let head = head(key, usize::from(run.prefix));
                heads::write(self.heads_start(), run.shape.width(), at, head);
                self.slots_start().add(at).write(slot);
            }
            // Release publishes the slot and what it leads to; Acquire is for the fence that follows.
            let published = exchange(open | CLAIMED, open + 1, Ordering::AcqRel);
            return match published || planted("tail-seal-ignored") {
                true => Appended::Done,
                false => Appended::Refused,
            };
        }
        Appended::Refused
    }

    /// Makes the contents final (E2). Answers whether they may have grown since anything was read of them.
    pub(crate) fn seal(&self) -> bool {
        let run = self.get();
        if !self.grows() || planted("tail-not-sealed") {
            return false;
        }
        let mut len = run.len.load(Ordering::Relaxed);
        while len & SEALED == 0 {
            let sealed = len & LEN | SEALED;
            // Acquire: what was added.
            match run
                .len
                .compare_exchange(len, sealed, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => len = now,
            }
        }
        true
    }
}
