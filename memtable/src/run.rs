//! A run: the immutable sorted contents of one leaf.
//!
//! A run is one allocation: the *slots* (what the keys lead to), a header, the [*heads*](heads) (some bytes of each key). It is
//! known by the address of its header: from there slots and heads lie at distances that the width of the heads does not change,
//! and the first lines of both can be asked for before the header has come.
//!
//! Heads are searched before any key is touched: a head is the first 4 or 8 bytes of a key behind the part that the run's two
//! fences have in common. Every key that can ever come into the range begins with that part, so it need not be compared. Equal
//! heads mean *unknown*: then the keys themselves decide.
//!
//! A run at an end of its chain lacks a fence. There the part that its *own* keys have in common is left out, and a key that is
//! looked for is compared with that part first, as the run's first slot has it: it may come to lie before or behind all of them.
//!
//! Nothing in a run changes after it was published, but that one which *grows* may get more slots behind its last ([`tail`]).
//! `next` and `high` are those of the leaf at that moment: whoever holds a
//! run that was replaced meanwhile still reads a true picture of `[low, high)`, and finds the rest behind `next`.

mod blocks;
mod builder;
mod copies;
mod heads;
mod memory;
mod search;
mod shape;
mod tail;

use crate::cells::Cell;
use crate::fence::{Fence, common_prefix};
use crate::prefetch::prefetch;
use crate::reclaim::Guard;
use crate::sync::Checked;
use crate::sync::atomic::AtomicU16;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

pub(crate) use blocks::free_kept;
pub(crate) use builder::{MAX_LEN, NewRun};
pub(crate) use copies::Split;
use heads::Heads;
pub(crate) use heads::head;
pub(crate) use memory::{allocation, destroy, destroy_with_fence};
use shape::Shape;
pub(crate) use tail::Appended;

/// What a run leads to under a key: an entry in a leaf, a cell below in a lane.
pub(crate) trait Slot: Copy + PartialEq {
    /// Lines of 64 bytes that an ordinary run of such slots takes before its header, and from there on.
    const LINES: [usize; 2];

    /// Asks the processor for the key and what lies with it.
    fn prefetch(self);

    /// # Safety
    /// The slot was read from a run that is alive for `'g` (I4).
    unsafe fn key<'g>(self) -> &'g [u8];

    /// The fence between `left` and `right`, neighbours in a run that is being split there.
    ///
    /// # Safety
    /// As for [`Slot::key`], for both.
    unsafe fn fence_between(left: Self, right: Self) -> *const Fence;
}

/// The range of keys of one leaf, and where the next one is.
pub(crate) struct Range<S> {
    /// No key of the range is below; null: no bound.
    pub(crate) low: *const Fence,
    /// Every key of the range is below; null: no bound.
    pub(crate) high: *const Fence,
    /// The leaf whose `low` is this one's `high`; null with it.
    pub(crate) next: *const Cell<S>,
}

impl<S> Clone for Range<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Range<S> {}

impl<S> Range<S> {
    pub(crate) const EVERYTHING: Range<S> = Range {
        low: ptr::null(),
        high: ptr::null(),
        next: ptr::null(),
    };

    /// Whether it has no bound on one side.
    fn is_open(&self) -> bool {
        self.low.is_null() || self.high.is_null()
    }

    /// Length of the part with which every key of the range begins.
    fn prefix(&self) -> u16 {
        if self.is_open() {
            return 0;
        }
        // SAFETY: who makes a run with this range holds a guard that keeps its fences (I5).
        prefix_of(unsafe { common_prefix(Fence::key(self.low), Fence::key(self.high)) })
    }
}

#[repr(C)]
pub(crate) struct Run<S> {
    /// How many slots there is room for.
    room: u16,
    /// Of a growing run how many there are ([`tail`]).
    len: AtomicU16,
    /// So many bytes are left out of the heads.
    prefix: u16,
    shape: Shape,
    range: Range<S>,
    check: Checked,
}

/// Where the slots of a run begin that has room for so many; there its allocation does, too.
///
/// # Safety
/// It has.
#[inline]
unsafe fn slots_start<S>(run: *mut Run<S>, room: usize) -> *mut S {
    // SAFETY: inside the allocation by the contract.
    unsafe { run.cast::<S>().sub(room) }
}

/// A run that a guard keeps alive.
pub(crate) struct RunRef<'g, S> {
    run: NonNull<Run<S>>,
    guard: PhantomData<&'g Guard>,
}

