//! How many of a few sorted heads are below another, all compared at once.

/// So many heads are compared at once: a cache line of them.
pub(super) const WINDOW: usize = 16;

/// How many of the sorted `heads` are below `head`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn count_below(heads: &[i32; WINDOW], head: i32) -> usize {
    use std::arch::x86_64::{
        _mm_cmplt_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32,
        _mm_set1_epi32,
    };
    // SAFETY: SSE2 is a part of the architecture, and the four loads are of the sixteen heads.
    let below = unsafe {
        let head = _mm_set1_epi32(head);
        let four = |at| _mm_cmplt_epi32(_mm_loadu_si128(heads.as_ptr().add(at).cast()), head);
        let first = _mm_packs_epi32(four(0), four(4));
        let last = _mm_packs_epi32(four(8), four(12));
        _mm_movemask_epi8(_mm_packs_epi16(first, last))
    };
    // A bit for each, those below first.
    below.trailing_ones() as usize
}

/// How many of the sorted `heads` are below `head`.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn count_below(heads: &[i32; WINDOW], head: i32) -> usize {
    heads.iter().filter(|other| **other < head).count()
}
