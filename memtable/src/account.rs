//! The account: how many keys are live and how many bytes they hold, as one linearizable pair.
//!
//! The sums are kept in *stripes*, each owned by one writer at a time, so that writers do not fight over a line. For its call a
//! writer claims a stripe, *announces* its version there, publishes the version, stamps it, and folds the version's
//! [`Delta`] into the stripe's sums, which are kept apart by segment.
//!
//! * A1: a version is announced before it is published and stays announced until it is folded. So whoever sees a version
//!   finds it in a stripe, announced or folded.
//!   While it is announced it is not retired: until its writer marks it *booked*, nobody unlinks it or buries its entry, for
//!   a guard that begins later could still reach it here.
//! * A2: a stripe's contents are one of a small ring of slots; one store of `published` makes the next slot current. A reader
//!   re-reads if the ring went round under his eyes.
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

use crate::clock::{Clock, Hole, View};
use crate::entry;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{self, const_fn};
use crate::version::{Delta, Place, Stamp, State, Version, VersionRef};
use std::ptr;

const RING: u64 = if cfg!(untorn_loom) { 2 } else { 4 };
/// Older sums beyond this many are looked through for neighbours to merge.
const SUMS: usize = 8;
/// Block `n` has `2^n` stripes.
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

/// The sums of one stretch of segments.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    first: u64,
    last: u64,
    len: i64,
    size: i64,
}

/// Sums of older segments, newest first. Immutable.
struct OlderSum {
    sum: Sum,
    older: *mut OlderSum,
}

/// The contents of a stripe at one time.
#[derive(Clone, Copy)]
struct Tally {
    announced: *mut Version,
    newest: Sum,
    older: *mut OlderSum,
    /// The newest segment in which something was booked that counts in an older one.
    moved: u64,
}

struct Slot {
    announced: AtomicPtr<Version>,
    first: AtomicU64,
    last: AtomicU64,
    len: AtomicU64,
    size: AtomicU64,
    older: AtomicPtr<OlderSum>,
    moved: AtomicU64,
}

impl Slot {
    const_fn! {
        const fn new() -> Slot {
            Slot {
                announced: AtomicPtr::new(ptr::null_mut()),
                first: AtomicU64::new(0),
                last: AtomicU64::new(0),
                len: AtomicU64::new(0),
                size: AtomicU64::new(0),
                older: AtomicPtr::new(ptr::null_mut()),
                moved: AtomicU64::new(0),
            }
        }
    }

    fn load(&self) -> Tally {
        Tally {
            announced: self.announced.load(Ordering::Relaxed),
            newest: Sum {
                first: self.first.load(Ordering::Relaxed),
                last: self.last.load(Ordering::Relaxed),
                len: self.len.load(Ordering::Relaxed).cast_signed(),
                size: self.size.load(Ordering::Relaxed).cast_signed(),
            },
            older: self.older.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
        }
    }

    fn store(&self, tally: &Tally) {
        self.announced.store(tally.announced, Ordering::Relaxed);
        self.first.store(tally.newest.first, Ordering::Relaxed);
        self.last.store(tally.newest.last, Ordering::Relaxed);
        self.len
            .store(tally.newest.len.cast_unsigned(), Ordering::Relaxed);
        self.size
            .store(tally.newest.size.cast_unsigned(), Ordering::Relaxed);
        self.older.store(tally.older, Ordering::Relaxed);
        self.moved.store(tally.moved, Ordering::Relaxed);
    }
}

#[repr(align(128))]
struct Stripe {
    owned: AtomicBool,
    published: AtomicU64,
    ring: [Slot; RING as usize],
}

impl Stripe {
    const_fn! {
        const fn new() -> Stripe {
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

    fn slot(&self, number: u64) -> &Slot {
        &self.ring[(number % RING) as usize]
    }

    fn try_claim(&self) -> Option<Claim<'_>> {
        // Acquire: the tally as the last owner left it.
        let won = !self.owned.load(Ordering::Relaxed)
            && self
                .owned
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        won.then(|| {
            let number = self.published.load(Ordering::Relaxed);
            Claim {
                stripe: self,
                number,
                tally: self.slot(number).load(),
            }
        })
    }

    /// The contents at some instant of the call, and their number.
    fn read(&self) -> (u64, Tally) {
        loop {
            let number = self.published.load(Ordering::Acquire);
            let tally = self.slot(number).load();
            // If a field was one of a later round, its writer's fence makes the round's number visible here (A2).
            fence(Ordering::Acquire);
            let now = self.published.load(Ordering::Relaxed);
            if now - number < RING - 1 {
                return (number, tally);
            }
            sync::spin();
        }
    }
}

/// A stripe in the hands of one writer; given back on drop.
pub(crate) struct Claim<'t> {
    stripe: &'t Stripe,
    number: u64,
    tally: Tally,
}

