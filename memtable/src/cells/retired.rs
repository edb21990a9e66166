//! Cells that left their chain, until they are used again.
//!
//! A retired cell keeps its dead run, for whoever stands on it, until all guards of that time are gone. The collector must not
//! touch the table, which it may outlive, so its deferred step only sets a flag in a counted record. One thread at a time, by a
//! flag that is tried and never awaited, moves what came in to a queue, frees the runs of those whose flag is set, and hands
//! out the cells; who finds him at work takes a fresh cell.

use super::Cell;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::run::{self, Slot};
use crate::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use crate::sync::{self, Arc, const_fn};
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ptr;

/// A cell that was retired, and whether all guards of that time are gone.
struct Grave<S> {
    cell: *const Cell<S>,
    settled: Arc<AtomicBool>,
    older: *mut Grave<S>,
}

/// Private to the one who holds the flag.
struct Queue<S> {
    waiting: VecDeque<Box<Grave<S>>>,
    /// A free cell; each leads to the next one.
    free: *const Cell<S>,
}

pub(super) struct Retired<S> {
    incoming: AtomicPtr<Grave<S>>,
    held: AtomicBool,
    queue: UnsafeCell<Queue<S>>,
}

// SAFETY: `queue` is reached only by the holder of `held`; what it leads to belongs to the table.
unsafe impl<S> Send for Retired<S> {}
// SAFETY: as above.
unsafe impl<S> Sync for Retired<S> {}

impl<S: Slot> Retired<S> {
    const_fn! {
        pub(super) const fn new() -> Retired<S> {
            Retired {
                incoming: AtomicPtr::new(ptr::null_mut()),
                held: AtomicBool::new(false),
                queue: UnsafeCell::new(Queue {
                    waiting: VecDeque::new(),
                    free: ptr::null(),
                }),
            }
        }
    }

    /// Takes a cell whose run is dead.
    pub(super) fn bury(&self, cell: &Cell<S>, guard: &Guard) {
        let settled = Arc::new(AtomicBool::new(planted("cell-reused-at-once")));
        reclaim::after_grace(&settled, |flag| flag, guard);
        let grave = Box::into_raw(Box::new(Grave {
            cell,
            settled,
            older: ptr::null_mut(),
        }));
        let mut newest = self.incoming.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet.
            unsafe { (*grave).older = newest };
            // Release: the one who takes the list sees the grave.
            match self.incoming.compare_exchange(
                newest,
                grave,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => newest = now,
            }
        }
        self.hold(|_| ());
    }

    /// A cell that nobody else uses any more.
    pub(super) fn take(&self) -> Option<&Cell<S>> {
        self.hold(Queue::pop).flatten()
    }

    /// Gives back a cell that nobody else can reach.
    pub(super) fn give_back(&self, cell: &Cell<S>) {
        // One that comes while another is at work stays unused until the table goes.
        self.hold(|queue| queue.push(cell));
    }

    /// Does something with the queue after clearing it up, unless somebody else is at it.
    fn hold<R>(&self, f: impl FnOnce(&mut Queue<S>) -> R) -> Option<R> {
        let won = !self.held.load(Ordering::Relaxed)
            && self
                .held
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        won.then(|| {
            // SAFETY: the flag is ours.
            let queue = unsafe { &mut *self.queue.get() };
            queue.accept(self.incoming.swap(ptr::null_mut(), Ordering::Acquire));
            queue.clear_up();
            let result = f(queue);
            self.held.store(false, Ordering::Release);
            result
        })
    }
}

impl<S> Queue<S> {
    fn accept(&mut self, newest: *mut Grave<S>) {
        let at = self.waiting.len();
        let mut next = newest;
        while !next.is_null() {
            // SAFETY: boxed in `bury`; the whole list was taken, once.
            let grave = unsafe { Box::from_raw(next) };
            next = grave.older;
            self.waiting.insert(at, grave);
        }
    }

    fn clear_up(&mut self) {
        while let Some(grave) = self.waiting.front()
            && grave.settled.load(Ordering::Acquire)
        {
            // SAFETY: the cell left its chain, and all guards that could have met it are gone.
            let cell = unsafe { &*grave.cell };
            // SAFETY: as above; the dead run is the cell's alone.
            unsafe { run::destroy_with_fence::<S>(cell.0.load(Ordering::Relaxed)) };
            self.push(cell);
            self.waiting.pop_front();
        }
    }

    fn push(&mut self, cell: &Cell<S>) {
        cell.0.store(self.free.cast_mut().cast(), Ordering::Relaxed);
        self.free = cell;
    }

    fn pop<'t>(&mut self) -> Option<&'t Cell<S>> {
        // SAFETY: free cells lie in blocks of the table, which outlives the borrow that `take` makes of it.
        let cell = unsafe { self.free.as_ref() }?;
        self.free = cell.0.load(Ordering::Relaxed).cast::<Cell<S>>();
        cell.0.store(ptr::null_mut(), Ordering::Relaxed);
        Some(cell)
    }
}

impl<S> Drop for Retired<S> {
    fn drop(&mut self) {
        let incoming = sync::exclusive(&mut self.incoming);
        let queue = self.queue.get_mut();
        queue.accept(incoming);
        while let Some(grave) = queue.waiting.pop_front() {
            // SAFETY: the table is being dropped: nobody else can reach the cell, and its dead run is its own.
            unsafe { run::destroy_with_fence::<S>((*grave.cell).0.load(Ordering::Relaxed)) };
        }
    }
}
