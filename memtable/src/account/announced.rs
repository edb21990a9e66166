//! What a stripe announces: a version, or a batch of them, in one word.

use crate::batch::Descriptor;
use crate::reclaim::Guard;
use crate::stamp::Stamp;
use crate::version::{Version, VersionRef};
use std::ptr;

/// The lowest bit tells a batch from a version.
const BATCH: usize = 1;

/// The word.
#[derive(Clone, Copy)]
pub(crate) struct Announced(*mut ());

/// What it names.
pub(super) enum Named<'g> {
    Nothing,
    Version(VersionRef<'g>),
    Batch(&'g Descriptor),
}

impl<'g> Named<'g> {
    /// What is known of when it takes effect.
    pub(super) fn stamp(&self) -> Stamp {
        match self {
            Named::Nothing => Stamp::Void,
            Named::Version(version) => version.stamp(),
            Named::Batch(batch) => batch.decision().load(),
        }
    }

    /// Its versions. Of a batch only if it is decided.
    pub(super) fn versions(&self, guard: &'g Guard) -> impl Iterator<Item = VersionRef<'g>> {
        let (version, batch) = match *self {
            Named::Nothing => (None, None),
            Named::Version(version) => (Some(version), None),
            Named::Batch(batch) => (None, Some(batch)),
        };
        let batched = batch.into_iter().flat_map(|batch| batch.versions(guard));
        version.into_iter().chain(batched)
    }
}

impl Announced {
    pub(crate) const NOTHING: Announced = Announced(ptr::null_mut());

    #[inline]
    pub(crate) fn version(version: VersionRef<'_>) -> Announced {
        Announced(version.as_ptr().cast())
    }

    pub(crate) fn batch(batch: &Descriptor) -> Announced {
        let word = ptr::from_ref(batch).cast_mut().cast::<()>();
        Announced(word.map_addr(|addr| addr | BATCH))
    }

    #[inline]
    pub(super) fn from_word(word: *mut ()) -> Announced {
        Announced(word)
    }

    #[inline]
    pub(super) fn to_word(self) -> *mut () {
        self.0
    }

    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        self.0.is_null()
    }

    /// # Safety
    /// It was read from a stripe under the guard of `'g`: what is announced is retired, never freed at once (A1).
    pub(super) unsafe fn named(self, _guard: &Guard) -> Named<'_> {
        if self.0.addr() & BATCH != 0 {
            let batch = self.0.map_addr(|addr| addr & !BATCH).cast::<Descriptor>();
            // SAFETY: by the contract.
            return Named::Batch(unsafe { &*batch });
        }
        // SAFETY: by the contract.
        match unsafe { VersionRef::new(self.0.cast::<Version>()) } {
            Some(version) => Named::Version(version),
            None => Named::Nothing,
        }
    }
}
