//! The one place where atomics, threads and waiting are switched between `std` and `loom`.
//!
//! Everything else in this crate takes its atomics from here. A normal build gets `std`; a build with
//! `--cfg untorn_loom` gets loom's counterparts, which explore every interleaving within a bound.
//!
//! Three rules keep a model honest:
//!
//! * Loom runs all threads of a model on one OS thread and repeats the model many times. State that lives
//!   in a plain `static` or in `std`'s thread-locals is therefore shared by all threads of the model and
//!   survives from one repetition into the next. Use [`thread_local`] from here, and keep no other globals.
//! * Loom sees atomics, not bytes. A record that is written plainly and published by an atomic carries a
//!   [`Checked`]: `wrote()` after the plain writes, `read()` before the plain reads. Loom then fails if
//!   nothing orders the one before the other, and its drop makes a use after free fail as well.
//! * Every loop that waits for another thread calls [`spin`], or loom never schedules that thread.
//!
//! Loom's atomics have no `const fn new` and no `get_mut`: see [`const_fn`] and [`exclusive`]. Time does not pass under loom: who waits with
//! a timeout sleeps until he is woken.
#![allow(unused_imports, dead_code, unused_macros)]

#[cfg(untorn_loom)]
mod arc_swap;

#[cfg(not(untorn_loom))]
pub(crate) use std_only::*;
#[cfg(untorn_loom)]
pub(crate) use under_loom::*;

/// Defines a `const fn` whose body makes atomics: `const` normally, a plain `fn` under loom.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $vis:vis const fn $($rest:tt)*) => {
        #[cfg(not(untorn_loom))]
        $(#[$attribute])* $vis const fn $($rest)*
        #[cfg(untorn_loom)]
        $(#[$attribute])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

#[cfg(not(untorn_loom))]
mod std_only {
    pub(crate) use arc_swap::ArcSwap;
    pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use std::{thread, thread_local};

    /// `std`'s atomics.
    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    /// One step of waiting for another thread: mostly a pause, and every 64th time the rest of the time slice,
    /// since the awaited thread may have no core.
    #[inline]
    pub(crate) fn spin() {
        std::thread_local! {
            static STEPS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        }
        let steps = STEPS.with(|steps| steps.replace(steps.get().wrapping_add(1)));
        if steps % 64 == 63 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }

    /// A `SeqCst` fence for a place that directly follows a locked read-modify-write by the same thread.
    ///
    /// On x86-64 every successful or failed `lock`-prefixed instruction drains the store buffer and orders all
    /// earlier with all later accesses, which is all that `mfence` would do; only the compiler is left to be
    /// stopped from moving accesses across. Elsewhere a read-modify-write is no full barrier, so the fence is a
    /// real one. Under loom and Miri too, since both judge by the language's model and not by the processor's.
    #[inline(always)]
    pub(crate) fn fence_after_rmw() {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// The pointer in an atomic that nobody else can reach.
    #[inline(always)]
    pub(crate) fn exclusive<T>(pointer: &mut atomic::AtomicPtr<T>) -> *mut T {
        *pointer.get_mut()
    }

    /// The value, if this was the last owner.
    pub(crate) fn into_inner<T>(arc: Arc<T>) -> Option<T> {
        Arc::into_inner(arc)
    }

    /// Stands for the plain bytes of the record that it is a part of. Nothing at all outside of models.
    #[derive(Debug, Default)]
    pub(crate) struct Checked;

    impl Checked {
        /// A marker for bytes that are being written.
        #[inline(always)]
        pub(crate) const fn new() -> Self {
            Checked
        }

        /// The bytes were written, by a thread that has them for itself.
        #[inline(always)]
        pub(crate) fn wrote(&self) {}

        /// The bytes are about to be read.
        #[inline(always)]
        pub(crate) fn read(&self) {}
    }
}

#[cfg(untorn_loom)]
pub(crate) mod under_loom {
    use std::cell::Cell;

    pub(crate) use super::arc_swap::ArcSwap;
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub(crate) use loom::{thread, thread_local};

    /// Loom's atomics.
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }

    /// Lets the other threads of the model run.
    pub(crate) fn spin() {
        thread::yield_now();
    }

    /// A real `SeqCst` fence: loom knows no processor.
    pub(crate) fn fence_after_rmw() {
        atomic::fence(atomic::Ordering::SeqCst);
    }

    /// The pointer in an atomic that nobody else can reach.
    pub(crate) fn exclusive<T>(pointer: &mut atomic::AtomicPtr<T>) -> *mut T {
        pointer.with_mut(|pointer| *pointer)
    }

    /// The value, if this was the last owner.
    pub(crate) fn into_inner<T>(arc: Arc<T>) -> Option<T> {
        Arc::try_unwrap(arc).ok()
    }

    const ALIVE: u32 = 0xA11F_E001;
    const POISONED: u32 = 0xDEAD_DEAD;

    std::thread_local! {
        /// Markers that were made and not yet dropped. `std`'s, as it is bookkeeping and not part of the model: all
        /// threads of one model share it, and models that run side by side do not.
        static LIVE: Cell<isize> = const { Cell::new(0) };
    }

    /// The number of records with a marker that are alive: zero after all tables are gone and all garbage is
    /// freed, so a leaked record shows.
    pub fn live_records() -> isize {
        LIVE.get()
    }

    /// Begins to count anew, before each repetition of a model.
    pub fn reset_live_records() {
        LIVE.set(0);
    }

    /// Stands for the plain bytes of the record that it is a part of, as a cell that loom watches.
    #[derive(Debug)]
    pub struct Checked(loom::cell::UnsafeCell<u32>);

    // SAFETY: the cell is reached only through `wrote`, `read` and `drop`, and whether these are ordered
    // between threads is the very thing that loom checks on each access.
    unsafe impl Sync for Checked {}

    impl Checked {
        /// A marker for bytes that are being written.
        #[track_caller]
        pub fn new() -> Self {
            LIVE.set(LIVE.get() + 1);
            Checked(loom::cell::UnsafeCell::new(ALIVE))
        }

        /// The bytes were written, by a thread that has them for itself.
        #[track_caller]
        pub fn wrote(&self) {
            // SAFETY: loom panics before the closure runs if any other access is not ordered before this one.
            self.0.with_mut(|state| unsafe {
                assert_eq!(*state, ALIVE, "wrote into a record that was freed");
                *state = ALIVE;
            });
        }

        /// The bytes are about to be read.
        #[track_caller]
        pub fn read(&self) {
            // SAFETY: loom panics before the closure runs if a write is not ordered before this read.
            let state = self.0.with(|state| unsafe { *state });
            assert_eq!(state, ALIVE, "read a record that was freed");
        }
    }

    impl Default for Checked {
        fn default() -> Self {
            Checked::new()
        }
    }

    impl Drop for Checked {
        fn drop(&mut self) {
            LIVE.set(LIVE.get() - 1);
            // A model that already failed unwinds through here; a second panic would hide the first.
            if std::thread::panicking() {
                return;
            }
            // SAFETY: as in `wrote`. The write is what makes a later or unordered read fail.
            self.0.with_mut(|state| unsafe {
                assert_eq!(*state, ALIVE, "freed a record twice");
                *state = POISONED;
            });
        }
    }
}
