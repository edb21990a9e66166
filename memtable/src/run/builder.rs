//! Making runs.

use super::heads::{self, Heads, Width, head};
use super::memory::{destroy, layout};
use super::shape::Shape;
use super::{Range, Run, RunRef, Slot, blocks, prefix_of, slots_start, tail};
use crate::fence::{Fence, common_prefix};
use crate::sync::Checked;
use crate::sync::atomic::AtomicU16;
use std::alloc::handle_alloc_error;
use std::mem::ManuallyDrop;
use std::ops;
use std::ptr::{self, NonNull};

/// A run that is not published yet; frees itself unless it is published.
pub(crate) struct NewRun<S>(NonNull<Run<S>>);

impl<S: Slot> NewRun<S> {
    /// A chain's first run, of one key, of which so many bytes are guessed to be `alike` in all that come.
    pub(crate) fn single(key: &[u8], slot: S, alike: u16) -> NewRun<S> {
        let mut run = Builder::new(Range::EVERYTHING, 1, 1);
        run.prefix = alike.min(prefix_of(key.len()));
        run.push(key, slot);
        run.finish()
    }
}

impl<S> NewRun<S> {
    pub(crate) fn as_ptr(&self) -> *mut Run<S> {
        self.0.as_ptr()
    }

    /// The run was published: the table owns it now.
    pub(crate) fn published(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl<S> Drop for NewRun<S> {
    fn drop(&mut self) {
        // SAFETY: never published, so nobody else knows it.
        unsafe { destroy::<S>(self.0.as_ptr().cast()) }
    }
}

/// Most slots of a run.
pub(crate) const MAX_LEN: usize = heads::MOST;
const _: () = assert!(MAX_LEN <= tail::LEN as usize);

pub(super) struct Builder<S> {
    run: NonNull<Run<S>>,
    prefix: u16,
    width: Width,
    filled: usize,
    len: usize,
    room: usize,
    /// The prefix may not be that of all keys any more, or be too short: the first or the last key is new.
    new_end: bool,
    /// The keys are not those of the run whose width this is.
    new_keys: bool,
}

/// Heads are wide if more than one in so many narrow ones is like the one before; of fewer keys they never are.
const ALIKE: usize = 8;

impl<S: Slot> Builder<S> {
    /// For `len` slots now and `room` for so many, if that is more.
    pub(super) fn new(range: Range<S>, len: usize, room: usize) -> Builder<S> {
        let mut new = Builder::allocate(range, range.prefix(), Width::Narrow, len, room);
        new.new_end = true;
        new.new_keys = true;
        new
    }

    /// The slots of `run`, in whose place it comes, with `new` instead of those in `gap`; room for so many, if that is more.
    #[inline(always)]
    pub(super) fn edited(
        run: &RunRef<'_, S>,
        gap: ops::Range<usize>,
        new: Option<(&[u8], S)>,
        room: usize,
    ) -> Builder<S> {
        let &Run { range, prefix, .. } = run.get();
        let slots = run.slots();
        let (before, behind) = (&slots[..gap.start], &slots[gap.end..]);
        let len = before.len() + usize::from(new.is_some()) + behind.len();
        let mut edited = Builder::allocate(range, prefix, run.get().shape.width(), len, room);
        // SAFETY: made for so many, with heads of the same width.
        unsafe {
            edited.append(run, 0, before);
            if let Some((key, slot)) = new {
                edited.new_end = before.is_empty() || behind.is_empty();
                edited.put(key, slot);
            }
            edited.append(run, gap.end, behind);
        }
        edited
    }

    #[inline(always)]
    fn allocate(range: Range<S>, prefix: u16, width: Width, len: usize, room: usize) -> Builder<S> {
        let room = room.max(len);
        assert!(room <= MAX_LEN);
        let layout = layout::<S>(width, room);
        let Some(slots) = NonNull::new(blocks::take(layout).cast::<S>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: inside the allocation, by its layout.
        let run = unsafe { slots.add(room) }.cast::<Run<S>>();
        // SAFETY: fresh memory of that layout, not shared with anyone.
        unsafe {
            run.write(Run {
                room: room as u16,
                len: AtomicU16::new(len as u16),
                prefix,
                shape: Shape::of(width, room > len),
                range,
                check: Checked::new(),
            });
        }
        Builder {
            run,
            prefix,
            width,
            filled: 0,
            len,
            room,
            new_end: false,
            new_keys: false,
        }
    }

    /// Makes the run final.
    pub(super) fn dead(mut self) -> Builder<S> {
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        let run = unsafe { self.run.as_mut() };
        run.shape = run.shape.without(Shape::GROWING).with(Shape::DEAD);
        self
    }

    fn heads(&self) -> *mut u8 {
        // SAFETY: inside the allocation.
        unsafe { self.run.as_ptr().add(1).cast() }
    }

    fn slots(&self) -> *mut S {
        // SAFETY: made with so much room.
        unsafe { slots_start(self.run.as_ptr(), self.room) }
    }

    pub(super) fn push(&mut self, key: &[u8], slot: S) {
        assert!(self.filled < self.len);
        self.new_end |= self.filled == 0 || self.filled + 1 == self.len;
        // SAFETY: there is room by the assertion.
        unsafe { self.put(key, slot) };
    }

    /// Appends a slot.
    ///
    /// # Safety
    /// There is room for it.
    #[inline(always)]
    unsafe fn put(&mut self, key: &[u8], slot: S) {
        let head = head(key, usize::from(self.prefix));
        // SAFETY: inside the allocation by the contract; not shared with anyone yet.
        unsafe {
            heads::write(self.heads(), self.width, self.filled, head);
            self.slots().add(self.filled).write(slot);
        }
        self.filled += 1;
    }

    /// Appends the slots of another run from one number to another.
    pub(super) fn copy(&mut self, other: &RunRef<'_, S>, from: usize, to: usize) {
        let slots = &other.slots()[from..to];
        if other.get().prefix != self.prefix || other.get().shape.width() != self.width {
            for &slot in slots {
                // SAFETY: the slots are those of a run that is alive.
                self.push(unsafe { slot.key() }, slot);
            }
            return;
        }
        assert!(self.filled + slots.len() <= self.len);
        // SAFETY: there is room by the assertion, and the heads are of the same width.
        unsafe { self.append(other, from, slots) }
    }

    /// Appends `slots`, those of another run from a number on, with their heads.
    ///
    /// # Safety
    /// There is room for them, and the heads of both are of the same width.
    #[inline(always)]
    unsafe fn append(&mut self, other: &RunRef<'_, S>, from: usize, slots: &[S]) {
        let bytes = self.width.bytes();
        // SAFETY: inside the allocations by the contract; ours is not shared with anyone yet, so they cannot overlap.
        unsafe {
            let heads = other.heads_start().add(from * bytes);
            let to = self.heads().add(self.filled * bytes);
            ptr::copy_nonoverlapping(heads, to, slots.len() * bytes);
            ptr::copy_nonoverlapping(slots.as_ptr(), self.slots().add(self.filled), slots.len());
        }
        self.filled += slots.len();
    }

    /// The run, all of whose slots were appended.
    #[inline(always)]
    pub(super) fn finish(self) -> NewRun<S> {
        assert!(self.filled == self.len);
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        let is_open = unsafe { self.run.as_ref() }.range.is_open();
        // A run that only grows is looked at each time that it has doubled.
        let counts_alike = self.len >= ALIKE && (self.new_keys || self.len.is_power_of_two());
        let run = match is_open || counts_alike {
            true => self.fitted(is_open, counts_alike),
            false => self.run,
        };
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        unsafe { run.as_ref() }.check.wrote();
        NewRun(run)
    }

    /// With heads that fit the keys.
    fn fitted(mut self, is_open: bool, counts_alike: bool) -> NonNull<Run<S>> {
        if is_open {
            self.leave_out_own_prefix();
        }
        if counts_alike {
            self = self.widened();
        }
        self.run
    }
}

impl<S: Slot> Builder<S> {
    /// The heads and slots, all of them filled.
    fn contents(&self) -> (Heads<'_>, &[S]) {
        // SAFETY: initialised by now, not shared with anyone yet.
        unsafe {
            let heads = Heads::from_raw_parts(self.heads(), self.width, self.len);
            (heads, std::slice::from_raw_parts(self.slots(), self.len))
        }
    }

    /// The same with wide heads, if that tells keys apart which narrow ones do not.
    fn widened(self) -> Builder<S> {
        let (heads, slots) = self.contents();
        let alike = heads.alike();
        if self.width == Width::Wide || alike * ALIKE <= self.len {
            return self;
        }
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        let &Run { range, shape, .. } = unsafe { self.run.as_ref() };
        let mut wide = Builder::allocate(range, self.prefix, Width::Wide, self.len, self.room);
        // SAFETY: as above.
        unsafe { wide.run.as_mut() }.shape = shape.with(Shape::WIDE);
        for &slot in slots {
            // SAFETY: the slots are those of a run that is alive, or the caller's own.
            wide.push(unsafe { slot.key() }, slot);
        }
        let better = wide.contents().0.alike() * 2 < alike;
        let (kept, other) = if better { (wide, self) } else { (self, wide) };
        drop(NewRun(other.run));
        kept
    }

    /// At an end of the chain: settles what the heads leave out by the run's own keys.
    fn leave_out_own_prefix(&mut self) {
        // SAFETY: the slots are those of a run that is alive, or the caller's own.
        let key = |slot: S| unsafe { slot.key() };
        let mut prefix = usize::from(self.prefix);
        match self.contents() {
            (_, []) => prefix = 0,
            (_, [only]) => prefix = prefix.max(self.prefix_of_single(key(*only))),
            (heads, [first, .., last]) if self.new_end => {
                let common = common_prefix(key(*first), key(*last));
                // Longer only if all heads are alike, for it takes a look at every key.
                if common < prefix || heads.are_one() {
                    prefix = common;
                }
            }
            _ => {}
        }
        let prefix = prefix_of(prefix);
        if prefix != self.prefix {
            self.prefix = prefix;
            for at in 0..self.len {
                // SAFETY: inside the allocation, where the slots are initialised by now.
                unsafe {
                    let head = head(key(*self.slots().add(at)), usize::from(prefix));
                    heads::write(self.heads(), self.width, at, head);
                }
            }
        }
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        let run = unsafe { self.run.as_mut() };
        run.prefix = prefix;
        if prefix > 0 {
            run.shape = run.shape.with(Shape::OWN_PREFIX);
        }
    }

    /// A guess what the keys to come will have in common with the first one of a leaf: what it has in common with the last one
    /// of the leaf before, which is all but the last byte of the fence between them.
    fn prefix_of_single(&self, key: &[u8]) -> usize {
        // SAFETY: initialised in `allocate`; who makes a run holds a guard that keeps its fences (I5).
        unsafe {
            let low = self.run.as_ref().range.low;
            if low.is_null() {
                return 0;
            }
            let low = Fence::key(low);
            common_prefix(low, key).min(low.len().saturating_sub(1))
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    impl Slot for &'static [u8] {
        const LINES: [usize; 2] = [0, 1];

        fn prefetch(self) {}

        unsafe fn key<'g>(self) -> &'g [u8] {
            self
        }
        unsafe fn fence_between(left: Self, right: Self) -> *const Fence {
            Fence::between(left, right)
        }
    }

    fn run_of(keys: &[&'static [u8]]) -> NewRun<&'static [u8]> {
        let mut run = Builder::new(Range::EVERYTHING, keys.len(), 0);
        keys.iter().for_each(|&key| run.push(key, key));
        run.finish()
    }

    fn shown<S: Slot>(run: &NewRun<S>) -> RunRef<'_, S> {
        // SAFETY: never published, and alive as long as it is shown.
        unsafe { RunRef::new(run.as_ptr()) }.expect("not null")
    }

    /// The width of the heads of a run, which has these keys.
    fn width_of(run: NewRun<&'static [u8]>, keys: &[&'static [u8]]) -> Width {
        let run = shown(&run);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(run.search(key), Ok(at));
        }
        assert_eq!(run.slots(), keys);
        run.get().shape.width()
    }

    const APART: [&[u8]; 8] = [
        b"a...", b"b...", b"c...", b"d...", b"e...", b"f...", b"g...", b"h...",
    ];
    /// In pairs by their first 4 bytes, but not by 8.
    const IN_PAIRS: [&[u8]; 8] = [
        b"a....1", b"a....2", b"b....1", b"b....2", b"c....1", b"c....2", b"d....1", b"d....2",
    ];

    #[test]
    fn heads_are_as_wide_as_it_takes_to_tell_keys_apart() {
        let longer = IN_PAIRS.map(|key| -> &'static [u8] {
            let [group, .., last] = *key else {
                unreachable!()
            };
            Vec::leak([vec![group; 8], vec![last]].concat())
        });
        for (keys, width, why) in [
            (&APART[..], Width::Narrow, "4 bytes do"),
            (&IN_PAIRS, Width::Wide, "4 bytes do not, but 8"),
            (
                &IN_PAIRS[..7],
                Width::Narrow,
                "so few are found among the keys themselves",
            ),
            (&longer, Width::Narrow, "8 bytes would not either"),
            (
                &longer[..2],
                Width::Narrow,
                "what they have in common is left out",
            ),
        ] {
            assert_eq!(width_of(run_of(keys), keys), width, "{why}");
        }
    }

    #[test]
    fn a_guess_of_what_keys_have_in_common_may_be_wrong() {
        let keys: [&[u8]; 4] = [b"", b"row_1", b"row_25", b"s"];
        for (key, alike) in keys.iter().flat_map(|key| (0..8).map(move |n| (*key, n))) {
            let one = NewRun::single(key, key, alike);
            let run = shown(&one);
            assert!(usize::from(run.prefix()) <= key.len());
            for other in keys {
                let place = [key].binary_search(&other);
                assert_eq!(run.search(other), place, "{alike} of {key:?}");
                let Err(at) = place else {
                    assert_eq!(run.find_if_like_plain(other), Some(Some(key)));
                    continue;
                };
                assert_eq!(run.find_if_like_plain(other).flatten(), None);
                let first_above = run.first_above(other);
                assert!(first_above.is_none_or(|(_, above)| above == at));
                let both = [key.min(other), key.max(other)];
                width_of(run.inserted(at, other, other, 2), &both);
            }
        }
    }

    #[test]
    fn a_run_that_grew_gets_the_heads_that_its_keys_need() {
        let mut run = run_of(&IN_PAIRS[..1]);
        for (at, &key) in IN_PAIRS.iter().enumerate().skip(1) {
            let longer = shown(&run).inserted(at, key, key, IN_PAIRS.len());
            run = longer;
        }
        assert_eq!(width_of(run, &IN_PAIRS), Width::Wide);
    }

    #[test]
    fn a_run_that_dies_stays_dead_whatever_its_heads() {
        let len = IN_PAIRS.len();
        let mut narrow = Builder::allocate(Range::EVERYTHING, 0, Width::Narrow, len, len);
        IN_PAIRS.iter().for_each(|&key| narrow.push(key, key));
        let narrow = NewRun(narrow.run);
        let dying = shown(&narrow).dying();
        assert!(shown(&dying).is_dead());
        assert_eq!(width_of(dying, &IN_PAIRS), Width::Wide);
        let plain = run_of(&APART);
        assert!(shown(&plain).find_if_like_plain(APART[0]).is_some());
        assert!(shown(&plain).first_above(b"b").is_some());
        let dying = shown(&plain).dying();
        assert!(shown(&dying).find_if_like_plain(APART[0]).is_none());
        assert!(shown(&dying).first_above(b"b").is_none());
    }
}
