//! Epoch-based reclamation (crossbeam-epoch) with one collector of our own, driven by bytes.
//!
//! Left alone, crossbeam-epoch collects on every 128th outermost pin, at most 512 objects at a time, whatever
//! their size. A program that retires a kilobyte per pin falls behind, and one that pins rarely keeps its garbage.
//! So a thread gathers what it retires in a *batch* of its own. A batch of [`BATCH_BYTES`] or [`BATCH_OBJECTS`] is
//! handed to the collector as one deferred call, and the guard is flushed: that seals the thread's bag with the
//! current epoch, tries to advance the epoch and frees up to eight expired bags. Each flush adds one bag and may
//! free eight, so garbage stays within a few batches per thread as long as no guard stands still.
//!
//! Handing a batch over later than its objects were retired is sound: the epoch at that moment is the same or a
//! later one, and the guards that had to be waited for were pinned in the same or an earlier one.
//!
//! A batch comes back to the thread that retired it ([`inbox`](super::inbox)), or where there is no room, to a *backlog* of all threads. It is freed
//! from there bit by bit: each [`Guard::retire`] frees [`SHARE`] objects that are due. So nobody pays for what others have left, a reader least of
//! all, and the garbage still goes faster than it comes. What a thread holds back is below one batch, one that is half freed,
//! and those few that came back since. [`Guard::flush`] lets go of all of it at once, and so does the thread's end. The counters are
//! touched once per batch, not per object.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_epoch::{Collector, LocalHandle};

use super::Retired;
use super::inbox::Inbox;
use crate::mutant::planted;

/// A batch is handed over once it holds this many bytes.
const BATCH_BYTES: usize = 32 << 10;
/// Or this many objects; few where a sanitizer waits for those that are freed too early.
const BATCH_OBJECTS: usize = if cfg!(crossbeam_sanitize) { 1 } else { 256 };

/// So many objects that are due each retired one pays for: more than one, or the backlog would stay for ever.
const SHARE: usize = 2;

/// Handed to the collector, ever. Raised before the batch can be freed, so it never lags behind [`FREED`].
static RETIRED: AtomicU64 = AtomicU64::new(0);
/// Freed, ever. Raised after the batch was freed.
static FREED: AtomicU64 = AtomicU64::new(0);

/// All guards that are active began after this moment, in microseconds since [`moment`] was first asked. Raised by whatever is
/// freed to the moment when it was handed over: the guards of that time are gone.
static SETTLED: AtomicU64 = AtomicU64::new(0);
/// A probe for that is on its way.
static PROBING: AtomicBool = AtomicBool::new(false);

static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Batches that are due, for whom there was no room at home. Tried, never waited for.
static BACKLOG: Mutex<Vec<Batch>> = Mutex::new(Vec::new());
/// Whether there are any: a hint, for those who would try in vain.
static IS_BEHIND: AtomicBool = AtomicBool::new(false);

thread_local! {
    static PARTICIPANT: Participant = Participant::register();
}

/// What a thread has with the collector.
struct Participant {
    handle: LocalHandle,
    batch: RefCell<Batch>,
    /// Is being freed.
    due: RefCell<Batch>,
    inbox: Arc<Inbox<Batch>>,
}

impl Participant {
    #[cold]
    fn register() -> Self {
        Participant {
            handle: COLLECTOR.get_or_init(Collector::new).register(),
            batch: RefCell::default(),
            due: RefCell::default(),
            inbox: Arc::new(Inbox::new()),
        }
    }

    /// Frees a share of what is due.
    #[inline]
    fn free_share(&self) {
        let mut due = self.due.borrow_mut();
        for _ in 0..SHARE {
            if due.is_empty() {
                match self.inbox.take().next().or_else(of_backlog) {
                    Some(batch) => *due = batch,
                    None => return,
                }
            }
            due.free_one();
        }
    }

    /// Frees all that is due.
    fn free_due(&self) {
        self.due.take().free();
        self.inbox.take().for_each(Batch::free);
        while let Some(batch) = of_backlog() {
            batch.free();
        }
    }
}

impl Drop for Participant {
    /// At the thread's end nothing is held back.
    fn drop(&mut self) {
        let batch = self.batch.take();
        if !batch.is_empty() {
            batch.hand_over(&self.handle.pin(), None);
        }
        self.due.take().free();
        self.inbox.close().for_each(Batch::free);
    }
}

/// Objects that wait to be handed to the collector.
#[derive(Default)]
struct Batch {
    objects: Vec<Retired>,
    bytes: usize,
}

