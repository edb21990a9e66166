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
pub(crate) use heads::head;
use heads::{Heads, narrow_head};
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

    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.get().check.read();
        self.get().shape.has(Shape::DEAD)
    }

    #[inline]
    pub(crate) fn range(&self) -> Range<S> {
        self.get().range
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
        let len = self.len();
        // SAFETY: the slots come before the header in the same allocation and are initialised; the guard keeps them for `'g`.
        unsafe { std::slice::from_raw_parts(self.slots_start(), len) }
    }

    /// Where `key` is, or where it would have to be.
    #[inline(always)]
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.search_in(self.slots(), key)
    }

    /// As [`RunRef::search`], among the slots that there were at a moment.
    #[inline(always)]
    pub(crate) fn search_in(&self, slots: &'g [S], key: &[u8]) -> Result<usize, usize> {
        match self.seek_plain(slots.len(), key) {
            Some((at, false)) => Err(at),
            Some((at, true)) => self.search_from(slots, at, key),
            None => self.search_beyond_plain(slots, key),
        }
    }

    #[inline(never)]
    fn search_beyond_plain(&self, slots: &'g [S], key: &[u8]) -> Result<usize, usize> {
        self.search_from(slots, self.candidate_beyond_plain(slots.len(), key)?, key)
    }

    /// What `key` leads to.
    #[inline(always)]
    pub(crate) fn find(&self, key: &[u8]) -> Option<S> {
        let slots = self.slots();
        let at = match self.seek_plain(slots.len(), key) {
            Some((_, false)) => return None,
            Some((at, true)) => at,
            None => self.candidate_beyond_plain(slots.len(), key).ok()?,
        };
        let slot = slots[at];
        slot.prefetch();
        // SAFETY: the slots are this run's, which is alive for `'g`.
        if is_same(unsafe { slot.key() }, key) {
            return Some(slot);
        }
        self.search_alike(at, key).ok().map(|at| self.slots()[at])
    }

    /// The slot with which a search for `key` begins to look at keys. `Err` if it need not, with where the key would have to be.
    #[inline]
    pub(crate) fn candidate(&self, key: &[u8]) -> Result<usize, usize> {
        self.candidate_in(self.len(), key)
    }

    #[inline(always)]
    fn candidate_in(&self, len: usize, key: &[u8]) -> Result<usize, usize> {
        match self.seek_plain(len, key) {
            Some(place) => found(place),
            None => self.candidate_beyond_plain(len, key),
        }
    }

    /// Where the first of `len` heads is that is not below that of `key`, and whether it is the same; if the run is plain.
    #[inline(always)]
    fn seek_plain(&self, len: usize, key: &[u8]) -> Option<(usize, bool)> {
        let run = self.get();
        if run.shape.has(Shape::UNLIKE_PLAIN) {
            return None;
        }
        // SAFETY: as for `heads_of`, and they are narrow.
        let heads = unsafe { std::slice::from_raw_parts(self.heads_start().cast(), len) };
        Some(heads::seek_narrow(
            heads,
            narrow_head(key, usize::from(run.prefix)),
        ))
    }

    /// As [`RunRef::candidate_in`], of a run that is not plain.
    #[inline(never)]
    fn candidate_beyond_plain(&self, len: usize, key: &[u8]) -> Result<usize, usize> {
        if self.get().shape.has(Shape::OWN_PREFIX) && !self.has_prefix(key) {
            return Err(self.outside(len, key));
        }
        let head = head(key, usize::from(self.get().prefix));
        found(self.heads_of(len).seek(head))
    }

    /// Where the first of the slots is whose key is not below `key`. `None` if the heads tell that none of them begins with the
    /// first `alike` bytes of it, and none behind the run.
    #[inline]
    pub(crate) fn first_alike(&self, slots: &'g [S], key: &[u8], alike: usize) -> Option<usize> {
        let heads_end = usize::from(self.get().prefix) + self.get().shape.width().bytes();
        match self.candidate_in(slots.len(), key) {
            Ok(at) => Some(self.search_from(slots, at, key).unwrap_or_else(|at| at)),
            // The next key differs in these bytes, and is in this run.
            Err(at) if at < slots.len() && heads_end <= alike => None,
            Err(at) => Some(at),
        }
    }

    /// The rest of a search for `key`, from its candidate on.
    #[inline(always)]
    pub(crate) fn search_from(
        &self,
        slots: &'g [S],
        at: usize,
        key: &[u8],
    ) -> Result<usize, usize> {
        slots[at].prefetch();
        // SAFETY: the slots are this run's, which is alive for `'g`.
        match is_same(unsafe { slots[at].key() }, key) {
            true => Ok(at),
            false => self.search_alike(at, key),
        }
    }

    /// Where a key is among those that have the head at `from`.
    #[cold]
    fn search_alike(&self, from: usize, key: &[u8]) -> Result<usize, usize> {
        let to = self.heads().end_of_alike(from);
        self.slots()[from..to]
            // SAFETY: the slots are this run's, which is alive for `'g`.
            .binary_search_by(|slot| unsafe { slot.key() }.cmp(key))
            .map(|at| from + at)
            .map_err(|at| from + at)
    }

    /// Whether `key` begins with the part that all keys of the run begin with.
    #[inline(always)]
    fn has_prefix(&self, key: &[u8]) -> bool {
        let own = self.own_prefix();
        key.get(..own.len())
            .is_some_and(|start| is_same(start, own))
    }

    /// Where a key that does not begin with that part has to be: before or behind all of `len` slots.
    #[cold]
    fn outside(&self, len: usize, key: &[u8]) -> usize {
        match key < self.own_prefix() {
            true => 0,
            false => len,
        }
    }

    #[inline(always)]
    fn own_prefix(&self) -> &'g [u8] {
        // SAFETY: the slots are this run's, which is alive for `'g`. A run without any has no prefix of its own.
        unsafe { &self.slots()[0].key()[..usize::from(self.get().prefix)] }
    }

    /// As [`RunRef::search`], for a key that may lie outside of the run's range.
    pub(crate) fn seek(&self, key: &[u8]) -> Result<usize, usize> {
        // Outside of the range the common part need not be there, and heads say nothing.
        if self.low().is_some_and(|low| key < low) {
            return Err(0);
        }
        if self.high().is_some_and(|high| key >= high) {
            return Err(self.len());
        }
        self.search(key)
    }
}

fn found((at, is_there): (usize, bool)) -> Result<usize, usize> {
    match is_there {
        true => Ok(at),
        false => Err(at),
    }
}

/// Whether two keys are the same; without a call for those of 8 to 16 bytes.
#[inline(always)]
fn is_same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    match (left.first_chunk::<8>(), left.last_chunk::<8>()) {
        (Some(first), Some(last)) if left.len() <= 16 => {
            right.first_chunk() == Some(first) && right.last_chunk() == Some(last)
        }
        _ => left == right,
    }
}