impl Claim<'_> {
    fn publish(&mut self) {
        self.number += 1;
        if planted("tally-number-first") {
            self.stripe.published.store(self.number, Ordering::Release);
        }
        // Pairs with the fence in `read`: who sees a field of this slot sees the number before it.
        fence(Ordering::Release);
        self.stripe.slot(self.number).store(&self.tally);
        self.stripe.published.store(self.number, Ordering::Release);
    }

    /// Before the version is published (A1).
    pub(crate) fn announce(&mut self, version: VersionRef<'_>) {
        if planted("no-announcement") {
            return;
        }
        self.tally.announced = version.as_ptr();
        self.publish();
    }

    /// The announced version was not published, or is void.
    pub(crate) fn retract(&mut self) {
        self.tally.announced = ptr::null_mut();
        self.publish();
    }

    /// Books the announced version, which was stamped with `segment`.
    pub(crate) fn fold(&mut self, delta: Delta, segment: u64, view: &View, guard: &Guard) {
        self.tally.announced = ptr::null_mut();
        let mut replaced = Vec::new();
        for part in parts(delta, segment) {
            if part.first != segment {
                self.tally.moved = self.tally.moved.max(segment);
            }
            self.tally.add(part, view, &mut replaced);
        }
        self.publish();
        for sum in replaced {
            // SAFETY: no slot that is current from now on leads to it.
            unsafe { guard.retire(sum.cast(), destroy_sum, size_of::<OlderSum>()) };
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.stripe.owned.store(false, Ordering::Release);
    }
}

/// What a delta adds, and where.
fn parts(delta: Delta, here: u64) -> impl Iterator<Item = Sum> {
    let weight = |place: Place, sign: i64| {
        let segment = match place {
            Place::Nowhere => return None,
            Place::Always => 0,
            Place::Here => here,
            Place::Segment(segment) => segment,
        };
        Some((segment, sign, sign * i64::from(delta.key_len)))
    };
    let value = (delta.value != 0).then_some((here, 0, delta.value));
    let changes = match delta.minus == delta.plus {
        true => [value, None, None],
        false => [value, weight(delta.minus, -1), weight(delta.plus, 1)],
    };
    changes
        .into_iter()
        .flatten()
        .map(|(segment, len, size)| Sum {
            first: segment,
            last: segment,
            len,
            size,
        })
}

impl Tally {
    fn add(&mut self, part: Sum, view: &View, replaced: &mut Vec<*mut OlderSum>) {
        let newest = &mut self.newest;
        if newest.first <= part.first && part.first <= newest.last {
            newest.len += part.len;
            newest.size += part.size;
        } else if newest.last < part.first {
            if newest.len != 0 || newest.size != 0 {
                self.older = Box::into_raw(Box::new(OlderSum {
                    sum: *newest,
                    older: self.older,
                }));
                self.merge(view, replaced);
            }
            self.newest = part;
        } else {
            self.add_older(part, replaced);
        }
    }

    fn sums(&self) -> impl Iterator<Item = *mut OlderSum> {
        let some = |sum: *mut OlderSum| (!sum.is_null()).then_some(sum);
        // SAFETY: older sums are retired only when no current slot leads to them, and the caller has a guard or the stripe.
        let older = move |&sum: &*mut OlderSum| some(unsafe { (*sum).older });
        std::iter::successors(some(self.older), older)
    }

    /// Adds to the sum of an older segment, by copying what lies above it.
    fn add_older(&mut self, part: Sum, replaced: &mut Vec<*mut OlderSum>) {
        let mut above = Vec::new();
        let mut rest = self.older;
        let mut target = part;
        // SAFETY: as in `sums`.
        while let Some(older) = unsafe { rest.as_ref() } {
            if older.sum.last < part.first {
                break;
            }
            replaced.push(rest);
            rest = older.older;
            if older.sum.first <= part.first {
                target = Sum {
                    len: older.sum.len + part.len,
                    size: older.sum.size + part.size,
                    ..older.sum
                };
                break;
            }
            above.push(older.sum);
        }
        self.older = above
            .into_iter()
            .rev()
            .fold(cons(target, rest), |older, sum| cons(sum, older));
    }

