//! A version: what one write left in a key.
//!
//! A version is filled before it is published and from then on only two of its words change:
//!
//! * the *stamp* ([`stamp`](crate::stamp)), once to its final value, by anybody who meets it; then its writer marks it *booked*, when
//!   no stripe of the account announces the version any more ([`account`](crate::account)): until then it is reachable from there,
//!   so it is neither unlinked nor freed with its entry; and once more from a rolled back segment to *discarded*, by the holder of
//!   the entry's trim flag, if it is booked;
//! * `previous`, by the holder of the entry's trim flag, to leave out versions that nobody needs.
//!
//! The first version of a small value lies inline in its [`Entry`]: it is the oldest of its key, has no
//! `previous` and is freed with the entry. Every other version is a [`Chained`] of its own. Both have the stamp and the [`Facts`] in
//! a row, so that a pointer to the stamp stands for a version; what else they have is told by the facts.
//!
//! ```text
//!   Entry     head | stamp facts | hold  || key, value, tag
//!   Chained   previous, value won, order | stamp facts | length || value, tag, segment
//! ```
//!
//! A tag that is zero and a segment that is not needed take no room.

mod facts;

use crate::entry::Entry;
use crate::error::OutOfMemory;
use crate::marks::{Order, UNORDERED};
use crate::reclaim::{Guard, dealloc};
use crate::stamp::{Stamp, StampWord};
use crate::sync::Checked;
use crate::sync::atomic::{AtomicPtr, Ordering};
use std::alloc::{Layout, alloc};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

pub(crate) use facts::{Delta, Facts, Place, State};

/// What all versions have in a row, inside of an [`Entry`] or a [`Chained`]. Only pointers to it are used.
#[repr(C)]
pub(crate) struct Version {
    stamp: StampWord,
    pub(crate) facts: Facts,
}

/// Asserts that a record has the row of a [`Version`] at its `stamp`.
macro_rules! has_a_version {
    ($record:ty) => {
        const _: () = assert!(
            offset_of!($record, facts) - offset_of!($record, stamp)
                == offset_of!($crate::version::Version, facts)
        );
    };
}
pub(crate) use has_a_version;

/// A version in an allocation of its own; the value's bytes follow it.
#[repr(C)]
struct Chained {
    previous: AtomicPtr<Version>,
    /// The delta's.
    value_won: i64,
    /// Of its content, which may be older than the version.
    order: Order,
    stamp: StampWord,
    facts: Facts,
    len: u32,
    check: Checked,
}
has_a_version!(Chained);

/// A version that a guard keeps alive.
#[derive(Clone, Copy)]
pub(crate) struct VersionRef<'g> {
    version: NonNull<Version>,
    guard: PhantomData<&'g Guard>,
}

