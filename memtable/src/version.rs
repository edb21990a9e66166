//! A version: what one write left in a key.
//!
//! A version is filled before it is published and from then on only three of its words change:
//!
//! * the *stamp* ([`stamp`](crate::stamp)), once to its final value, by anybody who meets it, and once more from a rolled back
//!   segment to *discarded*, by the holder of the entry's trim flag;
//! * *booked*, once, by its writer, when no stripe of the account announces it any more ([`account`](crate::account)): until
//!   then it is reachable from there, so it is neither unlinked nor freed with its entry;
//! * `previous`, by the holder of the entry's trim flag, to leave out versions that nobody needs.
//!
//! The first version of a small value lies inline in its [`Entry`](crate::entry::Entry): it is the oldest of its key, has no
//! `previous` and is freed with the entry. Every other version is a [`Chained`] of its own.

use crate::error::OutOfMemory;
use crate::marks::{Order, UNORDERED};
use crate::reclaim::{Guard, dealloc};
use crate::stamp::{Stamp, StampWord};
use crate::sync::Checked;
use crate::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::alloc::{Layout, alloc};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

/// What a version says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Value,
    Tombstone,
    TagOnly,
    /// Physically removed: not live, and hides what lies below.
    Gone,
}

/// Where in the account a key's own weight (one key, its length) is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    /// With the key's persistent bits, which no rollback takes back.
    Always,
    /// In the segment that the version itself is stamped with.
    Here,
    /// In an older segment.
    Segment(u64),
}

/// What a version adds to the account once it is stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta {
    /// Length of the key: the weight that moves from `minus` to `plus`.
    pub(crate) key_len: u32,
    /// Value bytes won or lost against the newest live version below.
    pub(crate) value: i64,
    pub(crate) minus: Place,
    pub(crate) plus: Place,
}

/// The part that all versions share.
#[repr(C)]
pub(crate) struct Version {
    stamp: StampWord,
    tag: u32,
    state: State,
    inline: bool,
    /// Length of the value of an inline version.
    inline_len: u8,
    booked: AtomicBool,
    check: Checked,
}

/// A version in an allocation of its own; the value's bytes follow it.
#[repr(C)]
struct Chained {
    previous: AtomicPtr<Version>,
    len: usize,
    delta: Delta,
    /// Of its content, which may be older than the version.
    order: Order,
    version: Version,
}

impl Version {
    /// The inline first version of an entry.
    pub(crate) fn inline(stamp: StampWord, state: State, tag: u32, len: u8) -> Version {
        let version = Version {
            stamp,
            tag,
            state,
            inline: true,
            inline_len: len,
            booked: AtomicBool::new(false),
            check: Checked::new(),
        };
        version.check.wrote();
        version
    }
}

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
    fn get(&self) -> &'g Version {
        // SAFETY: alive for `'g` by the contract of `new`; all that changes in it is atomic.
        unsafe { self.version.as_ref() }
    }

    #[inline]
    fn chained(&self) -> Option<NonNull<Chained>> {
        if self.get().inline {
            return None;
        }
        // SAFETY: a version that is not inline lies in a `Chained`, whose allocation the pointer's provenance spans (I6).
        Some(unsafe { self.version.byte_sub(offset_of!(Chained, version)).cast() })
    }

    pub(crate) fn as_ptr(&self) -> *mut Version {
        self.version.as_ptr()
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.get().inline
    }

    #[inline]
    pub(crate) fn stamp_word(&self) -> &'g StampWord {
        &self.get().stamp
    }

    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        self.get().stamp.load()
    }

    /// No stripe announces it any more. Release: who retires it does so after the stripe let it go.
    pub(crate) fn mark_booked(&self) {
        self.get().booked.store(true, Ordering::Release);
    }

    pub(crate) fn is_booked(&self) -> bool {
        self.get().booked.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        self.get().check.read();
        self.get().tag
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.get().check.read();
        self.get().state
    }

    #[inline]
    pub(crate) fn value_len(&self) -> usize {
        self.get().check.read();
        match self.chained() {
            // SAFETY: alive for `'g`; `len` never changes after publication.
            Some(chained) => unsafe { (*chained.as_ptr()).len },
            None => usize::from(self.get().inline_len),
        }
    }

    /// The value's bytes, if the version is chained; those of an inline one belong to its entry.
    #[inline]
    pub(crate) fn chained_value(&self) -> Option<&'g [u8]> {
        let chained = self.chained()?;
        self.get().check.read();
        // SAFETY: `len` bytes follow the header in the same allocation, are initialised before publication and never
        // change; the guard keeps them for `'g`.
        unsafe {
            let start = chained.as_ptr().add(1).cast::<u8>();
            Some(std::slice::from_raw_parts(start, (*chained.as_ptr()).len))
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
        // SAFETY: alive for `'g`; the delta never changes after publication.
        self.chained()
            .map(|chained| unsafe { (*chained.as_ptr()).delta })
    }
}

