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
    use std::io;
    use std::sync::PoisonError;
    use std::time::Instant;

    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::sync::{MutexGuard, OnceLock};
    pub(crate) use std::thread_local;

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

    /// `std`'s read-write lock without poison.
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> std::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> std::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Puts the thread that made it to sleep.
    #[derive(Debug)]
    pub(crate) struct Parker(std::thread::Thread);

    /// Wakes the thread of one [`Parker`].
    #[derive(Debug, Clone)]
    pub(crate) struct Unparker(std::thread::Thread);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(std::thread::current())
        }

        pub(crate) fn unparker(&self) -> Unparker {
            Unparker(self.0.clone())
        }

        /// Sleeps until woken, or until `instant` if there is one; may return for no reason.
        pub(crate) fn park_until(&self, instant: Option<Instant>) {
            match instant {
                None => std::thread::park(),
                Some(instant) => {
                    std::thread::park_timeout(instant.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            self.0.unpark();
        }
    }

    /// A thread of this crate's own.
    #[derive(Debug)]
    pub(crate) struct JoinHandle<T>(std::thread::JoinHandle<T>);

    pub(crate) fn spawn<T: Send + 'static>(
        name: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        builder.spawn(run).map(JoinHandle)
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn join(self) -> std::thread::Result<T> {
            self.0.join()
        }

        pub(crate) fn is_finished(&self) -> bool {
            self.0.is_finished()
        }

        /// Whether it is this thread that asks.
        pub(crate) fn is_current(&self) -> bool {
            self.0.thread().id() == std::thread::current().id()
        }
    }

    /// One step of waiting for another thread that is expected to be quick.
    pub(crate) fn spin() {
        std::hint::spin_loop();
    }

    /// A number for each thread, in the order in which they first ask.
    pub(crate) fn thread_number() -> usize {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        std::thread_local! {
            static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        NUMBER.try_with(|number| *number).unwrap_or_default()
    }

    /// How many threads can run at once.
    pub(crate) fn parallelism() -> usize {
        static THREADS: OnceLock<usize> = OnceLock::new();
        *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

#[cfg(untorn_loom)]
mod modelled {
    use std::io;
    use std::sync::{Arc, PoisonError};
    use std::time::Instant;

    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::thread_local;

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

    /// Loom's read-write lock without poison.
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> loom::sync::RwLockReadGuard<'_, T> {
            match self.0.read() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            }
        }

        pub(crate) fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            match self.0.write() {
                Ok(guard) => guard,
                Err(poisoned) => poisoned.into_inner(),
            }
        }
    }

    /// `std`'s, so that a reference may be handed out, behind words that loom sees.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_made: AtomicBool,
        making: Mutex<()>,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self {
                value: std::sync::OnceLock::new(),
                is_made: AtomicBool::new(false),
                making: Mutex::new(()),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            let is_made = self.is_made.load(Ordering::Acquire);
            self.value.get().filter(|_| is_made)
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let _alone = self.making.lock();
            let value = self.value.get_or_init(make);
            self.is_made.store(true, Ordering::Release);
            value
        }
    }

    /// Made of a mutex and a condition variable: loom's `unpark` also wakes a thread that waits for something else.
    #[derive(Debug)]
    pub(crate) struct Parker(Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>);

    #[derive(Debug, Clone)]
    pub(crate) struct Unparker(Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(Arc::new((
                loom::sync::Mutex::new(false),
                loom::sync::Condvar::new(),
            )))
        }

        pub(crate) fn unparker(&self) -> Unparker {
            Unparker(self.0.clone())
        }

        /// Time does not pass in a model: sleeps until woken.
        pub(crate) fn park_until(&self, _: Option<Instant>) {
            let (woken, bell) = &*self.0;
            let mut woken = woken.lock().unwrap_or_else(PoisonError::into_inner);
            while !*woken {
                woken = bell.wait(woken).unwrap_or_else(PoisonError::into_inner);
            }
            *woken = false;
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            let (woken, bell) = &*self.0;
            *woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
            bell.notify_one();
        }
    }

    /// A thread of the model that the code itself has started.
    #[derive(Debug)]
    pub(crate) struct JoinHandle<T> {
        thread: loom::thread::JoinHandle<T>,
        is_finished: Arc<AtomicBool>,
    }

    pub(crate) fn spawn<T: Send + 'static>(
        _: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let is_finished = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&is_finished);
        let thread = loom::thread::spawn(move || {
            let done = run();
            finished.store(true, Ordering::Release);
            done
        });
        Ok(JoinHandle {
            thread,
            is_finished,
        })
    }

    impl<T> JoinHandle<T> {
        pub(crate) fn join(self) -> std::thread::Result<T> {
            self.thread.join()
        }

        pub(crate) fn is_finished(&self) -> bool {
            self.is_finished.load(Ordering::Acquire)
        }

        pub(crate) fn is_current(&self) -> bool {
            self.thread.thread().id() == loom::thread::current().id()
        }
    }

    pub(crate) fn spin() {
        loom::thread::yield_now();
    }

    pub(crate) fn thread_number() -> usize {
        0
    }

    pub(crate) fn parallelism() -> usize {
        1
    }
}
