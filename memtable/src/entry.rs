//! An entry: one key, its bytes, and the head of its chain of versions.
//!
//! An entry never moves. Two of its words change, beside those of its first [`version`]:
//!
//! * `head`, the newest version; a push is one CAS. Its lowest bit is the *dead* mark: final, set by the holder of the trim
//!   flag when no version is needed by anybody. Overwrites and burial contend on this one word, so a dead entry can never
//!   receive a write.
//! * `hold`: bit 0 is the *trim flag*, tried and never awaited, whose holder alone shortens the chain, settles rolled back
//!   stamps and buries; the other bits count the lists of debts that name the entry, and while one does it is not buried.

use crate::error::OutOfMemory;
use crate::fence::Fence;
use crate::mutant::planted;
use crate::prefetch::prefetch;
use crate::reclaim::{Guard, dealloc};
use crate::run::Slot;
use crate::stamp::{Stamp, StampWord};
use crate::sync::Checked;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::version::{self, Facts, State, Version, VersionRef, has_a_version};
use std::alloc::{Layout, alloc};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

/// Values up to this many bytes lie in their entry when they are the key's first; a longer one is allocated apart, so that it
/// can be freed when it is overwritten.
pub(crate) const MAX_INLINE_VALUE: usize = 128;
const _: () = assert!(MAX_INLINE_VALUE <= u8::MAX as usize);

const DEAD: usize = 1;
const TRIMMING: u32 = 1;
const DEBT: u32 = 2;

/// Header; the bytes of its first [`Version`] follow, the key's before all.
#[repr(C)]
pub(crate) struct Entry {
    head: AtomicPtr<Version>,
    /// The first version's, if that is inline.
    pub(crate) stamp: StampWord,
    pub(crate) facts: Facts,
    hold: AtomicU32,
    pub(crate) check: Checked,
}
has_a_version!(Entry);

/// The head word of an entry.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Head<'g> {
    Live(VersionRef<'g>),
    /// Buried: the entry is on its way out of its leaf.
    Dead,
}

/// An entry that a guard keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct EntryRef<'g> {
    entry: NonNull<Entry>,
    guard: PhantomData<&'g Guard>,
}

impl PartialEq for EntryRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
}

/// An entry as a run names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EntrySlot(NonNull<Entry>);

impl EntrySlot {
    /// # Safety
    /// The slot was read from a run that is alive under the guard of `'g` (I4).
    #[inline]
    pub(crate) unsafe fn under<'g>(self, _guard: &'g Guard) -> EntryRef<'g> {
        EntryRef {
            entry: self.0,
            guard: PhantomData,
        }
    }

    /// Asks the processor for the newest version.
    ///
    /// # Safety
    /// The entry is alive.
    #[inline]
    pub(crate) unsafe fn prefetch_newest(self) {
        // SAFETY: by the contract.
        prefetch(unsafe { self.0.as_ref() }.head.load(Ordering::Relaxed));
    }

    pub(crate) fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// # Safety
    /// `entry` came from [`EntrySlot::as_ptr`].
    pub(crate) unsafe fn from_ptr(entry: *mut u8) -> EntrySlot {
        // SAFETY: by the contract it is not null.
        EntrySlot(unsafe { NonNull::new_unchecked(entry.cast()) })
    }
}

impl Slot for EntrySlot {
    const LINES: [usize; 2] = [6, 5];

    /// The inline value too, if key and value are short.
    #[inline]
    fn prefetch(self) {
        let entry = self.as_ptr();
        prefetch(entry);
        prefetch(entry.wrapping_add(64));
    }

    #[inline]
    unsafe fn key<'g>(self) -> &'g [u8] {
        // SAFETY: by the contract of the trait the entry is alive for `'g`; its key never changes.
        unsafe {
            self.0.as_ref().check.read();
            let start = self.0.as_ptr().add(1).cast::<u8>();
            std::slice::from_raw_parts(start, (*self.0.as_ptr()).facts.key_len())
        }
    }