impl PartialEq for VersionRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl<'g> VersionRef<'g> {
    /// # Safety
    /// `version` was read from a word of a live entry under the guard of `'g`, or has not been published yet (I6).
    pub(crate) unsafe fn new(version: *mut Version) -> Option<VersionRef<'g>> {
        NonNull::new(version).map(|version| VersionRef {
            version,
            guard: PhantomData,
        })
    }

    /// # Safety
    /// As for [`VersionRef::new`], and `version` is not null.
    #[inline]
    pub(crate) unsafe fn new_unchecked(version: *mut Version) -> VersionRef<'g> {
        VersionRef {
            // SAFETY: by the contract.
            version: unsafe { NonNull::new_unchecked(version) },
            guard: PhantomData,
        }
    }

    #[inline]
    fn facts(&self) -> Facts {
        // SAFETY: alive for `'g` by the contract of `new`; the facts never change after publication.
        unsafe { (*self.version.as_ptr()).facts }
    }

    #[inline]
    fn chained(&self) -> Option<NonNull<Chained>> {
        if self.facts().is_inline() {
            return None;
        }
        // SAFETY: a version that is not inline lies in a `Chained`, whose allocation the pointer's provenance spans (I6).
        Some(unsafe { self.version.byte_sub(offset_of!(Chained, stamp)).cast() })
    }

    /// The entry in which an inline version lies.
    #[inline]
    fn entry(&self) -> NonNull<Entry> {
        // SAFETY: an inline version is the first of an entry, and its pointer was derived from the entry's (I6).
        unsafe { self.version.byte_sub(offset_of!(Entry, stamp)).cast() }
    }

    /// In models: the bytes are about to be read.
    #[inline]
    fn check(&self) {
        // SAFETY: alive for `'g`.
        unsafe {
            match self.chained() {
                Some(chained) => (*chained.as_ptr()).check.read(),
                None => (*self.entry().as_ptr()).check.read(),
            }
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Version {
        self.version.as_ptr()
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.facts().is_inline()
    }

    /// Length of the key to whose entry it belongs.
    pub(crate) fn key_len(&self) -> usize {
        self.facts().key_len()
    }

    #[inline]
    pub(crate) fn stamp_word(&self) -> &'g StampWord {
        self.check();
        // SAFETY: alive for `'g`; the word is atomic.
        unsafe { &(*self.version.as_ptr()).stamp }
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp_word().load()
    }

    /// No stripe announces it any more. By its writer alone.
    pub(crate) fn mark_booked(&self) {
        self.stamp_word().book();
    }

    pub(crate) fn is_booked(&self) -> bool {
        self.stamp_word().is_booked()
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.check();
        self.facts().state()
    }

    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        self.check();
        if !self.facts().has_tag() {
            return 0;
        }
        let (value, len) = self.bytes();
        // SAFETY: the tag follows the value, as the facts say.
        unsafe { value.add(len).cast::<u32>().read_unaligned() }
    }

    #[inline]
    pub(crate) fn value_len(&self) -> usize {
        self.bytes().1
    }

    #[inline]
    pub(crate) fn value(&self) -> &'g [u8] {
        let (start, len) = self.bytes();
        // SAFETY: `len` bytes from there on were initialised before publication and never change; the guard keeps them for `'g`.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Where the value begins, and its length.
    #[inline]
    fn bytes(&self) -> (*const u8, usize) {
        self.check();
        let facts = self.facts();
        // SAFETY: alive for `'g`. Behind a header lie the bytes that the module describes.
        unsafe {
            match self.chained() {
                Some(chained) => {
                    let start = chained.as_ptr().add(1).cast::<u8>();
                    (start, (*chained.as_ptr()).len as usize)
                }
                None => {
                    let key = self.entry().as_ptr().add(1).cast::<u8>();
                    (key.add(facts.key_len()), usize::from(facts.detail()))
                }
            }
        }
    }

    #[inline]
    pub(crate) fn previous(&self) -> Option<VersionRef<'g>> {
        let chained = self.chained()?;
        // SAFETY: alive for `'g`; what `previous` names is retired only after the guard could no longer read it here (I6).
        unsafe { VersionRef::new((*chained.as_ptr()).previous.load(Ordering::Acquire)) }
    }

    /// Leaves out what lies between this version and `next`. Only the holder of the entry's trim flag calls it.
    pub(crate) fn set_previous(&self, next: Option<VersionRef<'g>>) {
        let next = next.map_or(ptr::null_mut(), |next| next.as_ptr());
        if let Some(chained) = self.chained() {
            // SAFETY: alive for `'g`. Release: `next` was published already, but its reader must see it through this word.
            unsafe { (*chained.as_ptr()).previous.store(next, Ordering::Release) }
        }
    }

    /// The order of the content; that of an inline one is with the name of its entry in the list of a mark.
    pub(crate) fn order(&self) -> Order {
        // SAFETY: alive for `'g`; the order never changes after publication.
        let order = |chained: NonNull<Chained>| unsafe { (*chained.as_ptr()).order };
        self.chained().map_or(UNORDERED, order)
    }

    /// What a chained version adds to the account.
    pub(crate) fn delta(&self) -> Option<Delta> {
        let chained = self.chained()?;
        let facts = self.facts();
        let segment = || {
            let (value, len) = self.bytes();
            // SAFETY: the segment follows the value and the tag, as the facts say.
            unsafe {
                value
                    .add(len + facts.tag_len())
                    .cast::<u64>()
                    .read_unaligned()
            }
        };
        let [minus, plus] = facts.places().map(|kind| Place::of_kind(kind, segment));
        Some(Delta {
            key_len: facts.key_len() as u32,
            // SAFETY: alive for `'g`; it never changes after publication.
            value: unsafe { (*chained.as_ptr()).value_won },
            minus,
            plus,
        })
    }
}

/// A version in an allocation of its own that is not published yet.
pub(crate) struct NewVersion {
    chained: NonNull<Chained>,
}

impl NewVersion {
    fn layout(facts: Facts, value_len: usize) -> Layout {
        Layout::from_size_align(
            size_of::<Chained>() + facts.chained_len(value_len),
            align_of::<Chained>(),
        )
        .expect("values are far shorter than isize::MAX")
    }

