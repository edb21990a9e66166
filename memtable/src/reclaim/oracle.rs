//! The collector of the model build: it frees at the first moment that the contract of reclamation allows.
//!
//! It remembers which guards are active and, for each retired object, which guards were active then; when the last
//! of these ends, the object is destroyed on the spot. That is the most hostile collector that is still a
//! legal one, so a model that passes on it does not live on the laziness of epochs.
//!
//! *State.* The lists are in a `std` mutex, which loom does not see and which is never held across a loom operation.
//! One loom atomic is bumped with `AcqRel` by every pin, retire and unpin, which gives exactly the order that
//! a collector has to give: a use before an unpin comes before the free that it allowed. The state belongs to one
//! repetition of a model: loom's `lazy_static` makes a new one each time.
//!
//! *Limits.* The bump orders pins among each other more strongly than epochs do. So a model should write its
//! nodes after it pinned, or a forgotten `Release` may hide behind a later pin.

use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::Retired;

loom::lazy_static! {
    static ref ORACLE: Oracle = Oracle::new();
}

struct Oracle {
    bump: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_guard: usize,
    active: Vec<usize>,
    waiting: Vec<Waiting>,
    retired_bytes: u64,
    freed_bytes: u64,
}

struct Waiting {
    retired: Retired,
    guards: Vec<usize>,
}

// SAFETY: a retired object may be destroyed on any thread, which `Guard::retire` asks for.
unsafe impl Send for Waiting {}

impl Oracle {
    fn new() -> Self {
        Oracle {
            bump: AtomicUsize::new(0),
            state: Mutex::new(State::default()),
        }
    }

    /// The order between pins, retires and unpins, and a point where loom may switch threads.
    fn bump(&self) {
        self.bump.fetch_add(1, Ordering::AcqRel);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self) -> usize {
        self.next_guard += 1;
        self.active.push(self.next_guard);
        self.next_guard
    }

    /// Ends a guard and takes out what waited for it alone.
    fn end(&mut self, guard: usize) -> Vec<Retired> {
        self.active.retain(|active| *active != guard);
        let mut due = Vec::new();
        let mut index = 0;
        while index < self.waiting.len() {
            let waiting = &mut self.waiting[index];
            waiting.guards.retain(|other| *other != guard);
            if waiting.guards.is_empty() {
                due.push(self.waiting.swap_remove(index).retired);
            } else {
                index += 1;
            }
        }
        due
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.active.is_empty(), "a guard outlived the model");
            assert!(self.waiting.is_empty(), "garbage outlived all guards");
        }
    }
}

/// Makes the state of this repetition. A model calls it before it spawns, or the thread that comes first would make it
/// and thereby be ordered before the others.
pub fn prepare() {
    drop(ORACLE.state());
}

fn free(due: Vec<Retired>) {
    for retired in due {
        let bytes = retired.bytes as u64;
        // SAFETY: `end` found no guard left that was active when it was retired, and took it out of the list.
        unsafe { retired.free() };
        ORACLE.state().freed_bytes += bytes;
    }
}

/// Keeps everything alive that can be reached from now on, until it is dropped. Bound to its thread.
pub struct Guard {
    id: usize,
    _thread: PhantomData<*mut ()>,
}

/// Begins a guard.
pub fn pin() -> Guard {
    ORACLE.bump();
    Guard {
        id: ORACLE.state().begin(),
        _thread: PhantomData,
    }
}

impl Guard {
    /// Frees `object` by `destroy` once no guard that is active now is left. `bytes` is what it holds in all.
    ///
    /// # Safety
    ///
    /// As for the collector of the normal build.
    pub unsafe fn retire(&self, object: *mut u8, destroy: unsafe fn(*mut u8), bytes: usize) {
        ORACLE.bump();
        let mut state = ORACLE.state();
        let twice = state
            .waiting
            .iter()
            .any(|waiting| waiting.retired.object == object);
        if twice {
            drop(state);
            panic!("retired twice: {object:p}");
        }
        let guards = state.active.clone();
        state.retired_bytes += bytes as u64;
        state.waiting.push(Waiting {
            retired: Retired {
                object,
                destroy,
                bytes,
            },
            guards,
        });
    }

    /// # Safety
    ///
    /// As for the collector of the normal build.
    pub unsafe fn defer(&self, object: *mut u8, destroy: unsafe fn(*mut u8)) {
        // SAFETY: by the contract.
        unsafe { self.retire(object, destroy, 0) };
    }

    /// Nothing is held back here.
    pub fn flush(&self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A model that failed unwinds through here, perhaps outside of loom: touch nothing.
        if std::thread::panicking() {
            return;
        }
        ORACLE.bump();
        let due = ORACLE.state().end(self.id);
        free(due);
    }
}

/// Bytes that were retired in this repetition.
pub fn retired_bytes() -> u64 {
    ORACLE.state().retired_bytes
}

/// Bytes that were freed of these.
pub fn freed_bytes() -> u64 {
    ORACLE.state().freed_bytes
}
