//! The account: how many keys are live and how many bytes they hold, as one linearizable pair.
//!
//! The sums are kept in *stripes*, each owned by one writer at a time, so that writers do not fight over a line. For its call a
//! writer claims a stripe, *announces* its version there, publishes the version, stamps it, and folds the version's
//! [`Delta`] into the stripe's sums, which are kept apart by segment.
//!
//! * A1: a version is announced before it is published and stays announced until it is folded. So whoever sees a version
//!   finds it in a stripe, announced or folded.
//!   While it is announced it is not retired: until its writer marks it *booked*, nobody unlinks it or buries its entry, for
//!   a guard that begins later could still reach it here. A batch is announced as one, before the first of its versions is
//!   published; its descriptor names them all when it is decided.
//! * A2: a stripe's sums are one of a small ring of slots; one store of `published` makes the next slot current, or what the
//!   current one names announced ([`stripe`]). A reader re-reads if the ring went round under his eyes.
//! * A3: `stats()` ends the current segment `s` and adds up what lies at or below `s` and in no hole: folded sums by their
//!   segment, announced versions by their stamp. One that is still pending then will be stamped later, or its stamper has not
//!   shown it to anybody yet: it counts as later.
//! * A4: at rest (nothing announced, two equal passes, the view unchanged) the sums are those of an instant between the
//!   passes, and the clock need not move.
//!
//! A weight that moves between segments ([`Place`]) is booked in older segments than its write has. Which of it a reader's `s`
//! would have to count cannot be told, so a reader who meets a move above his `s` starts again.
//!
//! Sums of different segments are merged when no rollback can part them any more. A reader whose `s` falls into a merged
//! stretch starts again. The idea of counting by announcement is from Sela and Petrank, "Concurrent Size" (OOPSLA 2022); the
//! pair and the segments are our own.
mod announced;
mod stripe;
mod tally;

use crate::clock::Clock;
use crate::holes::{self, Hole};
use crate::reclaim::Guard;
use crate::stamp::Stamp;
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use crate::sync::{self, const_fn};
use crate::version::{Delta, Place, State, VersionRef};
use std::ptr;
use stripe::{Apart, Lined, Stripe};
use tally::Parts;

pub(crate) use announced::Announced;
pub(crate) use stripe::Claim;
pub(crate) use tally::OLDER_SUM;

/// Block `n` has `2^n` stripes, so that their number is a power of two.
const BLOCKS: usize = if cfg!(untorn_loom) { 2 } else { 12 };

/// Number of live keys and the sum of their key and value lengths in bytes, at one instant.
///
/// Live are keys with a value, with a tombstone, or with a tag alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Number of live keys.
    pub len: usize,
    /// Sum over the live keys of key length and current value length, in bytes.
    pub size: usize,
}

/// The account of one table.
pub(crate) struct Account {
    /// The first stripe lies in the table itself, so that a table with one writer at a time allocates none.
    first: Apart,
    blocks: [AtomicPtr<Lined>; BLOCKS],
    /// Stripes in use: 1, 2, 4, ...
    active: AtomicUsize,
}

impl Account {
    const_fn! {
        pub(crate) const fn new() -> Account {
            Account {
                first: Apart::new(),
                #[cfg(not(untorn_loom))]
                blocks: [const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS],
                #[cfg(untorn_loom)]
                blocks: [AtomicPtr::new(ptr::null_mut()), AtomicPtr::new(ptr::null_mut())],
                active: AtomicUsize::new(1),
            }
        }
    }

    #[inline]
    fn stripe(&self, index: usize) -> &Stripe {
        if index == 0 {
            return &self.first.stripe;
        }
        let block = index.ilog2() as usize;
        let start = self.blocks[block].load(Ordering::Acquire);
        // SAFETY: `active` grows past a block's stripes only after the block was installed; it lives as long as the table.
        unsafe { &(*start.add(index - (1 << block))).0 }
    }

    /// Bytes of the stripes that do not lie in the table itself.
    pub(crate) fn allocated(&self) -> usize {
        (self.active.load(Ordering::Relaxed) - 1) * size_of::<Lined>()
    }

    fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        (0..self.active.load(Ordering::Acquire)).map(|index| self.stripe(index))
    }

    /// A stripe for one write. More threads than stripes get more stripes; only past 4,096 writers at once one waits.
    #[inline]
    pub(crate) fn claim(&self) -> Claim<'_> {
        let hint = thread_hint();
        let active = self.active.load(Ordering::Acquire);
        let first = self.stripe(hint & (active - 1)).try_claim();
        first.unwrap_or_else(|| self.claim_any(hint))
    }

    #[cold]
    fn claim_any(&self, hint: usize) -> Claim<'_> {
        loop {
            let active = self.active.load(Ordering::Acquire);
            for step in 0..active {
                if let Some(claim) = self
                    .stripe(hint.wrapping_add(step) & (active - 1))
                    .try_claim()
                {
                    return claim;
                }
            }
            match self.grow(active) {
                true => {}
                false => sync::spin(),
            }
        }
    }

    fn grow(&self, active: usize) -> bool {
        let block = active.ilog2() as usize;
        let Some(word) = self.blocks.get(block) else {
            return false;
        };
        if word.load(Ordering::Acquire).is_null() {
            let stripes: Box<[Lined]> = (0..active).map(|_| Lined(Stripe::new())).collect();
            let stripes = Box::into_raw(stripes);
            if word
                .compare_exchange(
                    ptr::null_mut(),
                    stripes.cast(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_err()
            {
                // SAFETY: made here and never published.
                drop(unsafe { Box::from_raw(stripes) });
            }
        }
        // Release: with the block, for who counts on it. Losing means that somebody else did the same.
        let _ =
            self.active
                .compare_exchange(active, active * 2, Ordering::AcqRel, Ordering::Relaxed);
        true
    }

    /// Waits until each stripe that is claimed now was let go. Freezing alone waits.
    pub(crate) fn drain(&self) {
        for stripe in self.stripes() {
            while stripe.is_claimed() {
                sync::spin();
            }
        }
    }

    /// The linearizable pair (A3, A4).
    pub(crate) fn stats(&self, clock: &Clock, persistent_mask: u32, guard: &Guard) -> Stats {
        loop {
            let total = self
                .at_rest(clock, guard)
                .or_else(|| self.at_tick(clock, persistent_mask, guard));
            if let Some((len, size)) = total {
                debug_assert!(len >= 0 && size >= 0);
                return Stats {
                    len: len as usize,
                    size: size as usize,
                };
            }
            sync::spin();
        }
    }

    fn at_rest(&self, clock: &Clock, guard: &Guard) -> Option<(i64, i64)> {
        let view = clock.now(guard);
        let active = self.active.load(Ordering::Acquire);
        let mut numbers = [0; 16];
        let numbers = numbers.get_mut(..active)?;
        let mut total = (0, 0);
        for (index, number) in numbers.iter_mut().enumerate() {
            let (read, announced, tally) = self.stripe(index).read();
            if !announced.is_nothing() {
                return None;
            }
            let (len, size) = tally.total(&view, u64::MAX)?;
            total = (total.0 + len, total.1 + size);
            *number = read;
        }
        // All loads of the first pass before all of the second.
        fence(Ordering::SeqCst);
        let unchanged = numbers
            .iter()
            .enumerate()
            .all(|(index, &number)| self.stripe(index).number() == number)
            && self.active.load(Ordering::Acquire) == active
            && clock.now(guard) == view;
        unchanged.then_some(total)
    }

    fn at_tick(&self, clock: &Clock, persistent_mask: u32, guard: &Guard) -> Option<(i64, i64)> {
        let view = clock.now(guard);
        let upto = view.segment;
        clock.tick(view, guard);
        let mut total = (0, 0);
        for stripe in self.stripes() {
            let (_, announced, tally) = stripe.read();
            let (mut len, mut size) = tally.total(&view, upto)?;
            // SAFETY: read from a stripe under the guard (A1).
            let announced = unsafe { announced.named(guard) };
            if let Stamp::At(segment) = announced.stamp()
                && segment <= upto
            {
                for version in announced.versions(guard) {
                    let parts = Parts::of(delta_of(version, persistent_mask), segment);
                    for part in parts.standing(&view) {
                        (len, size) = (len + part.len, size + part.size);
                    }
                }
            }
            total = (total.0 + len, total.1 + size);
        }
        Some(total)
    }

    /// Merges the sums of all stripes that nobody has claimed.
    pub(crate) fn merge(&self, clock: &Clock, guard: &Guard) {
        let claims = self.stripes().filter_map(Stripe::try_claim);
        claims.for_each(|mut claim| claim.merge(&clock.now(guard), guard));
    }

    /// How many sums are kept apart, beside the newest of each stripe.
    pub(crate) fn older_sums(&self, _guard: &Guard) -> usize {
        let tallies = self.stripes().map(|stripe| stripe.read().2);
        tallies.map(|tally| tally.sums().count()).sum()
    }

    /// Takes the sums of holes out of all stripes, all at once; false if a stripe was claimed, so that it has to be tried again.
    pub(crate) fn drop_holes(&self, holes: &[Hole], guard: &Guard) -> bool {
        let outermost = holes::outermost(holes);
        self.stripes().all(|stripe| {
            let Some(mut claim) = stripe.try_claim() else {
                return false;
            };
            claim.drop_holes(&outermost, guard);
            true
        })
    }
}

/// What a version adds; that of an inline one follows from its entry, which it made.
pub(crate) fn delta_of(version: VersionRef<'_>, persistent_mask: u32) -> Delta {
    version.delta().unwrap_or_else(|| Delta {
        key_len: version.key_len() as u32,
        value: version.value_len() as i64,
        minus: Place::Nowhere,
        plus: match (version.state(), version.tag() & persistent_mask) {
            (State::Gone, _) => Place::Nowhere,
            (_, 0) => Place::Here,
            _ => Place::Always,
        },
    })
}

impl Drop for Account {
    fn drop(&mut self) {
        for stripe in self.stripes() {
            let (_, _, tally) = stripe.read();
            // SAFETY: the table is being dropped; older sums belong to one stripe each.
            unsafe { tally.destroy() };
        }
        for (block, word) in self.blocks.iter_mut().enumerate() {
            let stripes = sync::exclusive(word);
            if !stripes.is_null() {
                // SAFETY: boxed in `grow` with this length.
                drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(stripes, 1 << block)) });
            }
        }
    }
}

/// Which stripe this thread tries first, so that threads do not fight over one.
fn thread_hint() -> usize {
    #[cfg(untorn_loom)]
    return 0;
    #[cfg(not(untorn_loom))]
    {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        sync::thread_local! {
            static HINT: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        HINT.try_with(|hint| *hint).unwrap_or_default()
    }
}
