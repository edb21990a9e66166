//! The memory hook: told when the buffer has grown or shrunk by a block.
//!
//! While a hook is set the table counts what it holds as it goes. Each operation that may have
//! changed it looks, when all else is done and no lock is held, how far the count is from what was
//! reported last; whoever finds a block or more and wins the exchange of that word calls the hook,
//! in his own thread. So a total is reported once, totals of several threads may arrive out of
//! order, and a hook that panics does so after the fact.
//!
//! | word | changed by | read by |
//! |---|---|---|
//! | whether there ever was a hook | the first `set_memory_hook` | every operation, one load |
//! | which hook | `set_memory_hook`, one swap | every operation, once there was one |
//! | reported total, one for each hook | who calls the hook, before that | every operation |
//!
//! A hook that was replaced may still be running, or be about to run, when the swap returns.

use super::{Inner, MemBuffer};
use crate::sync::{self, OnceLock};
use arc_swap::ArcSwapOption;
use std::cell::RefCell;
use std::sync::Arc;
// Reached by way of the swap, which a model cannot see, so `std`'s there too.
use std::sync::atomic::{AtomicUsize, Ordering};

/// The hook is called when the total is this many bytes from what it was told last.
pub const MEMORY_BLOCK: usize = 4096;

/// Where the hook is. Made with the first one, so that who has none pays for none.
#[derive(Default)]
pub(super) struct HookSlot(OnceLock<Box<ArcSwapOption<Hook>>>);

impl HookSlot {
    pub(super) fn is_set(&self) -> bool {
        self.0.get().is_some_and(|hook| hook.load().is_some())
    }

    /// Sets a hook that knows of `total`. The one before is to be dropped with no lock held: it may own a stage or savepoint of
    /// this buffer.
    pub(super) fn set(
        &self,
        hook: impl Fn(usize) + Send + Sync + 'static,
        total: usize,
    ) -> Option<Arc<Hook>> {
        let hook = Arc::new(Hook {
            call: Box::new(hook),
            reported: AtomicUsize::new(total),
        });
        self.0.get_or_init(Box::default).swap(Some(hook))
    }

    pub(super) fn clear(&self) {
        if let Some(hook) = self.0.get() {
            hook.store(None);
        }
    }

    /// Calls the hook if it is due. At the end of an operation, with no lock held.
    #[inline]
    pub(super) fn report(&self, total: impl FnOnce() -> usize) {
        // Set while no write was under way, so who wrote afterwards sees it.
        if let Some(hook) = self.0.get() {
            report_to(hook, total);
        }
    }
}

#[cold]
fn report_to(slot: &ArcSwapOption<Hook>, total: impl FnOnce() -> usize) {
    if slot.load().is_none() {
        return;
    }
    let total = total();
    // Owned for the call, so that a replacement does not wait for it.
    if let Some(hook) = slot.load_full()
        && let Some(_running) = Running::begin(std::ptr::from_ref(slot).addr())
        && hook.takes(total)
    {
        (hook.call)(total);
    }
}

pub(super) struct Hook {
    call: Box<dyn Fn(usize) + Send + Sync>,
    reported: AtomicUsize,
}

impl Hook {
    /// Whether `total` is to be reported, by this caller.
    fn takes(&self, total: usize) -> bool {
        let reported = self.reported.load(Ordering::Relaxed);
        // Relaxed: of those that would report, one wins; nothing is read by way of the word.
        total.abs_diff(reported) >= MEMORY_BLOCK
            && self
                .reported
                .compare_exchange(reported, total, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

sync::thread_local! {
    /// The buffers whose hooks this thread is in.
    static RUNNING: RefCell<Vec<usize>> = RefCell::default();
}

/// That this thread is in the hook of a buffer, until it is dropped.
struct Running;

impl Running {
    /// `None` if it is already, or does not know any more: its locals are being dropped.
    fn begin(buffer: usize) -> Option<Running> {
        let begun = RUNNING.try_with(|running| {
            let mut running = running.borrow_mut();
            let new = !running.contains(&buffer);
            new.then(|| running.push(buffer))
        });
        begun.ok().flatten().map(|()| Running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Dropped in the frame that began it, where the local was there.
        let _ = RUNNING.try_with(|running| running.borrow_mut().pop());
    }
}

impl MemBuffer {
    /// Sets a hook that is called with the new total, in bytes, after an operation by which the
    /// buffer grew or shrank by [a block](MEMORY_BLOCK) since the last call. Replaces the one
    /// before; one that is running in another thread runs on.
    ///
    /// It is called in the thread of the operation, when that is complete and no lock is held, and
    /// may use the buffer; its own writes do not call it again. If it panics, the panic comes out of
    /// that operation, which has taken effect. Shrinkage is reported by the next operation, never
    /// by a drop. The total is about that of [`memory`](Self::memory): exact for keys and values, with
    /// the allocator's rounding, and a flat share of the index for each key, but without what is noted for stages and savepoints: some
    /// 50 bytes for each key that is written in one.
    ///
    /// Costs a walk over what was written before, with the writers shut out, and from then on one
    /// word that writers share.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    /// use untorn_txn::MemBuffer;
    ///
    /// let buffer = MemBuffer::new();
    /// let used = Arc::new(AtomicUsize::new(0));
    /// let tracker = used.clone();
    /// buffer.set_memory_hook(move |total| tracker.store(total, Ordering::Relaxed));
    /// buffer.set("key", [0; 10_000])?;
    /// assert!(used.load(Ordering::Relaxed) >= 10_000);
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    pub fn set_memory_hook(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        let inner = self.inner();
        // So that no write is half counted.
        let shut = inner.shut();
        let table = inner.table.load();
        table.count_held_bytes();
        let replaced = inner.hook.set(hook, table.held_bytes());
        drop(shut);
        drop(replaced);
    }

    /// Whether a hook is set.
    pub fn has_memory_hook(&self) -> bool {
        self.made().is_some_and(|inner| inner.hook.is_set())
    }

    /// Takes the hook away.
    pub fn clear_memory_hook(&self) {
        if let Some(inner) = self.made() {
            inner.hook.clear();
        }
    }

    /// [`Inner::report_memory`].
    pub(crate) fn report_memory(&self) {
        if let Some(inner) = self.made() {
            inner.report_memory();
        }
    }
}

impl Inner {
    /// Calls the hook if it is due. At the end of an operation, with no lock held.
    #[inline]
    pub(super) fn report_memory(&self) {
        self.hook.report(|| self.table.load().held_bytes());
    }
}
