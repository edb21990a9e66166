//! Heads: the first bytes of each key behind the run's prefix, searched before any key is touched.
//!
//! A head is a big-endian number, short keys padded with zeros, so it is ordered as its key is. Equal heads mean *unknown*: then
//! the keys themselves decide. Heads are *narrow*, 4 bytes, which is enough to tell the few dozen keys of a leaf apart and brings
//! a leaf into fewer cache lines; or *wide*, 8 bytes, if narrow ones are alike for many of the run's keys and wide ones are not.
//! Which, is settled when a run is made by a split or a merge; a copy keeps it, but that narrow ones are looked at again whenever
//! their number has doubled.

use std::hint::select_unpredictable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    Wide,
}

/// The heads of a run.
#[derive(Clone, Copy)]
pub(super) enum Heads<'g> {
    Narrow(&'g [u32]),
    Wide(&'g [u64]),
}

impl Width {
    pub(super) fn bytes(self) -> usize {
        match self {
            Width::Narrow => size_of::<u32>(),
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
            Width::Narrow => start.cast::<u32>().add(at).write(narrow(head)),
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

/// The narrow head of which `head` is the wide one.
#[inline]
fn narrow(head: u64) -> u32 {
    (head >> 32) as u32
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
            Heads::Narrow(heads) => seek(heads, narrow(head)),
            Heads::Wide(heads) => seek(heads, head),
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

#[inline]
fn seek<H: Copy + Ord>(heads: &[H], head: H) -> (usize, bool) {
    let at = lower_bound(heads, head);
    (at, heads.get(at) == Some(&head))
}

/// Index of the first head that is not below `head`. Without branches: which way a step goes is a coin's throw. It begins in the
/// middle, which lies in a line that was asked for with the run.
#[inline(always)]
fn lower_bound<H: Copy + Ord>(heads: &[H], head: H) -> usize {
    let mut base = heads.as_ptr();
    let mut len = heads.len();
    if len == 0 {
        return 0;
    }
    // SAFETY: `base` and the `len` elements from it on stay inside of `heads`: each step goes on with one of its halves.
    unsafe {
        while len > 1 {
            let half = len / 2;
            let middle = base.add(half);
            base = select_unpredictable(*middle.sub(1) < head, middle, base);
            len -= half;
        }
        base.offset_from_unsigned(heads.as_ptr()) + usize::from(*base < head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_ordered_as_their_keys() {
        let keys: [&[u8]; 7] = [b"", b"a", b"ab", b"abc", b"abcdefgh", b"abcdefghi", b"b"];
        for pair in keys.windows(2) {
            assert!(head(pair[0], 0) <= head(pair[1], 0));
        }
        assert_eq!(head(b"abcdefghi", 1), u64::from_be_bytes(*b"bcdefghi"));
        assert_eq!(head(b"abcdefgh", 3), u64::from_be_bytes(*b"defgh\0\0\0"));
        assert_eq!(head(b"abcdefgh", 8), 0);
        assert_eq!(head(b"abc", 5), 0);
        assert_eq!(narrow(head(b"abcdefgh", 2)), u32::from_be_bytes(*b"cdef"));
    }

    #[test]
    fn equal_heads_are_found_wherever_they_are() {
        let heads: Vec<u32> = (0..50).map(|n| n / 3 * 2).collect();
        for len in 0..heads.len() {
            let heads = &heads[..len];
            for head in 0..40 {
                let below = heads.iter().filter(|&&other| other < head).count();
                let alike = heads.iter().filter(|&&other| other == head).count();
                let (at, equal) = Heads::Narrow(heads).seek(u64::from(head) << 32 | 7);
                assert_eq!((at, equal), (below, alike > 0));
                if equal {
                    assert_eq!(Heads::Narrow(heads).end_of_alike(at), below + alike);
                }
            }
        }
    }
}
