//! When memory that was unlinked may be freed.
//!
//! A thread that follows shared pointers first [`pin`]s. What it unlinks it hands to [`Guard::retire`], and the
//! object is destroyed once no guard that was active at that moment is left: nobody who could have seen it
//! still looks. Three things are asked of the callers, and they are the contract of every `unsafe` here:
//!
//! 1. *Unreachable first.* An object is retired after the write that made it unreachable for new guards, and
//!    never becomes reachable again.
//! 2. *Once.* The winner of that write retires it, nobody else.
//! 3. *Only memory.* `destroy` frees memory. It calls no hook, touches no table, retires nothing, pins nothing: it
//!    runs on any thread, in the middle of any operation, and possibly after the table is gone.
//!
//! A normal build uses [`epoch`]; a model build uses [`oracle`], which frees at the first moment that the
//! contract allows.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};
use std::alloc::Layout;

#[cfg(not(untorn_loom))]
mod epoch;
pub(crate) mod inbox;
#[cfg(untorn_loom)]
pub(crate) mod oracle;
#[cfg(all(test, not(untorn_loom)))]
mod tests;

#[cfg(not(untorn_loom))]
pub(crate) use epoch::{Guard, freed_bytes, oldest_guard_age, pin, retired_bytes};
#[cfg(untorn_loom)]
pub(crate) use oracle::{Guard, freed_bytes, pin, retired_bytes};

/// Sets a flag of a counted record once all guards that are active now are gone.
pub(crate) fn after_grace<R: 'static>(record: &Arc<R>, flag: fn(&R) -> &AtomicBool, guard: &Guard) {
    struct Token<R>(Arc<R>, fn(&R) -> &AtomicBool);
    unsafe fn spend<R>(object: *mut u8) {
        // SAFETY: boxed below, and run once.
        let token = unsafe { Box::from_raw(object.cast::<Token<R>>()) };
        token.1(&token.0).store(true, Ordering::Release);
    }
    let token = Box::into_raw(Box::new(Token(record.clone(), flag)));
    // SAFETY: nobody else knows the token; it only sets a flag in a counted record and frees memory.
    unsafe { guard.defer(token.cast(), spend::<R>) };
}

/// Gives the memory of a record that was dropped back to the allocator.
///
/// A model build with a planted bug keeps it instead, so that whoever comes too late finds the poison that `drop` left there, and
/// not what the allocator put in its place.
///
/// # Safety
///
/// As for [`std::alloc::dealloc`].
#[inline(always)]
pub(crate) unsafe fn dealloc(memory: *mut u8, layout: Layout) {
    #[cfg(untorn_loom)]
    if crate::mutant::model::is_any_planted() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { std::alloc::dealloc(memory, layout) };
}

/// One retired object: what, how to free it, how much it holds.
struct Retired {
    object: *mut u8,
    destroy: unsafe fn(*mut u8),
    bytes: usize,
}

// SAFETY: `Guard::retire` requires that any thread may free it.
unsafe impl Send for Retired {}

impl Retired {
    /// Frees the object.
    ///
    /// # Safety
    ///
    /// No guard that was active when it was retired is left, and this is the only call for it.
    unsafe fn free(self) {
        // SAFETY: the caller's promise is what `Guard::retire` promised to `destroy`.
        unsafe { (self.destroy)(self.object) }
    }
}
