//! Stands for [`arc_swap`](https://docs.rs/arc-swap) in a model build: one word that says which of several counted values is the
//! current one.
//!
//! *Orders.* The word is loaded and exchanged as arc-swap does it, `SeqCst`, which loom takes for `Acquire` and `AcqRel`: a load sees what
//! was written before the exchange that made the value, and may find an older value than the newest. The total order over all
//! exchanges and loads, which arc-swap promises, is not given; a fence would order more than that. A guard that ends is
//! ordered before the end of the value, as by the count of an `Arc`. Nothing else is ordered.
//!
//! *Ends.* A value ends with the exchange that replaces it, or with the last guard of it, as in arc-swap. An older value is found
//! only while a guard of it lives: one that had ended is none that arc-swap gives out.
//!
//! *State.* The values are in a `std` mutex, which loom does not see and which is never held across a loom operation. So
//! nothing comes between an access of the word and what is done to the values right after.

use super::Arc;
use super::atomic::{AtomicUsize, Ordering};
use std::ops::Deref;
use std::sync::{self, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) struct ArcSwap<T> {
    /// The number of the current value.
    word: AtomicUsize,
    /// Written before each access of the word, with no order: loom forgets who has loaded a word once another thread loads it, too, before
    /// it exchanges it, and so does each who exchanges (tokio-rs/loom#166).
    accesses: AtomicUsize,
    values: Mutex<Values<T>>,
}

struct Values<T> {
    current: sync::Arc<Kept<T>>,
    /// By number; there for as long as they are current or a guard of them lives.
    all: Vec<Weak<Kept<T>>>,
}

struct Kept<T> {
    number: usize,
    value: Arc<T>,
}

/// A value that was the current one.
pub(crate) struct Guard<T> {
    // Let go first, so that it is ordered before the end of the value.
    value: Arc<T>,
    kept: sync::Arc<Kept<T>>,
}

impl<T> Guard<T> {
    fn new(kept: sync::Arc<Kept<T>>) -> Guard<T> {
        Guard {
            value: kept.value.clone(),
            kept,
        }
    }
}

impl<T> Deref for Guard<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
        let value = Arc::new(value);
        let current = sync::Arc::new(Kept { number: 0, value });
        ArcSwap {
            word: AtomicUsize::new(0),
            accesses: AtomicUsize::new(0),
            values: Mutex::new(Values {
                all: vec![sync::Arc::downgrade(&current)],
                current,
            }),
        }
    }

    fn values(&self) -> MutexGuard<'_, Values<T>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn load(&self) -> Guard<T> {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        let number = self.word.load(Ordering::SeqCst);
        let found = self.values().all[number].upgrade();
        Guard::new(found.unwrap_or_else(|| {
            // A read-modify-write finds the newest.
            self.word.fetch_add(0, Ordering::Acquire);
            self.values().current.clone()
        }))
    }

    pub(crate) fn compare_and_swap(&self, current: &Arc<T>, new: Arc<T>) -> Guard<T> {
        let mut values = self.values();
        let new = sync::Arc::new(Kept {
            number: values.all.len(),
            value: new,
        });
        values.all.push(sync::Arc::downgrade(&new));
        drop(values);
        loop {
            let old = self.load();
            if !Arc::ptr_eq(&old, current) {
                return old;
            }
            self.accesses.fetch_add(1, Ordering::Relaxed);
            let exchanged = self.word.compare_exchange(
                old.kept.number,
                new.number,
                Ordering::SeqCst,
                Ordering::Relaxed,
            );
            if exchanged.is_ok() {
                let replaced = std::mem::replace(&mut self.values().current, new);
                drop(replaced);
                return old;
            }
        }
    }

    pub(crate) fn rcu(&self, mut update: impl FnMut(&Arc<T>) -> T) {
        let mut current = self.load();
        loop {
            let found = self.compare_and_swap(&current, Arc::new(update(&current)));
            if Arc::ptr_eq(&found, &current) {
                return;
            }
            current = found;
        }
    }
}