    /// Merges old neighbours that nothing can part any more.
    fn merge(&mut self, view: &View, replaced: &mut Vec<*mut OlderSum>) {
        let nodes: Vec<_> = self.sums().take(2 * SUMS).collect();
        if nodes.len() < SUMS {
            return;
        }
        // SAFETY: as in `sums`.
        let sums = nodes.iter().map(|node| unsafe { (**node).sum });
        let mut merged: Vec<Sum> = Vec::new();
        for (depth, older) in sums.enumerate() {
            match merged.last_mut() {
                // The newest stay apart for the `stats()` that are under way.
                Some(newer) if depth > 3 && never_parted(&older, newer, view) => {
                    *newer = Sum {
                        first: older.first,
                        last: newer.last,
                        len: older.len + newer.len,
                        size: older.size + newer.size,
                    };
                }
                _ => merged.push(older),
            }
        }
        if merged.len() < nodes.len() {
            let rest = nodes
                .last()
                // SAFETY: as in `sums`.
                .map_or(ptr::null_mut(), |last| unsafe { (**last).older });
            self.older = merged
                .into_iter()
                .rev()
                .fold(rest, |older, sum| cons(sum, older));
            replaced.extend(nodes);
        }
    }

    /// Takes out the sums that lie in a hole. False if there were none.
    fn drop_hole(&mut self, hole: &Hole, replaced: &mut Vec<*mut OlderSum>) -> bool {
        let inside = |sum: &Sum| hole.contains(sum.first) && hole.contains(sum.last);
        let found = inside(&self.newest)
            // SAFETY: as in `sums`.
            || self.sums().any(|node| inside(unsafe { &(*node).sum }));
        if !found {
            return false;
        }
        if inside(&self.newest) {
            (self.newest.len, self.newest.size) = (0, 0);
        }
        let nodes: Vec<_> = self.sums().collect();
        // SAFETY: as in `sums`.
        let kept = nodes
            .iter()
            .map(|node| unsafe { (**node).sum })
            .filter(|sum| !inside(sum));
        let kept: Vec<_> = kept.collect();
        self.older = kept
            .into_iter()
            .rev()
            .fold(ptr::null_mut(), |older, sum| cons(sum, older));
        replaced.extend(nodes);
        true
    }

    /// The total at or below `upto` that is in no hole; `None` if sums were merged across `upto` or the edge of a hole, or if
    /// a write above `upto` was booked in part below.
    fn total(&self, view: &View, upto: u64) -> Option<(i64, i64)> {
        if self.moved > upto {
            return None;
        }
        // SAFETY: as in `older`.
        let older = self.sums().map(|node| unsafe { (*node).sum });
        let mut total = (0, 0);
        for sum in std::iter::once(self.newest).chain(older) {
            if sum.first > upto || (sum.len == 0 && sum.size == 0) {
                continue;
            }
            let mut counts = true;
            for hole in &view.holes {
                match (hole.contains(sum.first), hole.contains(sum.last)) {
                    (true, true) => counts = false,
                    (false, false) => {}
                    _ => return None,
                }
            }
            if sum.last > upto {
                return None;
            }
            if counts {
                total = (total.0 + sum.len, total.1 + sum.size);
            }
        }
        Some(total)
    }
}

/// Whether no rollback can take back one of two neighbouring sums without the other.
fn never_parted(older: &Sum, newer: &Sum, view: &View) -> bool {
    !view.stage_between(older.last, newer.first)
        && view.holes.iter().all(|hole| {
            let edges = [older.first, older.last, newer.first, newer.last];
            edges.iter().all(|&edge| hole.contains(edge))
                || (newer.last < hole.first || hole.last < older.first)
        })
}

fn cons(sum: Sum, older: *mut OlderSum) -> *mut OlderSum {
    Box::into_raw(Box::new(OlderSum { sum, older }))
}

/// # Safety
/// `object` is a boxed [`OlderSum`] that nobody can reach any more, and it was not freed before.
unsafe fn destroy_sum(object: *mut u8) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(object.cast::<OlderSum>()) });
}

