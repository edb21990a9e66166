//! The stamp: one word that says when a version takes effect, or a whole [batch](crate::batch).
//!
//! | lowest two bits | the rest | meaning |
//! |---|---|---|
//! | 00 | address of a descriptor | decided with its batch |
//! | 00 | null, in a descriptor's own word | the batch is open |
//! | 01 | a segment | in effect from it on, unless a rollback took it back |
//! | 10 | a number of turns | pending: computed after so many turns of the clock, and not stamped yet |
//! | 11 | | void or discarded |
//!
//! The highest bit of a version's stamp says that the version is *booked*; it is set when the rest is decided and does not
//! change until then, so its writer stores it.
//!
//! Anybody who meets a pending stamp sets it, once, from the clock ([`Clock::settle`](crate::clock::Clock::settle)); one that names a batch
//! is set to what the batch's own came to. Besides, the holder of an entry's trim flag turns a rolled back segment into
//! *discarded*.

use crate::batch::Descriptor;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::ptr;

const _: () = assert!(usize::BITS == 64, "a stamp holds a segment of 61 bits");

/// When a version takes effect, as read from its stamp word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// Decided with its batch, which was open when it was looked at.
    InBatch,
    /// Not decided yet; computed after so many turns of the clock.
    Pending { turns: u64 },
    /// In effect from this segment on, unless a rollback took the segment back.
    At(u64),
    /// Never happened: the clock turned between its computation and its stamp. Its writer starts again.
    Void,
    /// Rolled back for good, and no snapshot is left that could show it.
    Discarded,
}

const KIND: usize = 0b11;
const IN_BATCH: usize = 0b00;
const AT: usize = 0b01;
const PENDING: usize = 0b10;
const BOOKED: usize = 1 << 63;
const VOID: usize = !BOOKED;
const DISCARDED: usize = VOID - 4;

impl Stamp {
    /// Whether it says already what becomes of the version.
    pub(crate) const fn is_decided(self) -> bool {
        !matches!(self, Stamp::InBatch | Stamp::Pending { .. })
    }

    const fn to_word(self) -> *mut Descriptor {
        ptr::without_provenance_mut(match self {
            Stamp::InBatch => IN_BATCH,
            Stamp::At(segment) => (segment as usize) << 2 | AT,
            Stamp::Pending { turns } => (turns as usize) << 2 | PENDING,
            Stamp::Void => VOID,
            Stamp::Discarded => DISCARDED,
        })
    }

    #[inline]
    fn from_word(word: *mut Descriptor) -> Stamp {
        let word = word.addr() & !BOOKED;
        match word & KIND {
            AT => Stamp::At((word >> 2) as u64),
            PENDING => Stamp::Pending {
                turns: (word >> 2) as u64,
            },
            IN_BATCH => Stamp::InBatch,
            _ if word == VOID => Stamp::Void,
            _ => Stamp::Discarded,
        }
    }
}

/// The word itself.
pub(crate) struct StampWord(AtomicPtr<Descriptor>);

impl StampWord {
    pub(crate) fn new(stamp: Stamp) -> StampWord {
        StampWord(AtomicPtr::new(stamp.to_word()))
    }

    /// The stamp of a version in a batch.
    pub(crate) fn in_batch(batch: &Descriptor) -> StampWord {
        StampWord(AtomicPtr::new(ptr::from_ref(batch).cast_mut()))
    }

    /// Acquire: whoever sees a stamp sees the version and all that its writer did before.
    #[inline]
    pub(crate) fn load(&self) -> Stamp {
        Stamp::from_word(self.0.load(Ordering::Acquire))
    }

    /// The segment from which on it is in effect, once it is stamped with one.
    #[inline]
    pub(crate) fn segment(&self) -> Option<u64> {
        match self.load() {
            Stamp::At(segment) => Some(segment),
            _ => None,
        }
    }

    /// The turns after which it was computed, while it is pending.
    #[inline]
    pub(crate) fn pending(&self) -> Option<u64> {
        match self.load() {
            Stamp::Pending { turns } => Some(turns),
            _ => None,
        }
    }

    /// The batch that decides it, if that is still named here.
    pub(crate) fn batch<'g>(&self, _guard: &'g Guard) -> Option<&'g Descriptor> {
        let word = self.0.load(Ordering::Acquire);
        match word.addr() & KIND {
            // SAFETY: a descriptor is retired only after no version that can be reached names it any more (B3).
            IN_BATCH => unsafe { word.as_ref() },
            _ => None,
        }
    }

    /// Sets the stamp if it is still `from`, which names no batch of a version; answers what it is now.
    pub(crate) fn decide(&self, from: Stamp, to: Stamp) -> Stamp {
        self.exchange(from.to_word(), to)
    }

    /// Marks the version booked, once it is decided. By its writer alone.
    ///
    /// A store, since nobody changes the word now: it is decided, and discarded only when it is booked. Release: who retires the
    /// version does so after the stripe let it go.
    pub(crate) fn book(&self) {
        let word = self.0.load(Ordering::Relaxed);
        if word.addr() & KIND != IN_BATCH {
            let booked = word.map_addr(|addr| addr | BOOKED);
            self.0.store(booked, Ordering::Release);
        }
    }

    /// Sets the stamp of a version in a batch to what that came to, and marks it booked. By the owner of the batch alone.
    ///
    /// A store: until it is booked the word is changed by nobody but to the same stamp. Release: as in `exchange` and `book`.
    pub(crate) fn book_as(&self, decided: Stamp) {
        let booked = decided.to_word().map_addr(|addr| addr | BOOKED);
        self.0.store(booked, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_booked(&self) -> bool {
        self.0.load(Ordering::Acquire).addr() & BOOKED != 0
    }

    /// Turns `segment` into *discarded*, if the version is booked. Only the holder of the entry's trim flag calls it.
    pub(crate) fn discard(&self, segment: u64) {
        let booked = |stamp: Stamp| stamp.to_word().map_addr(|addr| addr | BOOKED);
        // Losing means that it is not booked. Release: as in `exchange`.
        let _ = self.0.compare_exchange(
            booked(Stamp::At(segment)),
            booked(Stamp::Discarded),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// As [`StampWord::decide`], for a version in `batch`.
    pub(crate) fn decide_with(&self, batch: &Descriptor, to: Stamp) -> Stamp {
        self.exchange(ptr::from_ref(batch).cast_mut(), to)
    }

    fn exchange(&self, from: *mut Descriptor, to: Stamp) -> Stamp {
        // Release: who reads the stamp (a `stats()` that met the announcement) reads the delta too.
        match self
            .0
            .compare_exchange(from, to.to_word(), Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => to,
            Err(now) => Stamp::from_word(now),
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn stamp_words_round_trip_and_do_not_collide() {
        for stamp in [
            Stamp::InBatch,
            Stamp::Pending { turns: 0 },
            Stamp::Pending { turns: 17 },
            Stamp::At(0),
            Stamp::At((1 << 60) - 1),
            Stamp::Void,
            Stamp::Discarded,
        ] {
            assert_eq!(Stamp::from_word(stamp.to_word()), stamp);
        }
    }
}
