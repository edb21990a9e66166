//! Where a key is in a run.
//!
//! The heads are searched, and if one is the same as the key's, the keys that have it. Nearly all runs are *plain*: nothing
//! is special about their [shape](super::shape). The search in these is inlined where a lookup goes down the lanes to a leaf, and
//! so it is in runs that grow or have a prefix of their own with which the key begins, since the instructions of one get are what
//! keeps the processor from beginning the next while memory is waited for. That in others is not.

use super::heads::{self, head, narrow_head};
use super::shape::Shape;
use super::{RunRef, Slot};
use crate::mutant::planted;

/// Where the first head is that is not below a key's, and whether it is the same.
type AmongHeads = (usize, bool);

impl<'g, S: Slot> RunRef<'g, S> {
    /// Where `key` is, or where it would have to be.
    #[inline(always)]
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.search_in(self.slots(), key)
    }

    /// As [`RunRef::search`], among the slots that there were at a moment.
    #[inline(always)]
    pub(crate) fn search_in(&self, slots: &'g [S], key: &[u8]) -> Result<usize, usize> {
        match self.place_if_plain(slots.len(), key) {
            Some((at, false)) => Err(at),
            Some((at, true)) => self.search_asking(slots, at, key),
            None => self.search_beyond_plain(slots, key),
        }
    }

    #[inline(never)]
    fn search_beyond_plain(self, slots: &'g [S], key: &[u8]) -> Result<usize, usize> {
        match self.place_beyond_plain(slots.len(), key) {
            (at, false) => Err(at),
            (at, true) => self.search_asking(slots, at, key),
        }
    }

    /// As [`RunRef::search`], for a key that may lie outside of the run's range.
    pub(crate) fn seek(&self, key: &[u8]) -> Result<usize, usize> {
        // Outside of the range the common part need not be there, and heads say nothing.
        if self.low().is_some_and(|low| key < low) {
            return Err(0);
        }
        if self.high().is_some_and(|high| key >= high) {
            return Err(self.len());
        }
        self.search(key)
    }

    /// What `key` leads to, in a run that is not dead and that it is searched in as in a plain one; `None` of others.
    #[inline(always)]
    pub(crate) fn find_if_like_plain(&self, key: &[u8]) -> Option<Option<S>> {
        let len = self.len_if_like_plain(key)?;
        let (at, true) = self.place_among_narrow(len, key) else {
            return Some(None);
        };
        let slot = self.slots_of(len)[at];
        slot.prefetch();
        // SAFETY: the slots are this run's, which is alive for `'g`.
        if is_same(unsafe { slot.key() }, key) {
            return Some(Some(slot));
        }
        Some(self.search_alike(at, key).ok().map(|at| self.slots()[at]))
    }

    /// The slots of a run that is not dead, and where the first is whose key is above `key`; if the heads tell it.
    #[inline(always)]
    pub(crate) fn first_above(&self, key: &[u8]) -> Option<(&'g [S], usize)> {
        let Some(len) = self.len_if_like_plain(key) else {
            return self.first_above_beyond_plain(key);
        };
        match self.place_among_narrow(len, key) {
            (at, false) => Some((self.slots_of(len), at)),
            (_, true) => None,
        }
    }

    /// How many slots there are, if it is not dead and `key` is searched as in a plain run.
    #[inline(always)]
    fn len_if_like_plain(&self, key: &[u8]) -> Option<usize> {
        let run = self.get();
        run.check.read();
        match run.shape == Shape::PLAIN {
            true => Some(usize::from(run.room)),
            false => self.is_like_plain(key).then(|| self.len()),
        }
    }

    /// Whether it is not dead, and `key` is searched as in a plain run.
    #[inline(always)]
    fn is_like_plain(self, key: &[u8]) -> bool {
        let shape = self.get().shape;
        !shape.has(Shape::WIDE)
            && (!shape.has(Shape::DEAD) || planted("dead-run-as-a-plain-one"))
            && (!shape.has(Shape::OWN_PREFIX) || self.has_prefix(key))
    }

    #[inline(never)]
    fn first_above_beyond_plain(self, key: &[u8]) -> Option<(&'g [S], usize)> {
        if self.is_dead() {
            return None;
        }
        let slots = self.slots();
        match self.place_beyond_plain(slots.len(), key) {
            (at, false) => Some((slots, at)),
            (_, true) => None,
        }
    }

    /// The slot with which a search for `key` begins to look at keys. `Err` if it need not, with where the key would have to be.
    #[inline]
    pub(crate) fn candidate(&self, key: &[u8]) -> Result<usize, usize> {
        match self.place(self.len(), key) {
            (at, true) => Ok(at),
            (at, false) => Err(at),
        }
    }

    /// As [`RunRef::search_from`], where the candidate was not asked for yet.
    #[inline(always)]
    fn search_asking(&self, slots: &'g [S], at: usize, key: &[u8]) -> Result<usize, usize> {
        slots[at].prefetch();
        self.search_from(slots, at, key)
    }

    /// The rest of a search for `key`, from its candidate on.
    #[inline(always)]
    pub(crate) fn search_from(
        &self,
        slots: &'g [S],
        at: usize,
        key: &[u8],
    ) -> Result<usize, usize> {
        // SAFETY: the slots are this run's, which is alive for `'g`.
        match is_same(unsafe { slots[at].key() }, key) {
            true => Ok(at),
            false => self.search_alike(at, key),
        }
    }

    /// Where a key is among those that have the head at `from`. They are as many in every later picture of a run that grows: what is put
    /// behind all others by its head alone has another one (E4).
    #[cold]
    fn search_alike(self, from: usize, key: &[u8]) -> Result<usize, usize> {
        let to = self.heads().end_of_alike(from);
        self.slots()[from..to]
            // SAFETY: the slots are this run's, which is alive for `'g`.
            .binary_search_by(|slot| unsafe { slot.key() }.cmp(key))
            .map(|at| from + at)
            .map_err(|at| from + at)
    }

    /// Where the first of the slots is whose key is not below `key`. `None` if the heads tell that none of them begins with the
    /// first `alike` bytes of it, and none behind the run.
    #[inline]
    pub(crate) fn first_alike(&self, slots: &'g [S], key: &[u8], alike: usize) -> Option<usize> {
        let heads_end = usize::from(self.get().prefix) + self.get().shape.width().bytes();
        match self.place(slots.len(), key) {
            (at, true) => Some(self.search_from(slots, at, key).unwrap_or_else(|at| at)),
            // The next key differs in these bytes, and is in this run.
            (at, false) if at < slots.len() && heads_end <= alike => None,
            (at, false) => Some(at),
        }
    }

    /// Where `key` is among the heads of the first `len` slots.
    #[inline(always)]
    fn place(&self, len: usize, key: &[u8]) -> AmongHeads {
        match self.place_if_plain(len, key) {
            Some(place) => place,
            None => self.place_beyond_plain(len, key),
        }
    }

    /// The same, if they are searched as those of a plain run.
    #[inline(always)]
    fn place_if_plain(&self, len: usize, key: &[u8]) -> Option<AmongHeads> {
        match self.get().shape.has(Shape::UNLIKE_PLAIN) {
            true => None,
            false => Some(self.place_among_narrow(len, key)),
        }
    }

    /// The same, if the heads are narrow and `key` begins as all of the run do.
    #[inline(always)]
    fn place_among_narrow(&self, len: usize, key: &[u8]) -> AmongHeads {
        let head = narrow_head(key, usize::from(self.get().prefix));
        // SAFETY: as for `heads_of`, and they are narrow.
        let heads = unsafe { std::slice::from_raw_parts(self.heads_start().cast(), len) };
        heads::seek_narrow(heads, head)
    }

    #[inline(never)]
    fn place_beyond_plain(self, len: usize, key: &[u8]) -> AmongHeads {
        if self.get().shape.has(Shape::OWN_PREFIX) && !self.has_prefix(key) {
            return match key < self.own_prefix() {
                true => (0, false),
                false => (len, false),
            };
        }
        let head = head(key, usize::from(self.get().prefix));
        self.heads_of(len).seek(head)
    }

    /// Whether `key` begins with the part that all keys of the run begin with.
    #[inline(always)]
    pub(super) fn has_prefix(&self, key: &[u8]) -> bool {
        let own = self.own_prefix();
        key.get(..own.len())
            .is_some_and(|start| is_same(start, own))
    }

    #[inline(always)]
    fn own_prefix(&self) -> &'g [u8] {
        debug_assert!(self.get().shape.has(Shape::OWN_PREFIX));
        // SAFETY: the slots are this run's, which is alive for `'g`. A run without any has no prefix of its own, and those that one has
        // begin with it.
        unsafe {
            let first = self.slots_start().read().key();
            first.get_unchecked(..usize::from(self.get().prefix))
        }
    }
}

/// Whether two keys are the same; without a call for those of 8 to 16 bytes.
#[inline(always)]
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let len = right.len();
    if left.len() != len {
        return false;
    }
    if !(8..=16).contains(&len) {
        return is_same_by_call(left, right);
    }
    // SAFETY: both have eight bytes from there on.
    let word = |key: &[u8], from| unsafe { key.as_ptr().add(from).cast::<u64>().read_unaligned() };
    word(left, 0) == word(right, 0) && word(left, len - 8) == word(right, len - 8)
}

/// Called cold so that lookups of others keep their registers.
#[cold]
fn is_same_by_call(left: &[u8], right: &[u8]) -> bool {
    left == right
}
