//! Heads: the first bytes of each key behind the run's prefix, searched before any key is touched.
//!
//! A head is a big-endian number, short keys padded with zeros, so it is ordered as its key is (a narrow one as a signed number,
//! its first bit the other way round). Equal heads mean *unknown*: then
//! the keys themselves decide. Heads are *narrow*, 4 bytes, which is enough to tell the few dozen keys of a leaf apart and brings
//! a leaf into fewer cache lines; or *wide*, 8 bytes, if narrow ones are alike for many of the run's keys and wide ones are not.
//! Which, is settled when a run is made by a split or a merge; a copy keeps it, but that narrow ones are looked at again whenever
//! their number has doubled.

mod window;

use std::hint::select_unpredictable;
use window::{WINDOW, count_below};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    Wide,
}

/// The heads of a run.
#[derive(Clone, Copy)]
pub(super) enum Heads<'g> {
    Narrow(&'g [i32]),
    Wide(&'g [u64]),
}

impl Width {
    pub(super) fn bytes(self) -> usize {
        match self {
            Width::Narrow => size_of::<i32>(),
            Width::Wide => size_of::<u64>(),
        }
    }
}

impl<'g> Heads<'g> {
    /// # Safety
    /// `len` initialised heads of that width begin at `start`, which is aligned for words, and nobody changes them during `'g`.
    #[inline]
    pub(super) unsafe fn from_raw_parts(start: *const u8, width: Width, len: usize) -> Heads<'g> {
        // SAFETY: by the contract.
        unsafe {
            match width {
                Width::Narrow => Heads::Narrow(std::slice::from_raw_parts(start.cast(), len)),
                Width::Wide => Heads::Wide(std::slice::from_raw_parts(start.cast(), len)),
            }
        }
    }
}

/// Writes the head number `at` of those that begin at `start`; `head` is a wide one.
///
/// # Safety
/// There is room for it, which nobody else looks at.
#[inline]
pub(super) unsafe fn write(start: *mut u8, width: Width, at: usize, head: u64) {
    // SAFETY: by the contract.
    unsafe {
        match width {
            Width::Narrow => start.cast::<i32>().add(at).write(narrow(head)),
            Width::Wide => start.cast::<u64>().add(at).write(head),
        }
    }
}

/// The wide head of `key` behind `prefix` bytes.
#[inline(always)]
pub(crate) fn head(key: &[u8], prefix: usize) -> u64 {
    let Some((before, last)) = key.split_last_chunk::<8>() else {
        return short(key).unbounded_shl(8 * prefix as u32);
    };
    match before.len().checked_sub(prefix) {
        // SAFETY: eight bytes lie behind the first `before.len()`, and so they do behind fewer.
        Some(_) => u64::from_be(unsafe { key.as_ptr().add(prefix).cast::<u64>().read_unaligned() }),
        // Shifts out what comes before; all of it, if nothing is left.
        None => u64::from_be_bytes(*last).unbounded_shl(8 * (prefix - before.len()) as u32),
    }
}

/// The head of a key shorter than a head.
#[cold]
fn short(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

/// The narrow head of `key` behind `prefix` bytes.
#[inline(always)]
pub(super) fn narrow_head(key: &[u8], prefix: usize) -> i32 {
    // SAFETY: where it is called four bytes lie behind the first `from`.
    let four =
        |from| u32::from_be(unsafe { key.as_ptr().add(from).cast::<u32>().read_unaligned() });
    if prefix + 4 <= key.len() {
        return signed(four(prefix));
    }
    match key.len().checked_sub(4) {
        // Shifts out what comes before; all of it, if nothing is left.
        Some(last) => {
            signed(u64::from(four(last)).unbounded_shl(8 * (prefix - last) as u32) as u32)
        }
        None => narrow(head(key, prefix)),
    }
}

/// The narrow head of which `head` is the wide one.
#[inline]
fn narrow(head: u64) -> i32 {
    signed((head >> 32) as u32)
}

/// In the same order, as that is how processors compare many at once.
#[inline(always)]
fn signed(head: u32) -> i32 {
    (head ^ 1 << 31) as i32
}

impl Heads<'_> {
    #[inline]
    pub(super) fn len(self) -> usize {
        match self {
            Heads::Narrow(heads) => heads.len(),
            Heads::Wide(heads) => heads.len(),
        }
    }

    /// Index of the first head that is not below `head`, a wide one, and whether it is the same.
    #[inline(always)]
    pub(super) fn seek(self, head: u64) -> (usize, bool) {
        match self {
            Heads::Narrow(heads) => seek_narrow(heads, narrow(head)),
            Heads::Wide(heads) => seek_wide(heads, head),
        }
    }

    /// Index behind the last head that is the same as the one at `from`.
    pub(super) fn end_of_alike(self, from: usize) -> usize {
        fn end<H: PartialEq>(heads: &[H]) -> usize {
            heads.partition_point(|head| *head == heads[0])
        }
        from + match self {
            Heads::Narrow(heads) => end(&heads[from..]),
            Heads::Wide(heads) => end(&heads[from..]),
        }
    }

    /// Whether all are below `head`, a wide one, and there are any.
    #[inline]
    pub(super) fn are_below(self, head: u64) -> bool {
        match self {
            Heads::Narrow(heads) => heads.last().is_some_and(|&last| last < narrow(head)),
            Heads::Wide(heads) => heads.last().is_some_and(|&last| last < head),
        }
    }

    /// Whether all are the same one.
    pub(super) fn are_one(self) -> bool {
        match self {
            Heads::Narrow(heads) => heads.first() == heads.last(),
            Heads::Wide(heads) => heads.first() == heads.last(),
        }
    }

    /// How many are like the one before.
    pub(super) fn alike(self) -> usize {
        fn alike<H: PartialEq>(heads: &[H]) -> usize {
            heads.windows(2).filter(|pair| pair[0] == pair[1]).count()
        }
        match self {
            Heads::Narrow(heads) => alike(heads),
            Heads::Wide(heads) => alike(heads),
        }
    }
}