    unsafe fn fence_between(left: Self, right: Self) -> *const Fence {
        // SAFETY: by the contract of the trait both entries are alive.
        unsafe { Fence::between(left.key(), right.key()) }
    }
}

impl<'g> EntryRef<'g> {
    #[inline]
    fn get(&self) -> &'g Entry {
        // SAFETY: alive for `'g` by the contract of `EntrySlot::under`; all that changes in it is atomic.
        unsafe { self.entry.as_ref() }
    }

    pub(crate) fn slot(&self) -> EntrySlot {
        EntrySlot(self.entry)
    }

    #[inline]
    pub(crate) fn key(&self) -> &'g [u8] {
        // SAFETY: alive for `'g`.
        unsafe { self.slot().key() }
    }

    /// Acquire: pairs with the push, so that the version's bytes are seen.
    #[inline]
    pub(crate) fn head(&self) -> Head<'g> {
        let word = self.get().head.load(Ordering::Acquire);
        if word.addr() & DEAD != 0 {
            return Head::Dead;
        }
        // SAFETY: read from a live entry's head under the guard, and never null (I6).
        Head::Live(unsafe { VersionRef::new_unchecked(word) })
    }

    /// The newest version of a dead entry.
    pub(crate) fn buried(&self) -> Option<VersionRef<'g>> {
        let word = self.get().head.load(Ordering::Acquire);
        // SAFETY: as in `head`; the mark changes no address.
        unsafe { VersionRef::new(word.map_addr(|addr| addr & !DEAD)) }
    }

    /// Puts `to` on top if `from` is still the head. The whole of an overwrite.
    pub(crate) fn push(&self, from: VersionRef<'g>, to: VersionRef<'g>) -> bool {
        // Release publishes the version's bytes; Acquire is for the fence that follows.
        self.get()
            .head
            .compare_exchange(
                from.as_ptr(),
                to.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Marks the entry dead if `head` is still its newest version. Only the holder of the trim flag calls it.
    pub(crate) fn bury(&self, head: VersionRef<'g>) -> bool {
        let dead = head.as_ptr().map_addr(|addr| addr | DEAD);
        self.get()
            .head
            .compare_exchange(head.as_ptr(), dead, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Tries to become the one who shortens the chain.
    pub(crate) fn try_trim(&self) -> Option<TrimFlag<'g>> {
        self.get().check.read();
        let hold = self.get().hold.load(Ordering::Relaxed);
        // Acquire: the chain as the last holder left it.
        let won = hold & TRIMMING == 0
            && self
                .get()
                .hold
                .compare_exchange(hold, hold | TRIMMING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !won && planted("trim-flag-of-another") {
            drop(TrimFlag { entry: *self });
        }
        // Made only if it was won: a `TrimFlag` that is dropped gives the flag back, whoever has it.
        won.then(|| TrimFlag { entry: *self })
    }

    /// A list of debts names the entry from now on.
    pub(crate) fn owe(&self) {
        self.get().hold.fetch_add(DEBT, Ordering::Relaxed);
    }

    /// A list of debts lets the entry go.
    pub(crate) fn settle_debt(&self) {
        self.get().hold.fetch_sub(DEBT, Ordering::AcqRel);
    }

    pub(crate) fn in_debt(&self) -> bool {
        self.get().hold.load(Ordering::Acquire) >= DEBT
    }
}

/// The right to shorten one entry's chain; given back on drop.
pub(crate) struct TrimFlag<'g> {
    entry: EntryRef<'g>,
}

impl Drop for TrimFlag<'_> {
    fn drop(&mut self) {
        self.entry
            .get()
            .hold
            .fetch_and(!TRIMMING, Ordering::Release);
    }
}

/// An entry that is not published yet; frees itself unless it is published.
pub(crate) struct NewEntry {
    entry: NonNull<Entry>,
}

fn layout(facts: Facts) -> Layout {
    Layout::from_size_align(size_of::<Entry>() + facts.inline_len(), align_of::<Entry>())
        .expect("keys and inline values are far shorter than isize::MAX")
}

/// What a key is to hold.
pub(crate) struct Contents<'v> {
    pub(crate) state: State,
    pub(crate) tag: u32,
    pub(crate) value: Cow<'v, [u8]>,
}

