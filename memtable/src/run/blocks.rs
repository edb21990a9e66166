//! Blocks of memory for runs, used again while they are in the processor's caches.
//!
//! Every insert takes a block for the new run and, a little later, gives one back of about the same size. A general allocator
//! hands freed blocks out again in whatever order, mostly when they are long cold, and the copy into the new run then waits
//! for one cache miss a line. So a thread keeps some of the blocks that it frees, and takes the one first that it freed last.
//! For that sizes are rounded up to whole lines.
//!
//! What a thread keeps is at most [`KEPT`] bytes, belongs to no table and is freed at the thread's end, or when it asks for it
//! ([`free_kept`]).

use crate::reclaim::dealloc;
use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::ptr;

/// Sizes are multiples of this: a line.
const STEP: usize = 64;
/// Larger blocks are not kept.
const LARGEST: usize = 1024;
/// A thread keeps at most so many bytes. None where use after free is looked for, which a second use would hide.
const KEPT: usize = if cfg!(any(untorn_loom, crossbeam_sanitize, miri)) {
    0
} else {
    128 << 10
};

thread_local! {
    static FREE: Free = const { Free::new() };
}

/// The blocks that a thread keeps, by size. The first word of each leads to the next.
struct Free {
    newest: [Cell<*mut u8>; LARGEST / STEP],
    bytes: Cell<usize>,
}

impl Free {
    const fn new() -> Free {
        Free {
            newest: [const { Cell::new(ptr::null_mut()) }; LARGEST / STEP],
            bytes: Cell::new(0),
        }
    }

    fn of(&self, layout: Layout) -> Option<&Cell<*mut u8>> {
        self.newest.get(layout.size() / STEP - 1)
    }

    fn pop(&self, layout: Layout) -> Option<*mut u8> {
        let newest = self.of(layout)?;
        let block = newest.get();
        if block.is_null() {
            return None;
        }
        // SAFETY: it was pushed by this thread, whose it is (I4), so its first word leads to the next one.
        newest.set(unsafe { block.cast::<*mut u8>().read() });
        self.bytes.set(self.bytes.get() - layout.size());
        Some(block)
    }

    /// False if there is no room.
    ///
    /// # Safety
    /// As for [`free`].
    unsafe fn push(&self, block: *mut u8, layout: Layout) -> bool {
        let Some(newest) = self.of(layout) else {
            return false;
        };
        let bytes = self.bytes.get() + layout.size();
        if bytes > KEPT {
            return false;
        }
        // SAFETY: by the contract the block is ours (I4); it has room for a word and is aligned for one.
        unsafe { block.cast::<*mut u8>().write(newest.get()) };
        newest.set(block);
        self.bytes.set(bytes);
        true
    }

    fn clear(&self) {
        for size in (STEP..=LARGEST).step_by(STEP) {
            let layout = layout(size);
            while let Some(block) = self.pop(layout) {
                // SAFETY: it was pushed with this layout (I4), and nobody else knows it.
                unsafe { dealloc(block, layout) };
            }
        }
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The layout of a block of at least `size` bytes.
pub(super) fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.next_multiple_of(STEP), align_of::<u64>()).expect("runs are short")
}

/// A block; null if there is no memory.
#[inline]
pub(super) fn take(layout: Layout) -> *mut u8 {
    let kept = FREE.try_with(|free| free.pop(layout)).ok().flatten();
    // SAFETY: the layout is not empty: it is that of a run, which has a header (I4).
    kept.unwrap_or_else(|| unsafe { alloc(layout) })
}

/// Gives a block back.
///
/// # Safety
/// It was taken with this layout and is given back once; nobody looks at it any more.
#[inline]
pub(super) unsafe fn free(block: *mut u8, layout: Layout) {
    // SAFETY: by the contract.
    let kept = FREE.try_with(|free| unsafe { free.push(block, layout) });
    if !kept.unwrap_or_default() {
        // SAFETY: by the contract.
        unsafe { dealloc(block, layout) };
    }
}

/// Frees what this thread keeps.
pub(crate) fn free_kept() {
    let _ = FREE.try_with(Free::clear);
}

#[cfg(all(test, not(any(untorn_loom, crossbeam_sanitize, miri))))]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_last_is_taken_first_by_who_asks_for_its_size() {
        let free = Free::new();
        let (small, large) = (layout(100), layout(700));
        // SAFETY: the layouts are not empty.
        let blocks = [small, small, large].map(|layout| unsafe { alloc(layout) });
        for (block, layout) in blocks.into_iter().zip([small, small, large]) {
            // SAFETY: allocated above with that layout, and known to nobody else.
            assert!(unsafe { free.push(block, layout) });
        }
        assert_eq!(free.bytes.get(), 128 + 128 + 704);
        assert_eq!(free.pop(layout(640)), None);
        for (block, layout) in [(1, small), (0, small), (2, large)] {
            assert_eq!(free.pop(layout), Some(blocks[block]));
            // SAFETY: as above, and popped again.
            unsafe { dealloc(blocks[block], layout) };
        }
        assert_eq!((free.pop(small), free.bytes.get()), (None, 0));
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_nothing_that_is_too_large() {
        let free = Free::new();
        for (size, most) in [(LARGEST, KEPT / LARGEST), (LARGEST + 1, 0)] {
            free.clear();
            let layout = layout(size);
            let mut kept = 0;
            loop {
                // SAFETY: the layout is not empty.
                let block = unsafe { alloc(layout) };
                // SAFETY: allocated above with that layout, and known to nobody else.
                if unsafe { free.push(block, layout) } {
                    kept += 1;
                    continue;
                }
                // SAFETY: as above; it was not kept.
                unsafe { dealloc(block, layout) };
                break;
            }
            assert_eq!(kept, most);
        }
    }
}