/// The account of one table.
pub(crate) struct Account {
    /// The first stripe lies in the table itself, so that a table with one writer at a time allocates none.
    first: Stripe,
    blocks: [AtomicPtr<Stripe>; BLOCKS],
    /// Stripes in use: 1, 2, 4, ...
    active: AtomicUsize,
}

impl Account {
    const_fn! {
        pub(crate) const fn new() -> Account {
            Account {
                first: Stripe::new(),
                #[cfg(not(untorn_loom))]
                blocks: [const { AtomicPtr::new(ptr::null_mut()) }; BLOCKS],
                #[cfg(untorn_loom)]
                blocks: [AtomicPtr::new(ptr::null_mut()), AtomicPtr::new(ptr::null_mut())],
                active: AtomicUsize::new(1),
            }
        }
    }

    fn stripe(&self, index: usize) -> &Stripe {
        if index == 0 {
            return &self.first;
        }
        let block = index.ilog2() as usize;
        let start = self.blocks[block].load(Ordering::Acquire);
        // SAFETY: `active` grows past a block's stripes only after the block was installed; it lives as long as the table.
        unsafe { &*start.add(index - (1 << block)) }
    }

    fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        (0..self.active.load(Ordering::Acquire)).map(|index| self.stripe(index))
    }

    /// A stripe for one write. More threads than stripes get more stripes; only past 4,096 writers at once one waits.
    pub(crate) fn claim(&self) -> Claim<'_> {
        let hint = thread_hint();
        loop {
            let active = self.active.load(Ordering::Acquire);
            for step in 0..active {
                if let Some(claim) = self.stripe((hint + step) % active).try_claim() {
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
            let stripes: Box<[Stripe]> = (0..active).map(|_| Stripe::new()).collect();
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
            let (read, tally) = self.stripe(index).read();
            if !tally.announced.is_null() {
                return None;
            }
            let (len, size) = tally.total(&view, u64::MAX)?;
            total = (total.0 + len, total.1 + size);
            *number = read;
        }
        // All loads of the first pass before all of the second.
        fence(Ordering::SeqCst);
        let unchanged =
            numbers.iter().enumerate().all(|(index, &number)| {
                self.stripe(index).published.load(Ordering::Acquire) == number
            }) && self.active.load(Ordering::Acquire) == active
                && clock.now(guard) == view;
        unchanged.then_some(total)
    }

    fn at_tick(&self, clock: &Clock, persistent_mask: u32, guard: &Guard) -> Option<(i64, i64)> {
        let view = clock.now(guard);
        let upto = view.segment;
        clock.tick(view, guard);
        let mut total = (0, 0);
        for stripe in self.stripes() {
            let (_, tally) = stripe.read();
            let (mut len, mut size) = tally.total(&view, upto)?;
            // SAFETY: a version that was announced is retired, never freed at once, so the guard keeps it (A1).
            if let Some(version) = unsafe { VersionRef::new(tally.announced) }
                && let Stamp::At(segment) = version.stamp()
                && segment <= upto
            {
                for part in parts(delta_of(version, persistent_mask), segment) {
                    if !view.discards(part.first) {
                        (len, size) = (len + part.len, size + part.size);
                    }
                }
            }
            total = (total.0 + len, total.1 + size);
        }
        Some(total)
    }

    /// Takes the sums of a hole out of all stripes; false if a stripe was claimed, so that it has to be tried again.
    pub(crate) fn drop_hole(&self, hole: &Hole, guard: &Guard) -> bool {
        self.stripes().all(|stripe| {
            let Some(mut claim) = stripe.try_claim() else {
                return false;
            };
            let mut replaced = Vec::new();
            if claim.tally.drop_hole(hole, &mut replaced) {
                claim.publish();
            }
            for sum in replaced {
                // SAFETY: no slot that is current from now on leads to it.
                unsafe { guard.retire(sum.cast(), destroy_sum, size_of::<OlderSum>()) };
            }
            true
        })
    }
}

/// What a version adds; that of an inline one follows from its entry, which it made.
pub(crate) fn delta_of(version: VersionRef<'_>, persistent_mask: u32) -> Delta {
    version.delta().unwrap_or_else(|| Delta {
        key_len: entry::key_len_of_inline(version),
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
            let (_, tally) = stripe.read();
            let sums: Vec<_> = tally.sums().collect();
            for sum in sums {
                // SAFETY: the table is being dropped; older sums belong to one stripe each.
                unsafe { destroy_sum(sum.cast()) };
            }
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
