//! Making runs, and freeing them.

use super::{Kind, Range, Run, RunRef, Slot, blocks, head, prefix_of, tail};
use crate::fence::{Fence, common_prefix};
use crate::sync::Checked;
use crate::sync::atomic::AtomicU16;
use std::alloc::{Layout, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// A run that is not published yet; frees itself unless it is published.
pub(crate) struct NewRun<S>(NonNull<Run<S>>);

impl<S: Slot> NewRun<S> {
    /// A run of one key.
    pub(crate) fn single(range: Range<S>, key: &[u8], slot: S) -> NewRun<S> {
        let mut run = Builder::new(range, 1, 1);
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
pub(crate) const MAX_LEN: usize = tail::LEN as usize;

pub(super) struct Builder<S> {
    run: NonNull<Run<S>>,
    prefix: u16,
    filled: usize,
    len: usize,
    room: usize,
    /// The prefix may not be that of all keys any more, or be too short: the first or the last key is new.
    new_end: bool,
}

impl<S: Slot> Builder<S> {
    /// For `len` slots now and `room` for so many, if that is more.
    pub(super) fn new(range: Range<S>, len: usize, room: usize) -> Builder<S> {
        let mut new = Builder::allocate(range, range.prefix(), len, room);
        new.new_end = true;
        new
    }

    /// As [`Builder::new`], for the range of `run`.
    pub(super) fn like(run: &RunRef<'_, S>, len: usize, room: usize) -> Builder<S> {
        Builder::allocate(run.range(), run.get().prefix, len, room)
    }

    fn allocate(range: Range<S>, prefix: u16, len: usize, room: usize) -> Builder<S> {
        let room = room.max(len);
        assert!(room <= MAX_LEN);
        let layout = layout::<S>(room);
        let Some(run) = NonNull::new(blocks::take(layout).cast::<Run<S>>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory of that layout, not shared with anyone.
        unsafe {
            run.write(Run {
                room: room as u16,
                len: AtomicU16::new(len as u16),
                prefix,
                kind: match room > len {
                    true => Kind::Growing,
                    false => Kind::Whole,
                },
                own_prefix: false,
                range,
                check: Checked::new(),
            });
        }
        Builder {
            run,
            prefix,
            filled: 0,
            len,
            room,
            new_end: false,
        }
    }

    /// Makes the run final.
    pub(super) fn dead(mut self) -> Builder<S> {
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        unsafe { self.run.as_mut() }.kind = Kind::Dead;
        self
    }

    fn heads(&self) -> *mut u64 {
        // SAFETY: inside the allocation.
        unsafe { self.run.as_ptr().add(1).cast() }
    }

    fn slots(&self) -> *mut S {
        // SAFETY: inside the allocation.
        unsafe { self.heads().add(self.room).cast() }
    }

    pub(super) fn push(&mut self, key: &[u8], slot: S) {
        self.new_end |= self.filled == 0 || self.filled + 1 == self.len;
        self.push_head(head(key, usize::from(self.prefix)), slot);
    }

    pub(super) fn push_head(&mut self, head: u64, slot: S) {
        assert!(self.filled < self.len);
        // SAFETY: inside the allocation by the assertion; not shared with anyone yet.
        unsafe {
            self.heads().add(self.filled).write(head);
            self.slots().add(self.filled).write(slot);
        }
        self.filled += 1;
    }

    /// Appends the slots of another run from one number to another.
    pub(super) fn copy(&mut self, other: &RunRef<'_, S>, from: usize, to: usize) {
        if other.get().prefix != self.prefix {
            for &slot in &other.slots()[from..to] {
                // SAFETY: the slots are those of a run that is alive.
                self.push(unsafe { slot.key() }, slot);
            }
            return;
        }
        let (heads, slots) = (&other.heads()[from..to], &other.slots()[from..to]);
        assert!(self.filled + heads.len() <= self.len);
        // SAFETY: inside the allocation by the assertion; not shared with anyone yet, so it cannot overlap.
        unsafe {
            ptr::copy_nonoverlapping(heads.as_ptr(), self.heads().add(self.filled), heads.len());
            ptr::copy_nonoverlapping(slots.as_ptr(), self.slots().add(self.filled), slots.len());
        }
        self.filled += heads.len();
    }

    pub(super) fn finish(mut self) -> NewRun<S> {
        assert!(self.filled == self.len);
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        if unsafe { self.run.as_ref() }.range.is_open() {
            self.leave_out_own_prefix();
        }
        // SAFETY: initialised in `allocate`, not shared with anyone yet.
        unsafe { self.run.as_ref() }.check.wrote();
        NewRun(self.run)
    }
}

impl<S: Slot> Builder<S> {
    /// At an end of the chain: settles what the heads leave out by the run's own keys.
    fn leave_out_own_prefix(&mut self) {
        // SAFETY: initialised by now, not shared with anyone yet.
        let (heads, slots) = unsafe {
            (
                std::slice::from_raw_parts_mut(self.heads(), self.len),
                std::slice::from_raw_parts(self.slots(), self.len),
            )
        };
        // SAFETY: the slots are those of a run that is alive, or the caller's own.
        let key = |slot: S| unsafe { slot.key() };
        let mut prefix = usize::from(self.prefix);
        match (slots, &*heads) {
            ([], _) => prefix = 0,
            ([only], _) => prefix = self.prefix_of_single(key(*only)),
            ([first, .., last], [least, .., most]) if self.new_end => {
                let common = common_prefix(key(*first), key(*last));
                // Longer only if all heads are alike, for it takes a look at every key.
                if common < prefix || least == most {
                    prefix = common;
                }
            }
            _ => {}
        }
        prefix = usize::from(prefix_of(prefix));
        if prefix != usize::from(self.prefix) {
            for (head_of_slot, slot) in heads.iter_mut().zip(slots) {
                *head_of_slot = head(key(*slot), prefix);
            }
        }
        // SAFETY: as above.
        let run = unsafe { self.run.as_mut() };
        run.prefix = prefix as u16;
        run.own_prefix = prefix > 0;
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

fn layout<S>(room: usize) -> Layout {
    const { assert!(align_of::<S>() <= align_of::<u64>()) }
    let size = size_of::<Run<S>>() + room * (size_of::<u64>() + size_of::<S>());
    blocks::layout(size)
}

/// Size of the run's allocation.
pub(crate) fn allocation<S: Slot>(run: RunRef<'_, S>) -> usize {
    layout::<S>(usize::from(run.get().room)).size()
}

/// Frees a run and the fence where it begins, not what it leads to.
///
/// # Safety
/// As for [`destroy`]; nobody can reach the fence any more, and this was the last run of its cell.
pub(crate) unsafe fn destroy_with_fence<S>(run: *mut Run<S>) {
    // SAFETY: by the contract both are alive and ours.
    unsafe {
        let low = (*run).range.low;
        destroy::<S>(run.cast());
        if !low.is_null() {
            Fence::free(low);
        }
    }
}

/// Frees a run, not what it leads to.
///
/// # Safety
/// `object` is a `Run<S>` that nobody can reach any more, and it was not freed before.
pub(crate) unsafe fn destroy<S>(object: *mut u8) {
    let run = object.cast::<Run<S>>();
    // SAFETY: by the contract it is alive and ours.
    unsafe {
        let layout = layout::<S>(usize::from((*run).room));
        ptr::drop_in_place(run);
        blocks::free(object, layout);
    }
}