impl NewEntry {
    /// An entry whose first version is inline.
    pub(crate) fn new(
        key: &[u8],
        contents: &Contents<'_>,
        stamp: StampWord,
    ) -> Result<NewEntry, OutOfMemory> {
        let value = &contents.value[..];
        let facts = Facts::inline(contents.state, contents.tag, key.len(), value.len() as u8);
        NewEntry::allocate(key, value, contents.tag, facts, stamp, None)
    }

    /// An entry whose first version lies apart, and belongs to it from now on.
    pub(crate) fn over(key: &[u8], version: VersionRef<'_>) -> Result<NewEntry, OutOfMemory> {
        let unused = Facts::inline(State::Gone, 0, key.len(), 0);
        let stamp = StampWord::new(Stamp::Void);
        NewEntry::allocate(key, &[], 0, unused, stamp, Some(version))
    }

    fn allocate(
        key: &[u8],
        value: &[u8],
        tag: u32,
        facts: Facts,
        stamp: StampWord,
        apart: Option<VersionRef<'_>>,
    ) -> Result<NewEntry, OutOfMemory> {
        let layout = layout(facts);
        // SAFETY: the layout is not empty: it has the header.
        let memory = unsafe { alloc(layout) }.cast::<Entry>();
        let Some(entry) = NonNull::new(memory) else {
            return Err(OutOfMemory(layout));
        };
        // SAFETY: fresh memory of that layout, not shared with anyone; the head is derived from the allocation's pointer; what
        // lies behind the header is what the facts say.
        unsafe {
            let head = match apart {
                None => entry.byte_add(offset_of!(Entry, stamp)).as_ptr().cast(),
                Some(version) => version.as_ptr(),
            };
            entry.write(Entry {
                head: AtomicPtr::new(head),
                stamp,
                facts,
                hold: AtomicU32::new(0),
                check: Checked::new(),
            });
            let bytes = entry.as_ptr().add(1).cast::<u8>();
            ptr::copy_nonoverlapping(key.as_ptr(), bytes, key.len());
            let bytes = bytes.add(key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), bytes, value.len());
            if tag != 0 {
                bytes.add(value.len()).cast::<u32>().write_unaligned(tag);
            }
            entry.as_ref().check.wrote();
        }
        Ok(NewEntry { entry })
    }

    /// Frees the entry with its version.
    ///
    /// # Safety
    /// It was not published, and nobody looks at its version.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: by the contract.
        unsafe { destroy(self.entry.as_ptr().cast()) }
    }

    pub(crate) fn publish<'g>(&self, _guard: &'g Guard) -> EntryRef<'g> {
        EntryRef {
            entry: self.entry,
            guard: PhantomData,
        }
    }
}

/// What an entry takes beside its key and its inline value.
pub(crate) const HEADER: usize = size_of::<Entry>();

/// Size of the allocation behind the entry itself.
pub(crate) fn allocation(entry: EntryRef<'_>) -> usize {
    layout(entry.get().facts).size()
}

/// Frees the entry and the versions that are still in its chain.
///
/// # Safety
/// `object` is an `Entry` that nobody can reach any more, and it was not freed before.
pub(crate) unsafe fn destroy(object: *mut u8) {
    let entry = object.cast::<Entry>();
    // SAFETY: by the contract the entry and its chain are ours alone; each version is freed once, for a trimmed one is no
    // longer in the chain.
    unsafe {
        let head = (*entry).head.load(Ordering::Relaxed);
        let mut next = VersionRef::new(head.map_addr(|addr| addr & !DEAD));
        while let Some(current) = next {
            next = current.previous();
            version::destroy(current.as_ptr().cast());
        }
        let layout = layout((*entry).facts);
        ptr::drop_in_place(entry);
        dealloc(object, layout);
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_costs_twenty_four_bytes_above_its_key_and_value() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}
