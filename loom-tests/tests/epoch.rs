//! What the table asks of the collector, on the real crossbeam-epoch: the models of the table run against an oracle in its stead.
//!
//! Loom can follow the collector's own steps only with two threads. Nothing is really freed here: what would be is written to,
//! and loom tells if that is not ordered after each read.

#![cfg(crossbeam_loom)]

use crossbeam_epoch::{Collector, Guard};
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::sync::atomic::{AtomicUsize as Count, Ordering::Relaxed};

const FREED: u32 = u32::MAX;

/// Two records, one of which is named.
struct Shared {
    named: AtomicUsize,
    records: [UnsafeCell<u32>; 2],
    freed: std::sync::Arc<Count>,
}

impl Shared {
    fn new(freed: &std::sync::Arc<Count>) -> Arc<Shared> {
        Arc::new(Shared {
            named: AtomicUsize::new(0),
            records: [UnsafeCell::new(7), UnsafeCell::new(8)],
            freed: freed.clone(),
        })
    }

    /// Reads the record that is named, under a guard.
    fn read(&self, _guard: &Guard) {
        let named = self.named.load(Ordering::Acquire);
        self.records[named].with(|record| {
            // SAFETY: loom fails the model if this is not ordered with each write.
            assert_ne!(unsafe { *record }, FREED);
        });
    }

    /// Names the second record instead of the first one.
    fn replace(&self) {
        self.named.store(1, Ordering::Release);
    }

    fn free_first(&self) {
        self.records[0].with_mut(|record| {
            // SAFETY: as for the read.
            unsafe { *record = FREED };
        });
        self.freed.fetch_add(1, Relaxed);
    }
}

/// Frees the first record once no guard is left that could have reached it.
fn defer(shared: &Arc<Shared>, guard: &Guard) {
    let shared = Arc::clone(shared);
    // SAFETY: the closure owns what it touches.
    unsafe { guard.defer_unchecked(move || shared.free_first()) };
    guard.flush();
}

/// One thread reads what is named, the other one runs `writer`; all interleavings within so many preemptions.
fn model(name: &str, preemptions: usize, writer: fn(&Arc<Shared>, &Collector)) {
    let (iterations, freed) = <(std::sync::Arc<Count>, std::sync::Arc<Count>)>::default();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    let counts = (iterations.clone(), freed.clone());
    builder.check(move || {
        let (iterations, freed) = &counts;
        iterations.fetch_add(1, Relaxed);
        let (collector, shared) = (Collector::new(), Shared::new(freed));
        let (there, seen) = (collector.clone(), Arc::clone(&shared));
        let reader = loom::thread::spawn(move || seen.read(&there.register().pin()));
        writer(&shared, &collector);
        reader.join().expect("it panics only with the model");
    });
    let (iterations, freed) = (iterations.load(Relaxed), freed.load(Relaxed));
    assert!(freed > 0, "nothing was ever freed");
    println!(
        "MODEL {name} threads=2 preemptions={preemptions} iterations={iterations} complete=true"
    );
}

/// What a guard could reach is not freed before it ends.
#[test]
fn epoch_a_guard_keeps_what_it_reached() {
    model(
        "epoch_a_guard_keeps_what_it_reached",
        2,
        |shared, collector| {
            let handle = collector.register();
            let guard = handle.pin();
            shared.replace();
            defer(shared, &guard);
            drop(guard);
            (0..3).for_each(|_| handle.pin().flush());
        },
    );
}

/// Nor if it is handed over under a later guard than the one under which it was unlinked, as batches are.
#[test]
fn epoch_what_is_handed_over_late_is_kept_as_well() {
    model(
        "epoch_what_is_handed_over_late_is_kept_as_well",
        2,
        |shared, collector| {
            let handle = collector.register();
            let guard = handle.pin();
            shared.replace();
            drop(guard);
            handle.pin().flush();
            defer(shared, &handle.pin());
            (0..3).for_each(|_| handle.pin().flush());
        },
    );
}

/// The models can fail: without the collector between, the free is found to race with the read.
#[test]
#[should_panic(expected = "Causality violation")]
fn what_is_freed_at_once_is_found() {
    model("unguarded", 2, |shared, _| {
        shared.replace();
        shared.free_first();
    });
}
