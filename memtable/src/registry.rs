//! The registry of snapshots: which old instants are still being read.
//!
//! Each live snapshot owns a slot: a word that is free, *provisional* (at this segment or a later one) or exact. A slot's
//! owner alone writes it.
//!
//! * R1: a snapshot claims a slot with the clock it reads, then a `SeqCst` fence, then reads the clock again and ends that
//!   segment: that is its instant. Who trims reads the clock, then a fence, then the slots. So either he sees the slot, or the
//!   snapshot's instant is not below the clock that he read, and it needs nothing that he takes away.

use crate::clock::Clock;
use crate::mutant::planted;
use crate::reclaim::Guard;
use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::sync::{self, const_fn};
use std::ptr;

const FREE: u64 = 0;
const PROVISIONAL: u64 = 1 << 63;
const BLOCK: usize = if cfg!(untorn_loom) { 2 } else { 15 };

struct Block {
    slots: [AtomicU64; BLOCK],
    next: *mut Block,
}

pub(crate) struct Registry {
    blocks: AtomicPtr<Block>,
    /// How many snapshots were let go: debts that wait for one are worth another try.
    released: AtomicU64,
}

/// The place of one snapshot in the registry.
#[derive(Debug)]
pub(crate) struct Registration {
    slot: *const AtomicU64,
    /// The newest segment that the snapshot shows.
    pub(crate) segment: u64,
}

// SAFETY: the slot is an atomic that lives as long as the table (I8).
unsafe impl Send for Registration {}
// SAFETY: as above; nothing is done through a shared registration.
unsafe impl Sync for Registration {}

impl Registry {
    const_fn! {
        pub(crate) const fn new() -> Registry {
            Registry {
                blocks: AtomicPtr::new(ptr::null_mut()),
                released: AtomicU64::new(0),
            }
        }
    }

    /// Takes a snapshot of now, or, if `before_stages`, of the instant before the outermost open stage began.
    pub(crate) fn register(
        &self,
        clock: &Clock,
        before_stages: bool,
        guard: &Guard,
    ) -> Registration {
        let slot = self.claim(clock.now(guard).segment | PROVISIONAL);
        if !planted("snapshot-without-fence") {
            sync::atomic::fence(Ordering::SeqCst);
        }
        let segment = loop {
            let view = clock.now(guard);
            match view.marks.outermost_stage() {
                // What lies below an open stage is kept for its rollback, and nothing is stamped there any more. That the
                // stage is still open now, when the slot can be seen, is what makes it last.
                Some(outermost) if before_stages => {
                    let segment = outermost - 1;
                    slot.store(segment, Ordering::SeqCst);
                    sync::atomic::fence(Ordering::SeqCst);
                    if clock.now(guard) == view {
                        break segment;
                    }
                    slot.store(view.segment | PROVISIONAL, Ordering::Release);
                    sync::atomic::fence(Ordering::SeqCst);
                }
                _ => {
                    clock.tick(view, guard);
                    break view.segment;
                }
            }
        };
        slot.store(segment, Ordering::Release);
        Registration { slot, segment }
    }

    fn claim(&self, word: u64) -> &AtomicU64 {
        loop {
            let first = self.blocks.load(Ordering::Acquire);
            let mut block = first;
            // SAFETY: blocks live as long as the table (I8).
            while let Some(current) = unsafe { block.as_ref() } {
                for slot in &current.slots {
                    if slot.load(Ordering::Relaxed) == FREE
                        && slot
                            .compare_exchange(FREE, word, Ordering::AcqRel, Ordering::Relaxed)
                            .is_ok()
                    {
                        return slot;
                    }
                }
                block = current.next;
            }
            self.grow(first);
        }
    }

    fn grow(&self, next: *mut Block) {
        let block = Box::into_raw(Box::new(Block {
            slots: std::array::from_fn(|_| AtomicU64::new(FREE)),
            next,
        }));
        if self
            .blocks
            .compare_exchange(next, block, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: made here and never published.
            drop(unsafe { Box::from_raw(block) });
        }
    }

    pub(crate) fn release(&self, registration: &Registration) {
        // SAFETY: the slot lives as long as the table (I8).
        unsafe { &*registration.slot }.store(FREE, Ordering::Release);
        self.released.fetch_add(1, Ordering::Release);
    }

    /// How many snapshots were let go so far.
    pub(crate) fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Whether a live snapshot may be at one of the segments from `from` to before `to`. Only right after a fence that
    /// follows the reading of the clock (R1).
    pub(crate) fn any_within(&self, from: u64, to: u64) -> bool {
        if planted("snapshots-ignored") {
            return false;
        }
        let mut block = self.blocks.load(Ordering::Acquire);
        // SAFETY: blocks live as long as the table (I8).
        while let Some(current) = unsafe { block.as_ref() } {
            for slot in &current.slots {
                let needed = match slot.load(Ordering::Acquire) {
                    FREE => false,
                    word if word & PROVISIONAL != 0 => (word & !PROVISIONAL) < to,
                    segment => from <= segment && segment < to,
                };
                if needed {
                    return true;
                }
            }
            block = current.next;
        }
        false
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut block = sync::exclusive(&mut self.blocks);
        while !block.is_null() {
            // SAFETY: each block was boxed in `grow` and is freed once, here; the table outlives its snapshots.
            let current = unsafe { Box::from_raw(block) };
            block = current.next;
        }
    }
}