    pub(crate) fn new(
        stamp: StampWord,
        state: State,
        tag: u32,
        value: &[u8],
        previous: *mut Version,
        delta: Delta,
        order: Order,
    ) -> Result<NewVersion, OutOfMemory> {
        let facts = Facts::chained(state, tag, &delta);
        let layout = NewVersion::layout(facts, value.len());
        // SAFETY: the layout is not empty: it has the header.
        let memory = unsafe { alloc(layout) }.cast::<Chained>();
        let Some(chained) = NonNull::new(memory) else {
            return Err(OutOfMemory(layout));
        };
        // SAFETY: fresh memory of that layout, not shared with anyone; what lies behind the header is what the facts say.
        unsafe {
            chained.write(Chained {
                previous: AtomicPtr::new(previous),
                value_won: delta.value,
                order,
                stamp,
                facts,
                len: value.len() as u32,
                check: Checked::new(),
            });
            let start = chained.as_ptr().add(1).cast::<u8>();
            ptr::copy_nonoverlapping(value.as_ptr(), start, value.len());
            let end = start.add(value.len());
            if facts.has_tag() {
                end.cast::<u32>().write_unaligned(tag);
            }
            if let Some(segment) = delta.minus.segment().or(delta.plus.segment()) {
                let end = end.add(facts.tag_len());
                end.cast::<u64>().write_unaligned(segment);
            }
            chained.as_ref().check.wrote();
        }
        Ok(NewVersion { chained })
    }

    fn version(&self) -> NonNull<Version> {
        // SAFETY: derived from the allocation's pointer, so that its provenance spans the whole `Chained`.
        unsafe { self.chained.byte_add(offset_of!(Chained, stamp)) }.cast()
    }

    /// Frees the version.
    ///
    /// # Safety
    /// It was not published, and nobody looks at it.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: by the contract.
        unsafe { destroy(self.version().as_ptr().cast()) }
    }

    /// The version, for publication.
    pub(crate) fn publish<'g>(&self, _guard: &'g Guard) -> VersionRef<'g> {
        VersionRef {
            version: self.version(),
            guard: PhantomData,
        }
    }
}

/// Size of the allocation behind a chained version; 0 for an inline one.
pub(crate) fn allocation(version: VersionRef<'_>) -> usize {
    version.chained().map_or(0, |_| {
        NewVersion::layout(version.facts(), version.value_len()).size()
    })
}

/// What a version takes beside its value; 0 for an inline one.
pub(crate) fn header(version: VersionRef<'_>) -> usize {
    match allocation(version) {
        0 => 0,
        size => size - version.value_len(),
    }
}

/// Frees a chained version; an inline one goes with its entry.
///
/// # Safety
/// `object` is a `Version` that nobody can reach any more, and it was not freed before.
pub(crate) unsafe fn destroy(object: *mut u8) {
    // SAFETY: by the contract it is alive and ours.
    unsafe {
        let version = VersionRef::new_unchecked(object.cast());
        let Some(chained) = version.chained() else {
            return;
        };
        let layout = NewVersion::layout(version.facts(), (*chained.as_ptr()).len as usize);
        ptr::drop_in_place(chained.as_ptr());
        dealloc(chained.as_ptr().cast::<u8>(), layout);
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::error::MAX_KEY_LEN;

    #[test]
    fn a_chained_version_costs_forty_bytes_above_its_value() {
        assert_eq!(size_of::<Chained>(), 40);
    }

    /// Every combination of places, with and without a tag, comes back as it was put in.
    #[test]
    fn what_is_packed_into_a_version_comes_out_of_it() {
        let guard = crate::reclaim::pin();
        let places = [
            Place::Nowhere,
            Place::Always,
            Place::Here,
            Place::Segment(1 << 40),
        ];
        for (minus, plus) in places
            .map(|minus| places.map(|plus| (minus, plus)))
            .concat()
        {
            for tag in [0, 7, u32::MAX] {
                let delta = Delta {
                    key_len: MAX_KEY_LEN as u32,
                    value: -5,
                    minus,
                    plus,
                };
                let stamp = StampWord::new(Stamp::At(3));
                let made = NewVersion::new(
                    stamp,
                    State::TagOnly,
                    tag,
                    b"value",
                    ptr::null_mut(),
                    delta,
                    UNORDERED,
                );
                let new = made.unwrap_or_else(|failed| failed.abort());
                let version = new.publish(&guard);
                assert_eq!(version.delta(), Some(delta));
                assert_eq!((version.tag(), version.state()), (tag, State::TagOnly));
                assert_eq!(version.value(), b"value");
                assert!(!version.is_booked());
                version.mark_booked();
                assert!(version.is_booked());
                assert_eq!(version.stamp(), Stamp::At(3));
                // SAFETY: nobody else knows it.
                unsafe { new.destroy() };
            }
        }
    }
}