impl<S> Clone for RunRef<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for RunRef<'_, S> {}

impl<S> PartialEq for RunRef<'_, S> {
    fn eq(&self, other: &Self) -> bool {
        self.run == other.run
    }
}

/// How much of a common part of this length heads leave out.
fn prefix_of(common: usize) -> u16 {
    common.min(usize::from(u16::MAX)) as u16
}

impl<'g, S: Slot> RunRef<'g, S> {
    /// # Safety
    /// `run` was read from a cell under the guard of `'g`, or is not published yet (I4).
    pub(crate) unsafe fn new(run: *mut Run<S>) -> Option<RunRef<'g, S>> {
        NonNull::new(run).map(|run| RunRef {
            run,
            guard: PhantomData,
        })
    }

    #[inline]
    fn get(&self) -> &'g Run<S> {
        // SAFETY: alive for `'g` by the contract of `new`; never changed after publication.
        unsafe { self.run.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *mut Run<S> {
        self.run.as_ptr()
    }

    /// Asks the processor for the first lines of the run, all at once and without waiting for the header, which would
    /// tell how many there are: heads and slots of an ordinary run come in with one memory latency.
    #[inline]
    pub(crate) fn prefetch(&self) {
        let header = self.run.as_ptr().cast::<u8>();
        let [before, from] = S::LINES;
        for line in 0..from {
            prefetch(header.wrapping_add(line * 64));
        }
        for line in 1..=before {
            prefetch(header.wrapping_sub(line * 64));
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.get().check.read();
        match self.grows() {
            true => self.grown(),
            false => usize::from(self.get().room),
        }
    }

    /// With so many bytes all of its keys begin.
    pub(crate) fn prefix(&self) -> u16 {
        self.get().prefix
    }

    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.get().check.read();
        self.get().shape.has(Shape::DEAD)
    }

    #[inline]
    pub(crate) fn range(&self) -> Range<S> {
        self.get().range
    }

    /// Whether it is known that no key below `bound` lies behind the run (null: no bound is known). A fence that was compared above is
    /// not read again, which would cost a cache miss: it is the same one by pointer.
    #[inline]
    pub(crate) fn ends_at(&self, bound: *const Fence) -> bool {
        let high = self.get().range.high;
        high.is_null() || high == bound
    }

    #[inline]
    pub(crate) fn low(&self) -> Option<&'g [u8]> {
        let low = self.get().range.low;
        // SAFETY: the guard that keeps the run keeps its fences (I5).
        (!low.is_null()).then(|| unsafe { Fence::key(low) })
    }

    #[inline]
    pub(crate) fn high(&self) -> Option<&'g [u8]> {
        let high = self.get().range.high;
        // SAFETY: the guard that keeps the run keeps its fences (I5).
        (!high.is_null()).then(|| unsafe { Fence::key(high) })
    }

    /// The run on the right, as it is now. Only of a run that was live when it was loaded under the guard (C5).
    pub(crate) fn next(&self, guard: &'g Guard) -> Option<RunRef<'g, S>> {
        // SAFETY: cells live as long as the table (I3).
        unsafe { self.range().next.as_ref() }?.load(guard)
    }

    #[inline]
    fn heads(&self) -> Heads<'g> {
        self.heads_of(self.len())
    }

    /// The heads of the first `len` slots, which there are.
    #[inline]
    fn heads_of(&self, len: usize) -> Heads<'g> {
        // SAFETY: the heads follow the header in the same allocation, of the width that it tells, and are initialised; the guard
        // keeps them for `'g`.
        unsafe { Heads::from_raw_parts(self.heads_start(), self.get().shape.width(), len) }
    }

    #[inline]
    fn heads_start(&self) -> *mut u8 {
        // SAFETY: inside the allocation.
        unsafe { self.run.as_ptr().add(1).cast() }
    }

    #[inline]
    fn slots_start(&self) -> *mut S {
        // SAFETY: inside the allocation, which has room for so many slots before the header.
        unsafe { slots_start(self.run.as_ptr(), usize::from(self.get().room)) }
    }

    #[inline]
    pub(crate) fn slots(&self) -> &'g [S] {
        self.slots_of(self.len())
    }

    /// The first `len` slots, which there are.
    #[inline]
    fn slots_of(&self, len: usize) -> &'g [S] {
        // SAFETY: the slots come before the header in the same allocation and are initialised; the guard keeps them for `'g`.
        unsafe { std::slice::from_raw_parts(self.slots_start(), len) }
    }
}
