//! A stripe: the sums of one writer at a time, and the version that it is about to book.
//!
//! Its contents are one word and a slot of a small ring. The word `published` says which slot, and whether something is announced:
//!
//! | `published` | contents |
//! |---|---|
//! | `2k` | the sums in slot `k` modulo the ring's length |
//! | `2k + 1` | the same sums, and what the same slot names as announced |
//!
//! So to announce is to store one word and then the next number; to book is to fill the next slot and to store its number.

use super::announced::Announced;
use super::tally::{OlderSum, Parts, Sum, Tally, destroy_sum};
use crate::clock::{FIRST_SEGMENT, View};
use crate::holes::Hole;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence};
use crate::sync::{self, const_fn};
use crate::version::Delta;
use std::ptr;

const RING: u64 = if cfg!(untorn_loom) { 2 } else { 4 };

struct Slot {
    announced: AtomicPtr<()>,
    first: AtomicU64,
    last: AtomicU64,
    len: AtomicU64,
    size: AtomicU64,
    older: AtomicPtr<OlderSum>,
    moved: AtomicU64,
    always_len: AtomicU64,
    always_size: AtomicU64,
}

impl Slot {
    const_fn! {
        const fn new() -> Slot {
            Slot {
                announced: AtomicPtr::new(ptr::null_mut()),
                first: AtomicU64::new(FIRST_SEGMENT),
                last: AtomicU64::new(FIRST_SEGMENT),
                len: AtomicU64::new(0),
                size: AtomicU64::new(0),
                older: AtomicPtr::new(ptr::null_mut()),
                moved: AtomicU64::new(0),
                always_len: AtomicU64::new(0),
                always_size: AtomicU64::new(0),
            }
        }
    }

    #[inline]
    fn load(&self) -> Tally {
        Tally {
            newest: Sum {
                first: self.first.load(Ordering::Relaxed),
                last: self.last.load(Ordering::Relaxed),
                len: self.len.load(Ordering::Relaxed).cast_signed(),
                size: self.size.load(Ordering::Relaxed).cast_signed(),
            },
            older: self.older.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
            always: (
                self.always_len.load(Ordering::Relaxed).cast_signed(),
                self.always_size.load(Ordering::Relaxed).cast_signed(),
            ),
        }
    }

    #[inline]
    fn store(&self, tally: &Tally) {
        self.first.store(tally.newest.first, Ordering::Relaxed);
        self.last.store(tally.newest.last, Ordering::Relaxed);
        self.len
            .store(tally.newest.len.cast_unsigned(), Ordering::Relaxed);
        self.size
            .store(tally.newest.size.cast_unsigned(), Ordering::Relaxed);
        self.older.store(tally.older, Ordering::Relaxed);
        self.moved.store(tally.moved, Ordering::Relaxed);
        self.always_len
            .store(tally.always.0.cast_unsigned(), Ordering::Relaxed);
        self.always_size
            .store(tally.always.1.cast_unsigned(), Ordering::Relaxed);
    }
}

pub(super) struct Stripe {
    owned: AtomicBool,
    published: AtomicU64,
    ring: [Slot; RING as usize],
}

/// A stripe among others, on lines of its own.
#[repr(align(128))]
pub(super) struct Lined(pub(super) Stripe);

/// The stripe in a table, on lines of its own. For that it has room on both sides and no alignment, which the allocator would make
/// every small table pay for.
#[repr(C)]
pub(super) struct Apart {
    _before: [u8; LINE],
    pub(super) stripe: Stripe,
    _behind: [u8; LINE],
}

const LINE: usize = if cfg!(untorn_loom) { 0 } else { 64 };

impl Apart {
    const_fn! {
        pub(super) const fn new() -> Apart {
            Apart {
                _before: [0; LINE],
                stripe: Stripe::new(),
                _behind: [0; LINE],
            }
        }
    }
}

impl Stripe {
    const_fn! {
        pub(super) const fn new() -> Stripe {
            Stripe {
                owned: AtomicBool::new(false),
                published: AtomicU64::new(0),
                #[cfg(not(untorn_loom))]
                ring: [Slot::new(), Slot::new(), Slot::new(), Slot::new()],
                #[cfg(untorn_loom)]
                ring: [Slot::new(), Slot::new()],
            }
        }
    }

    #[inline]
    fn slot(&self, number: u64) -> &Slot {
        &self.ring[(number / 2 % RING) as usize]
    }