/// Index of the first that is not below `head`, and whether it is the same.
#[inline(always)]
pub(super) fn seek_narrow(heads: &[i32], head: i32) -> (usize, bool) {
    let (before, window) = halved(heads, head, WINDOW);
    let below = match window.first_chunk::<WINDOW>() {
        Some(window) => count_below(window, head),
        None => lower_bound(window, head),
    };
    let at = before + below;
    (at, heads.get(at) == Some(&head))
}

/// As [`seek_narrow`].
#[inline]
fn seek_wide(heads: &[u64], head: u64) -> (usize, bool) {
    let at = lower_bound(heads, head);
    (at, heads.get(at) == Some(&head))
}

/// Index of the first head that is not below `head`.
#[inline(always)]
fn lower_bound<H: Copy + Ord>(heads: &[H], head: H) -> usize {
    let (before, last) = halved(heads, head, 1);
    before + last.iter().filter(|last| **last < head).count()
}

/// The steps of a search after the first one: of known lengths, so that nothing has to count them.
const HALVES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];
/// So many heads can be searched.
pub(super) const MOST: usize = 4 * HALVES[0] - 1;

/// All heads if there are no more than `to`, a power of two, or so many of them with how many come before: the first that is not below
/// `head` is one of these or the next. Without branches: which way a step goes is a coin's throw. After the first step a power of
/// two is left, of which each takes a half (Knuth, TAOCP 6.2.1, "uniform binary search"). That step looks at the first heads
/// rather than the last, as those mostly lie in lines that were asked for with the run.
#[inline(always)]
fn halved<H: Copy + Ord>(heads: &[H], head: H, to: usize) -> (usize, &[H]) {
    if heads.len() <= to {
        return (0, heads);
    }
    debug_assert!(heads.len() <= MOST);
    let most = 1 << heads.len().ilog2();
    let mut base = heads.as_ptr();
    // SAFETY: the `most` elements from `base` on lie inside of `heads`, the first or the last ones, and then a half of those before.
    unsafe {
        let last = base.add(heads.len() - most);
        base = select_unpredictable(*last < head, last, base);
        let step = |base: *const H, half: usize| {
            let middle = base.add(half);
            select_unpredictable(*middle.sub(1) < head, middle, base)
        };
        for half in HALVES {
            if half >= to && half < most {
                base = step(base, half);
            }
        }
        let before = base.offset_from_unsigned(heads.as_ptr());
        (before, std::slice::from_raw_parts(base, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_ordered_as_their_keys() {
        let keys: [&[u8]; 8] = [
            b"",
            b"a",
            b"ab",
            b"abc",
            b"abcdefgh",
            b"abcdefghi",
            b"b",
            b"\xff",
        ];
        for pair in keys.windows(2) {
            assert!(head(pair[0], 0) <= head(pair[1], 0));
            assert!(narrow_head(pair[0], 0) <= narrow_head(pair[1], 0));
        }
        assert_eq!(head(b"abcdefghi", 1), u64::from_be_bytes(*b"bcdefghi"));
        assert_eq!(head(b"abcdefgh", 3), u64::from_be_bytes(*b"defgh\0\0\0"));
        assert_eq!(head(b"abcdefgh", 8), 0);
        assert_eq!(head(b"abc", 5), 0);
        assert_eq!(head(b"abcdefgh", 2) >> 32, 0x63_64_65_66);
        for (key, prefix) in keys.iter().flat_map(|key| [(key, 0), (key, 1), (key, 3)]) {
            assert_eq!(narrow_head(key, prefix), narrow(head(key, prefix)));
        }
    }

    #[test]
    fn heads_are_found_wherever_they_are_and_where_they_would_be() {
        // Over the whole range.
        let head = |n: u64| (n * 12_000_000) << 32;
        let all: Vec<u64> = (0..MOST as u64).map(|n| head(n / 3 * 2)).collect();
        let narrow: Vec<i32> = all.iter().map(|head| narrow(*head)).collect();
        for len in 0..=MOST {
            let (narrow, wide) = (Heads::Narrow(&narrow[..len]), Heads::Wide(&all[..len]));
            for n in 0..2 * len as u64 / 3 + 3 {
                let below = all[..len].iter().filter(|&&other| other < head(n)).count();
                let alike = all[..len].iter().filter(|&&other| other == head(n)).count();
                let place = (below, alike > 0);
                assert_eq!(narrow.seek(head(n) | 7), place, "{n} among {len}");
                assert_eq!(wide.seek(head(n)), place, "{n} among {len}");
                if alike > 0 {
                    assert_eq!(narrow.end_of_alike(below), below + alike);
                    assert_eq!(wide.end_of_alike(below), below + alike);
                }
            }
        }
    }
}
