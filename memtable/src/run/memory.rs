//! The memory of runs: how much, and giving it back.

use super::heads::Width;
use super::{Run, RunRef, Slot, blocks, slots_start};
use crate::fence::Fence;
use std::alloc::Layout;
use std::ptr;

/// Of a run with so much room.
pub(super) fn layout<S>(width: Width, room: usize) -> Layout {
    const { assert!(align_of::<S>() <= align_of::<u64>()) }
    const { assert!(align_of::<Run<S>>() <= align_of::<S>()) }
    let size = room * size_of::<S>() + size_of::<Run<S>>() + room * width.bytes();
    blocks::layout(size)
}

/// Size of the run's allocation.
pub(crate) fn allocation<S: Slot>(run: RunRef<'_, S>) -> usize {
    layout::<S>(run.get().shape.width(), usize::from(run.get().room)).size()
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
        let room = usize::from((*run).room);
        let layout = layout::<S>((*run).shape.width(), room);
        ptr::drop_in_place(run);
        blocks::free(slots_start(run, room).cast(), layout);
    }
}
