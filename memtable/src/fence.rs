//! A fence: the key that separates two neighbouring leaves.
//!
//! It is the `high` of the left leaf, the `low` of the right one, and the key of the lane item that leads to the right one.
//! All share one allocation, which belongs to the leaf on the right and is freed with its cell, when no guard is left under
//! which somebody could read it. Its key never changes; one flag does, once: whether the leaf is *listed* (C6).

use crate::reclaim::dealloc;
use crate::sync::Checked;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::alloc::{Layout, alloc, handle_alloc_error};
use std::ptr;

#[repr(C)]
pub(crate) struct Fence {
    len: u32,
    listed: AtomicBool,
    check: Checked,
}

impl Fence {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(size_of::<Fence>() + len, align_of::<Fence>())
            .expect("keys are far shorter than isize::MAX")
    }

    /// Size of the allocation of a fence with a key of that length.
    pub(crate) fn allocation(len: usize) -> usize {
        Fence::layout(len).size()
    }

    /// The shortest key above `left` and not above `right`.
    pub(crate) fn between(left: &[u8], right: &[u8]) -> *const Fence {
        debug_assert!(left < right);
        let shared = common_prefix(left, right);
        Fence::copy_of(&right[..shared + 1])
    }

    pub(crate) fn copy_of(key: &[u8]) -> *const Fence {
        let layout = Fence::layout(key.len());
        // SAFETY: the layout is not empty: it has the header.
        let fence = unsafe { alloc(layout) }.cast::<Fence>();
        if fence.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: fresh memory of that layout, not shared with anyone.
        unsafe {
            fence.write(Fence {
                len: key.len() as u32,
                listed: AtomicBool::new(false),
                check: Checked::new(),
            });
            ptr::copy_nonoverlapping(key.as_ptr(), fence.add(1).cast::<u8>(), key.len());
            (*fence).check.wrote();
        }
        fence
    }

    /// # Safety
    /// `fence` came from [`Fence::copy_of`] and is freed only after `'a` (I5).
    pub(crate) unsafe fn key<'a>(fence: *const Fence) -> &'a [u8] {
        // SAFETY: by the contract the header and `len` bytes behind it are initialised and alive.
        unsafe {
            (*fence).check.read();
            std::slice::from_raw_parts(fence.add(1).cast::<u8>(), (*fence).len as usize)
        }
    }

    /// The lane above has the item of the leaf that begins here, or will never have it.
    ///
    /// # Safety
    /// As for [`Fence::key`].
    pub(crate) unsafe fn set_listed(fence: *const Fence) {
        // A read-modify-write, for the fence that follows. Release: who sees it sees the item.
        // SAFETY: by the contract.
        unsafe { (*fence).listed.swap(true, Ordering::AcqRel) };
    }

    /// # Safety
    /// As for [`Fence::key`].
    pub(crate) unsafe fn is_listed(fence: *const Fence) -> bool {
        // SAFETY: by the contract.
        unsafe { (*fence).listed.load(Ordering::Acquire) }
    }

    /// # Safety
    /// Nobody uses `fence` any more.
    pub(crate) unsafe fn free(fence: *const Fence) {
        // SAFETY: by the contract this is the last use; the layout is the one it was allocated with.
        unsafe {
            let layout = Fence::layout((*fence).len as usize);
            ptr::drop_in_place(fence.cast_mut());
            dealloc(fence.cast_mut().cast::<u8>(), layout);
        }
    }
}

/// Length of the part that both keys begin with.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let equal = 8 * words.take_while(|(x, y)| x == y).count();
    let rest = a[equal..].iter().zip(&b[equal..]);
    equal + rest.take_while(|(x, y)| x == y).count()
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
    fn a_common_prefix_is_counted_across_words_and_ends() {
        let key = b"0123456789abcdefgh";
        for len in 0..=key.len() {
            let mut other = key[..len].to_vec();
            assert_eq!(common_prefix(key, &other), len);
            other.push(b'!');
            assert_eq!(common_prefix(&other, key), len);
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
