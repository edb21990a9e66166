//! How many of a few sorted heads are below another, all compared at once.

/// So many heads are compared at once: a cache line of them.
pub(super) const WINDOW: usize = 16;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub(super) use at_once as count_below;
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
pub(super) use one_by_one as count_below;

/// How many of the sorted `heads` are below `head`.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
pub(super) fn at_once(heads: &[i32; WINDOW], head: i32) -> usize {
    use std::arch::x86_64::{
        _mm_cmplt_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32,
        _mm_set1_epi32,
    };
    // SAFETY: the program is built for SSE2, and the four loads are of the sixteen heads.
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

/// The same for any processor.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
#[inline(always)]
pub(super) fn one_by_one(heads: &[i32; WINDOW], head: i32) -> usize {
    heads.iter().filter(|other| **other < head).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_or_one_by_one_they_are_as_many() {
        let heads =
            std::array::from_fn(|at| i32::MIN.wrapping_add_unsigned(at as u32 / 3 * 800_000_000));
        for near in heads.into_iter().chain([i32::MIN, -1, 0, i32::MAX]) {
            for head in [near.saturating_sub(1), near, near.saturating_add(1)] {
                let below = one_by_one(&heads, head);
                assert_eq!(
                    below,
                    heads
                        .iter()
                        .position(|other| *other >= head)
                        .unwrap_or(WINDOW)
                );
                assert_eq!(count_below(&heads, head), below, "{head}");
            }
        }
    }
}
