//! Cells: the mutable words of the chain, and the blocks in which they lie.
//!
//! A cell is one atomic pointer to a run. Cells are packed densely, 8 to a cache line, so that those of a whole table stay in
//! the processor's second-level cache. Blocks are never freed before the table: a reference to a cell is always valid, and no
//! cell is read without a guard's protection. A cell that left its chain is used again when no guard is left under which
//! somebody could stand on it ([`retired`]); so is one that was taken for a split that lost its race.
//!
//! One word names the cell of the *last* leaf, if that was split off by keys in ascending order: the next of them most likely
//! belongs there. It is a hint, like a lane: late, or of a leaf that is dead or no longer the last. It is set before the leaf is listed
//! in the lane above, and cleared before its cell is retired; a leaf dies only after it was listed (C6), so it never names a cell
//! that was retired.

mod retired;

use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::run::{Run, RunRef, Slot};
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sync::const_fn;
use std::ptr;

use retired::Retired;

/// One leaf (or lane run): a pointer to its current run. Null only in the first cell of an empty chain.
#[repr(transparent)]
pub(crate) struct Cell<S>(AtomicPtr<Run<S>>);

impl<S: Slot> Cell<S> {
    const_fn! {
        pub(crate) const fn empty() -> Cell<S> {
            Cell(AtomicPtr::new(ptr::null_mut()))
        }
    }

    /// Acquire: pairs with [`Cell::install`], so that the run's bytes and all entries in it are seen.
    pub(crate) fn load<'g>(&self, _guard: &'g Guard) -> Option<RunRef<'g, S>> {
        // SAFETY: a run is retired only after it was replaced in its cell (I4).
        unsafe { RunRef::new(self.0.load(Ordering::Acquire)) }
    }

    /// Puts `new` in place of `old`; the whole of an insert, a split, a removal.
    pub(crate) fn install(&self, old: *mut Run<S>, new: *mut Run<S>) -> bool {
        let order = if planted("relaxed-install") {
            Ordering::Relaxed
        } else {
            // Release publishes the run and the entries in it; Acquire is for the fence that follows.
            Ordering::AcqRel
        };
        self.0
            .compare_exchange(old, new, order, Ordering::Relaxed)
            .is_ok()
    }

    /// Fills a cell that nobody can reach yet; the install of the left half publishes it.
    pub(crate) fn fill(&self, run: *mut Run<S>) {
        self.0.store(run, Ordering::Relaxed);
    }

    /// The run, for the table's drop.
    pub(crate) fn take(&mut self) -> *mut Run<S> {
        let run = self.0.load(Ordering::Relaxed);
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
        run
    }
}

const FIRST_BLOCK: usize = 8;
const LAST_BLOCK: usize = 1024;

struct Block<S> {
    older: *mut Block<S>,
    used: AtomicUsize,
    cells: Box<[Cell<S>]>,
}

/// The cells of all chains of one kind.
pub(crate) struct Cells<S> {
    /// Before the blocks, in which they lie.
    retired: Retired<S>,
    blocks: Blocks<S>,
    last: AtomicPtr<Cell<S>>,
}

impl<S: Slot> Cells<S> {
    const_fn! {
        pub(crate) const fn new() -> Cells<S> {
            Cells {
                retired: Retired::new(),
                blocks: Blocks { newest: AtomicPtr::new(ptr::null_mut()) },
                last: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Bytes of all blocks.
    pub(crate) fn allocated(&self) -> usize {
        self.blocks.allocated()
    }

    /// A cell that nobody else uses.
    pub(crate) fn take(&self) -> &Cell<S> {
        self.retired.take().unwrap_or_else(|| self.blocks.take())
    }

    /// The cell of the last leaf, if keys come in ascending order.
    #[inline]
    pub(crate) fn last<'t>(&'t self, _guard: &Guard) -> Option<&'t Cell<S>> {
        // SAFETY: cells live as long as the table (I3). Acquire: the block was made by another thread.
        unsafe { self.last.load(Ordering::Acquire).as_ref() }
    }

    /// Names the cell of a leaf that was split off at the end and is not listed yet.
    pub(crate) fn set_last(&self, cell: &Cell<S>) {
        let cell = ptr::from_ref(cell).cast_mut();
        self.last.store(cell, Ordering::Release);
    }

    /// Gives back a cell that was never published.
    pub(crate) fn give_back(&self, cell: &Cell<S>) {
        self.retired.give_back(cell);
    }

    /// Gives back a cell with its dead run and the fence where it began.
    ///
    /// # Safety
    /// No guard that begins now can reach the cell, and it is retired once.
    pub(crate) unsafe fn retire(&self, cell: &Cell<S>, guard: &Guard) {
        let named = ptr::from_ref(cell).cast_mut();
        if !planted("last-leaf-named-after-its-retire") {
            // Losing means that it names another one.
            let _ = self.last.compare_exchange(
                named,
                ptr::null_mut(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
        self.retired.bury(cell, guard);
    }
}

struct Blocks<S> {
    newest: AtomicPtr<Block<S>>,
}

impl<S: Slot> Blocks<S> {
    fn take(&self) -> &Cell<S> {
        loop {
            let newest = self.newest.load(Ordering::Acquire);
            // SAFETY: blocks live as long as we do.
            let length = match unsafe { newest.as_ref() } {
                Some(block) => {
                    if block.used.load(Ordering::Relaxed) < block.cells.len() {
                        let at = block.used.fetch_add(1, Ordering::Relaxed);
                        if let Some(cell) = block.cells.get(at) {
                            return cell;
                        }
                    }
                    (block.cells.len() * 2).min(LAST_BLOCK)
                }
                None => FIRST_BLOCK,
            };
            self.grow(newest, length);
        }
    }

    fn allocated(&self) -> usize {
        let mut bytes = 0;
        let mut block = self.newest.load(Ordering::Acquire);
        // SAFETY: blocks live as long as we do.
        while let Some(current) = unsafe { block.as_ref() } {
            bytes += size_of::<Block<S>>() + size_of_val(&*current.cells);
            block = current.older;
        }
        bytes
    }

    fn grow(&self, newest: *mut Block<S>, length: usize) {
        let block = Box::into_raw(Box::new(Block {
            older: newest,
            used: AtomicUsize::new(0),
            cells: (0..length).map(|_| Cell::empty()).collect(),
        }));
        if self
            .newest
            .compare_exchange(newest, block, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: made here and never published.
            drop(unsafe { Box::from_raw(block) });
        }
    }
}

impl<S> Drop for Blocks<S> {
    fn drop(&mut self) {
        let mut block = self.newest.load(Ordering::Relaxed);
        while !block.is_null() {
            // SAFETY: each block was boxed in `grow` and is freed once, here; nobody else can reach it.
            let current = unsafe { Box::from_raw(block) };
            block = current.older;
        }
    }
}