/// A version in an allocation of its own that is not published yet.
pub(crate) struct NewVersion {
    chained: NonNull<Chained>,
}

impl NewVersion {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(size_of::<Chained>() + len, align_of::<Chained>())
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
        let layout = NewVersion::layout(value.len());
        // SAFETY: the layout is not empty: it has the header.
        let memory = unsafe { alloc(layout) }.cast::<Chained>();
        let Some(chained) = NonNull::new(memory) else {
            return Err(OutOfMemory(layout));
        };
        // SAFETY: fresh memory of that layout, not shared with anyone.
        unsafe {
            chained.write(Chained {
                previous: AtomicPtr::new(previous),
                len: value.len(),
                delta,
                order,
                version: Version {
                    inline: false,
                    ..Version::inline(stamp, state, tag, 0)
                },
            });
            let start = chained.as_ptr().add(1).cast::<u8>();
            ptr::copy_nonoverlapping(value.as_ptr(), start, value.len());
        }
        Ok(NewVersion { chained })
    }

    /// Frees the version.
    ///
    /// # Safety
    /// It was not published, and nobody looks at it.
    pub(crate) unsafe fn destroy(self) {
        // SAFETY: by the contract; the pointer is that of the allocation.
        unsafe {
            destroy(
                self.chained
                    .byte_add(offset_of!(Chained, version))
                    .as_ptr()
                    .cast(),
            )
        }
    }

    /// The version, for publication.
    pub(crate) fn publish<'g>(&self, _guard: &'g Guard) -> VersionRef<'g> {
        // SAFETY: derived from the allocation's pointer, so that its provenance spans the whole `Chained`.
        let version = unsafe { self.chained.byte_add(offset_of!(Chained, version)) };
        VersionRef {
            version: version.cast(),
            guard: PhantomData,
        }
    }
}

/// Size of the allocation behind a chained version; 0 for an inline one.
pub(crate) fn allocation(version: VersionRef<'_>) -> usize {
    version
        .chained()
        .map_or(0, |_| NewVersion::layout(version.value_len()).size())
}

/// What a version takes beside its value; 0 for an inline one.
pub(crate) fn header(version: VersionRef<'_>) -> usize {
    version.chained().map_or(0, |_| size_of::<Chained>())
}

/// Frees a chained version; an inline one goes with its entry.
///
/// # Safety
/// `object` is a `Version` that nobody can reach any more, and it was not freed before.
pub(crate) unsafe fn destroy(object: *mut u8) {
    let version = object.cast::<Version>();
    // SAFETY: by the contract it is alive and ours.
    unsafe {
        if (*version).inline {
            return;
        }
        let chained = version
            .byte_sub(offset_of!(Chained, version))
            .cast::<Chained>();
        let layout = NewVersion::layout((*chained).len);
        ptr::drop_in_place(chained);
        dealloc(chained.cast::<u8>(), layout);
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_inline_version_costs_sixteen_bytes() {
        assert_eq!(size_of::<Version>(), 16);
    }
}
