//! A fence: the key that separates two neighbouring leaves.
//!
//! It is the `high` of the left leaf, the `low` of the right one, and the key of the lane items that lead to the right one.
//! All share one allocation. It is written before it is published and never changes; leaves do not die, so it lives
//! until the table is dropped, which frees it once, as the `low` of its leaf.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr;

#[repr(C)]
pub(crate) struct Fence {
    len: usize,
}

impl Fence {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(size_of::<Fence>() + len, align_of::<Fence>())
            .expect("keys are far shorter than isize::MAX")
    }

    /// The shortest key above `left` and not above `right`.
    pub(crate) fn between(left: &[u8], right: &[u8]) -> *const Fence {
        debug_assert!(left < right);
        let shared = common_prefix(left, right);
        Fence::allocate(&right[..shared + 1])
    }

    fn allocate(key: &[u8]) -> *const Fence {
        let layout = Fence::layout(key.len());
        // SAFETY: the layout is not empty: it has the header.
        let fence = unsafe { alloc(layout) }.cast::<Fence>();
        if fence.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: fresh memory of that layout, not shared with anyone.
        unsafe {
            fence.write(Fence { len: key.len() });
            ptr::copy_nonoverlapping(key.as_ptr(), fence.add(1).cast::<u8>(), key.len());
        }
        fence
    }

    /// # Safety
    /// `fence` came from [`Fence::between`] and is freed only after `'a` (I5).
    pub(crate) unsafe fn key<'a>(fence: *const Fence) -> &'a [u8] {
        // SAFETY: by the contract the header and `len` bytes behind it are initialised and alive.
        unsafe { std::slice::from_raw_parts(fence.add(1).cast::<u8>(), (*fence).len) }
    }

    /// # Safety
    /// Nobody uses `fence` any more.
    pub(crate) unsafe fn free(fence: *const Fence) {
        // SAFETY: by the contract this is the last use; the layout is the one it was allocated with.
        unsafe { dealloc(fence.cast_mut().cast::<u8>(), Fence::layout((*fence).len)) }
    }
}

/// Length of the part that both keys begin with.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
        let fence = Fence::between(left, right);
        // SAFETY: made here, freed here.
        unsafe {
            let key = Fence::key(fence).to_vec();
            Fence::free(fence);
            key
        }
    }

    #[test]
    fn a_separator_is_above_the_left_key_and_as_short_as_can_be() {
        assert_eq!(separator(b"", b"a"), b"a");
        assert_eq!(separator(b"apple", b"banana"), b"b");
        assert_eq!(separator(b"apple", b"apricot"), b"apr");
        assert_eq!(separator(b"a", b"a\0"), b"a\0");
        assert_eq!(separator(b"row_1", b"row_12"), b"row_12");
    }
}