impl Batch {
    #[inline]
    fn push(&mut self, retired: Retired) {
        self.bytes += retired.bytes;
        self.objects.push(retired);
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.objects.len() >= BATCH_OBJECTS
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Defers the freeing of the whole batch, by the thread with this inbox if that is not too full, and lets the collector work.
    #[cold]
    fn hand_over(self, guard: &crossbeam_epoch::Guard, home: Option<Arc<Inbox<Batch>>>) {
        // Ordered before the bag that carries the batch is sealed, and so before any `FREED` that counts it.
        RETIRED.fetch_add(self.bytes as u64, Ordering::Release);
        let handed_over = moment();
        let due = move || {
            SETTLED.fetch_max(handed_over, Ordering::Relaxed);
            let left = match home {
                Some(home) => home.put(self).err(),
                None => Some(self),
            };
            if let Some(batch) = left.and_then(to_backlog) {
                batch.free();
            }
        };
        // SAFETY: the closure owns the objects and runs once, after all guards are gone that were active now, so
        // those too that were active at each retire. `Guard::retire` requires that any thread may free them.
        unsafe { guard.defer_unchecked(due) };
        guard.flush();
    }

    /// Frees one object: no guard is left that could reach any of them.
    #[inline]
    fn free_one(&mut self) {
        if let Some(retired) = self.objects.pop() {
            // SAFETY: the batch was handed over, and its deferred call came or is this one.
            unsafe { retired.free() };
        }
        if self.is_empty() {
            FREED.fetch_add(self.bytes as u64, Ordering::Release);
        }
    }

    /// Frees all of them.
    fn free(mut self) {
        while !self.is_empty() {
            self.free_one();
        }
    }
}

/// Puts a batch that is due into the backlog; gives it back if that is in somebody's hands.
fn to_backlog(batch: Batch) -> Option<Batch> {
    match BACKLOG.try_lock() {
        Ok(mut backlog) => {
            backlog.push(batch);
            IS_BEHIND.store(true, Ordering::Relaxed);
            None
        }
        Err(_) => Some(batch),
    }
}

/// Takes a batch out of the backlog.
#[inline]
fn of_backlog() -> Option<Batch> {
    if !IS_BEHIND.load(Ordering::Relaxed) {
        return None;
    }
    let mut backlog = BACKLOG.try_lock().ok()?;
    let batch = backlog.pop();
    IS_BEHIND.store(!backlog.is_empty(), Ordering::Relaxed);
    batch
}

/// Keeps everything alive that can be reached from now on, until it is dropped. Bound to its thread.
pub(crate) struct Guard {
    inner: crossbeam_epoch::Guard,
    /// Neither `Send` nor `Sync`, whatever the inner guard may be.
    _thread: PhantomData<*mut ()>,
}

/// Pins the current thread. A nested pin costs an increment, an outermost one a locked instruction on the
/// thread's own line.
#[inline]
pub(crate) fn pin() -> Guard {
    let inner = PARTICIPANT
        .try_with(|participant| participant.handle.pin())
        .unwrap_or_else(|_| pin_late());
    Guard {
        inner,
        _thread: PhantomData,
    }
}

/// The thread ends and its participant is gone: a registration for this one guard, which ends with it.
#[cold]
fn pin_late() -> crossbeam_epoch::Guard {
    COLLECTOR.get_or_init(Collector::new).register().pin()
}

/// Whether the current thread is that far in its end.
#[cfg(test)]
pub(super) fn participant_is_gone() -> bool {
    PARTICIPANT.try_with(|_| ()).is_err()
}

impl Guard {
    /// Frees `object` by `destroy` once no guard that is active now is left. `bytes` is what it holds in all.
    ///
    /// # Safety
    ///
    /// No guard that begins after this call can reach `object`, and it is retired once. `destroy(object)` is sound on
    /// any thread at any later time, frees memory and does nothing else (see the module).
    #[inline]
    pub(crate) unsafe fn retire(&self, object: *mut u8, destroy: unsafe fn(*mut u8), bytes: usize) {
        if planted("retired-never-freed") {
            return;
        }
        let gather = |participant: &Participant| {
            let mut batch = participant.batch.borrow_mut();
            batch.push(Retired {
                object,
                destroy,
                bytes,
            });
            let is_full = batch.is_full();
            drop(batch);
            if is_full {
                let home = Some(participant.inbox.clone());
                participant.batch.take().hand_over(&self.inner, home);
            }
            participant.free_share();
        };
        if PARTICIPANT.try_with(gather).is_err() {
            let mut batch = Batch::default();
            batch.push(Retired {
                object,
                destroy,
                bytes,
            });
            batch.hand_over(&self.inner, None);
        }
    }

    /// Frees `object` as soon as no guard that is active now is left, on whatever thread: it waits for none to come back to its work.
    ///
    /// # Safety
    ///
    /// As for [`Guard::retire`].
    pub(crate) unsafe fn defer(&self, object: *mut u8, destroy: unsafe fn(*mut u8)) {
        // SAFETY: by the contract.
        unsafe { self.inner.defer_unchecked(move || destroy(object)) };
    }

    /// Hands over what this thread holds back, tries to advance the epoch and frees some of what is due. What was
    /// retired just now needs two more advances, so it is free after about three unhindered calls.
    pub(crate) fn flush(&self) {
        let gathered = PARTICIPANT.try_with(|participant| participant.batch.take());
        match gathered {
            Ok(batch) if !batch.is_empty() => batch.hand_over(&self.inner, None),
            _ => self.inner.flush(),
        }
        let _ = PARTICIPANT.try_with(Participant::free_due);
    }
}

/// Bytes that were handed to the collector since the program began, over all tables. A thread holds back less
/// than one batch.
pub(crate) fn retired_bytes() -> u64 {
    RETIRED.load(Ordering::Acquire)
}

/// Bytes that were freed of these. Read it before [`retired_bytes`], then it is never the larger one.
pub(crate) fn freed_bytes() -> u64 {
    FREED.load(Ordering::Acquire)
}

/// Microseconds since this was first asked.
fn moment() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// No active guard is older than this. Tries to move the epoch on, so that it is near zero if there is none.
pub(crate) fn oldest_guard_age() -> Duration {
    // Two advances free what a third call collects; one more for a probe of earlier.
    const TRIES: usize = 6;
    for _ in 0..TRIES {
        let guard = pin();
        if !PROBING.swap(true, Ordering::AcqRel) {
            let sent = moment();
            // SAFETY: it touches nothing but statics, on whatever thread.
            unsafe {
                guard.inner.defer_unchecked(move || {
                    SETTLED.fetch_max(sent, Ordering::Relaxed);
                    PROBING.store(false, Ordering::Release);
                });
            }
        }
        guard.inner.flush();
    }
    Duration::from_micros(moment().saturating_sub(SETTLED.load(Ordering::Relaxed)))
}