    #[inline]
    pub(super) fn try_claim(&self) -> Option<Claim<'_>> {
        // Acquire: the tally as the last owner left it.
        let won = !self.owned.load(Ordering::Relaxed)
            && self
                .owned
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        // Pairs with the one in `frozen.rs`: who freezes sees the claim, or the claimer sees the frozen view.
        sync::fence_after_rmw();
        // Made only if it was won: a claim that is dropped gives the stripe back, whoever has it.
        won.then(|| Claim { stripe: self })
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.owned.load(Ordering::Acquire)
    }

    /// The number of the contents.
    pub(super) fn number(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// The contents at some instant of the call, and their number.
    pub(super) fn read(&self) -> (u64, Announced, Tally) {
        loop {
            let number = self.number();
            let slot = self.slot(number);
            let announced = match number % 2 {
                0 => Announced::NOTHING,
                _ => Announced::from_word(slot.announced.load(Ordering::Relaxed)),
            };
            let tally = slot.load();
            // If a field was one of a later round, its writer's fence makes the round's number visible here (A2).
            fence(Ordering::Acquire);
            let now = self.published.load(Ordering::Relaxed);
            if now / 2 - number / 2 < RING - 1 {
                return (number, announced, tally);
            }
            sync::spin();
        }
    }
}

/// A stripe in the hands of one writer; given back on drop.
pub(crate) struct Claim<'t> {
    stripe: &'t Stripe,
}

impl Claim<'_> {
    /// The number of the contents, which nobody else changes.
    #[inline]
    fn number(&self) -> u64 {
        self.stripe.published.load(Ordering::Relaxed)
    }

    /// Makes contents out of what `fill` puts into the slot of their number.
    #[inline]
    fn publish(&mut self, number: u64, fill: impl FnOnce(&Slot)) {
        let stripe = self.stripe;
        if planted("tally-number-first") {
            stripe.published.store(number, Ordering::Release);
        }
        // Pairs with the fence in `read`: who sees a field of this slot sees the number before it.
        fence(Ordering::Release);
        fill(stripe.slot(number));
        stripe.published.store(number, Ordering::Release);
    }

    /// Before the version, or the first one of the batch, is published (A1).
    #[inline]
    pub(crate) fn announce(&mut self, announced: Announced) {
        if planted("no-announcement") {
            return;
        }
        let number = self.number();
        debug_assert!(number.is_multiple_of(2));
        let word = announced.to_word();
        self.publish(number + 1, |slot| {
            slot.announced.store(word, Ordering::Relaxed);
        });
    }

    /// What the stripe adds up to, nothing being announced any more.
    #[inline]
    fn settle(&mut self, tally: &Tally) {
        self.publish((self.number() / 2 + 1) * 2, |slot| slot.store(tally));
    }

    #[inline]
    fn tally(&self) -> Tally {
        self.stripe.slot(self.number()).load()
    }

    /// What was announced was not published, or is void.
    pub(crate) fn retract(&mut self) {
        self.settle(&self.tally());
    }

    /// Books the one version that was announced, which was stamped with `segment`.
    #[inline]
    pub(crate) fn fold(&mut self, delta: Delta, segment: u64, view: &View, guard: &Guard) {
        let mut tally = self.tally();
        match tally.add_here(&delta, segment) {
            true => self.settle(&tally),
            false => self.fold_all([delta], segment, view, guard),
        }
    }

    /// Books what was announced, which was stamped with `segment`: the deltas of all its versions, at once.
    pub(crate) fn fold_all(
        &mut self,
        deltas: impl IntoIterator<Item = Delta>,
        segment: u64,
        view: &View,
        guard: &Guard,
    ) {
        let mut tally = self.tally();
        let mut replaced = Vec::new();
        for delta in deltas {
            if tally.add_here(&delta, segment) {
                continue;
            }
            let parts = Parts::of(delta, segment);
            tally.add(parts.here, view, &mut replaced);
            for part in parts.elsewhere.into_iter().flatten() {
                tally.add_moved(part, segment, view, &mut replaced);
            }
        }
        self.settle(&tally);
        if !replaced.is_empty() {
            retire(replaced, guard);
        }
    }

    /// Merges all sums that nothing can part any more.
    pub(super) fn merge(&mut self, view: &View, guard: &Guard) {
        let mut tally = self.tally();
        let mut replaced = Vec::new();
        tally.merge(usize::MAX, view, &mut replaced);
        if !replaced.is_empty() {
            self.settle(&tally);
            retire(replaced, guard);
        }
    }

    /// Takes the sums of holes out, as [`Tally::drop_holes`].
    pub(super) fn drop_holes(&mut self, holes: &[&Hole], guard: &Guard) {
        let mut tally = self.tally();
        let mut replaced = Vec::new();
        if tally.drop_holes(holes, &mut replaced) {
            self.settle(&tally);
        }
        retire(replaced, guard);
    }
}

fn retire(replaced: Vec<*mut OlderSum>, guard: &Guard) {
    for sum in replaced {
        // SAFETY: no slot that is current from now on leads to it.
        unsafe { guard.retire(sum.cast(), destroy_sum, size_of::<OlderSum>()) };
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.stripe.owned.store(false, Ordering::Release);
    }
}
