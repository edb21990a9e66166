//! The gate between writes and what changes their rules.
//!
//! Writers pass it together, each for the length of one write; whoever changes the rules shuts it, which waits for the writers
//! inside and holds off those who come. So the rules stand still for a writer, and who has it shut is alone with them.
//!
//! A *door* is one word: how many writers are inside that came through it, and a bit that says it is shut. A gate begins with
//! one. The first writer who finds another one inside adds more, each on a line of its own, and from then on threads have
//! different doors; so a buffer of one thread is small, and threads that write together do not fight over a line.
//!
//! | word | changed by | pairs with |
//! |---|---|---|
//! | a door's count | a writer who comes (Acquire) and goes (Release) | who shut the door reads zero (Acquire): all that was done inside is done |
//! | a door's bit | who shuts it (AcqRel) and opens it (Release), one at a time: he holds `kept` | a writer who comes: what was changed meanwhile is seen |
//! | `more` | a writer inside, once | who has the first door shut and empty: none is added any more |
//! | `sleeper` | who waits for a door to empty, before his last look at it | the last writer to leave a shut door, after he left |
//!
//! * G1: coming is one addition. Who finds that the door was shut goes out again, and waits for `kept`; while he has it nobody
//!   shuts a door, so he comes in then, however many want to shut it.
//! * G2: the first door is shut and empty before the others are looked for. A writer adds doors while he is inside, so there is
//!   none that the others would miss.
//! * G3: who waits for a door says so before his last look at it, and who leaves looks for him after he left. One of the two sees
//!   the other.

use crate::mutant::planted;
use crate::sync::{self, AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, Parker, Unparker};
use crossbeam_utils::CachePadded;
use std::ops::{Deref, DerefMut};

/// A gate before the rules `R`. What only matters to those who change them is `K`.
#[derive(Debug, Default)]
pub struct Gate<R, K> {
    rules: R,
    kept: Mutex<K>,
    first: Door,
    more: OnceLock<Box<[CachePadded<Door>]>>,
    sleeper: Mutex<Option<Unparker>>,
}

#[derive(Debug, Default)]
struct Door(AtomicU64);

const SHUT: u64 = 1 << 63;

/// Looks at a door before going to sleep: about as long as a write takes.
const LOOKS: u32 = if cfg!(untorn_loom) { 0 } else { 64 };

/// Leave to write by the rules, which stand still while it lives. A thread has one at a time.
#[derive(Debug)]
pub struct Inside<'g, R, K> {
    gate: &'g Gate<R, K>,
    door: &'g Door,
}

/// Nobody is inside while it lives.
#[derive(Debug)]
pub struct Shut<'g, R, K> {
    gate: &'g Gate<R, K>,
    kept: MutexGuard<'g, K>,
}

impl<R, K> Gate<R, K> {
    /// Open.
    pub fn new(rules: R, kept: K) -> Self {
        Gate {
            rules,
            kept: Mutex::new(kept),
            first: Door::default(),
            more: OnceLock::new(),
            sleeper: Mutex::default(),
        }
    }

    /// Comes in, as soon as the gate is open.
    #[inline]
    pub fn enter(&self) -> Inside<'_, R, K> {
        let door = match self.more.get() {
            None => &self.first,
            Some(more) => &more[sync::thread_number() % more.len()],
        };
        let before = door.0.fetch_add(1, Ordering::Acquire);
        if before & SHUT == 0 || planted("gate-door-not-looked-at") {
            if before != 0 {
                self.more.get_or_init(doors);
            }
            return Inside { gate: self, door };
        }
        self.enter_late(door)
    }

    #[cold]
    fn enter_late<'g>(&'g self, door: &'g Door) -> Inside<'g, R, K> {
        self.leave(door);
        let _open = self.kept.lock();
        // Acquire is the mutex's.
        door.0.fetch_add(1, Ordering::Relaxed);
        Inside { gate: self, door }
    }

    #[inline]
    fn leave(&self, door: &Door) {
        let last = SHUT | 1;
        let release = match planted("gate-left-relaxed") {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        if door.0.fetch_sub(1, release) == last {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if let Some(sleeper) = self.sleeper.lock().take() {
            sleeper.unpark();
        }
    }

    /// Shuts it, when nobody else has it shut, and waits until all who are inside have left.
    pub fn shut(&self) -> Shut<'_, R, K> {
        let kept = self.kept.lock();
        let too_early = planted("gate-doors-counted-early").then(|| self.more.get());
        self.empty(&self.first);
        let more = too_early.unwrap_or_else(|| self.more.get());
        more.into_iter().flatten().for_each(|door| self.empty(door));
        Shut { gate: self, kept }
    }

    /// Shuts a door and waits until it is empty.
    fn empty(&self, door: &Door) {
        let is_empty = || door.0.load(Ordering::Acquire) == SHUT;
        if door.0.fetch_or(SHUT, Ordering::AcqRel) == 0 || planted("gate-not-waited") {
            return;
        }
        for _ in 0..LOOKS {
            if is_empty() {
                return;
            }
            sync::spin();
        }
        loop {
            let parker = Parker::new();
            *self.sleeper.lock() = Some(parker.unparker());
            if is_empty() && !planted("gate-sleeps-unseen") {
                self.sleeper.lock().take();
                return;
            }
            parker.park_until(None);
        }
    }
}

/// One for each thread that can run, up to 16.
fn doors() -> Box<[CachePadded<Door>]> {
    (0..sync::parallelism().min(16))
        .map(|_| CachePadded::default())
        .collect()
}

impl<R, K> Deref for Inside<'_, R, K> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.gate.rules
    }
}

impl<R, K> Drop for Inside<'_, R, K> {
    fn drop(&mut self) {
        self.gate.leave(self.door);
    }
}

impl<R, K> Shut<'_, R, K> {
    /// The rules, which nobody looks at meanwhile.
    pub fn rules(&self) -> &R {
        &self.gate.rules
    }
}

impl<R, K> Deref for Shut<'_, R, K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.kept
    }
}

impl<R, K> DerefMut for Shut<'_, R, K> {
    fn deref_mut(&mut self) -> &mut K {
        &mut self.kept
    }
}

impl<R, K> Drop for Shut<'_, R, K> {
    /// Before `kept` is let go: who has it finds every door open (G1).
    fn drop(&mut self) {
        let more = self.gate.more.get().into_iter().flatten();
        for door in more.map(|door| &**door).chain([&self.gate.first]) {
            door.0.fetch_and(!SHUT, Ordering::Release);
        }
    }
}
