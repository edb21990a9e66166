//! The one place where what a model has to see is switched between `std` and `loom`.
//!
//! Decision words, mutexes and parking come from here. A normal build gets `std`; a build with `--cfg untorn_loom` gets
//! loom's counterparts. Counters that nothing is decided by stay with `std` in both.
//!
//! A mutex here does not poison: what it guards is never left half changed by code that could panic.
#![cfg_attr(untorn_loom, allow(dead_code))]

#[cfg(untorn_loom)]
pub(crate) use modelled::*;
#[cfg(not(untorn_loom))]
pub(crate) use plain::*;

#[cfg(not(untorn_loom))]
mod plain {
    use std::sync::PoisonError;
    use std::time::Instant;

    pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use std::thread::{Thread, current};

    /// `std`'s mutex without poison.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Parks until unparked, or until `instant` if there is one; may return for no reason.
    pub(crate) fn park_until(instant: Option<Instant>) {
        match instant {
            None => std::thread::park(),
            Some(instant) => {
                std::thread::park_timeout(instant.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// One step of waiting for another thread that is expected to be quick.
    pub(crate) fn spin() {
        std::hint::spin_loop();
    }
}

#[cfg(untorn_loom)]
mod modelled {
    use std::time::Instant;

    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::thread::{Thread, current};

    /// Loom's mutex without poison.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            match self.0.lock() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            }
        }
    }

    /// Time does not pass in a model: parks until unparked.
    pub(crate) fn park_until(_: Option<Instant>) {
        loom::thread::park();
    }

    pub(crate) fn spin() {
        loom::thread::yield_now();
    }
}
