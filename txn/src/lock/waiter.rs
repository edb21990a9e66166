//! One call that waits: its word, which decides how the wait ends, and its slot, which says whom to wake and why it
//! failed. The states and their transitions are in the opening comment of [`lock`](super).
//!
//! The word, low bits first: three bits of state; for `GRANTED`, one bit that says that the owner held the key before;
//! from bit 32 on, how many calls were left in the queue.

use crate::wake::wake;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::request::{LockMode, OwnerId};
use super::{LockError, WaitEdge};
use crate::sync::{AtomicU64, Mutex, Ordering, Unparker};

const WAITING: u64 = 0;
const GRANTED: u64 = 1;
const TIMED_OUT: u64 = 2;
const TOO_LATE: u64 = 3;
const VICTIM: u64 = 4;
const CANCELLED: u64 = 5;
const STATE: u64 = 0b111;
const ALREADY_HELD: u64 = 1 << 3;
const WAITERS_SHIFT: u32 = 32;

/// Why a wait failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The wait budget ended; these stood in the way.
    TimedOut(Vec<OwnerId>),
    /// The deadline came; these stood in the way.
    TooLate(Vec<OwnerId>),
    /// Chosen to break this cycle.
    Victim(Vec<WaitEdge>),
    /// Withdrawn by its own side.
    Cancelled,
}

impl Failure {
    fn state(&self) -> u64 {
        match self {
            Self::TimedOut(_) => TIMED_OUT,
            Self::TooLate(_) => TOO_LATE,
            Self::Victim(_) => VICTIM,
            Self::Cancelled => CANCELLED,
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted { already_held: bool, waiters: usize },
    Failed(Failure),
}

/// Whom to wake.
#[derive(Debug, Default)]
enum Wake {
    #[default]
    Nobody,
    Task(Waker),
    Parked(Unparker),
}

#[derive(Debug, Default)]
struct Slot {
    wake: Wake,
    failure: Option<Failure>,
}

/// What ends a wait when its time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Budget,
    Deadline,
}

/// One waiting call. Shared between the call, the key's queue, the wait-for graph and the timer.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) owner: OwnerId,
    pub(crate) attempt: u64,
    pub(crate) mode: LockMode,
    pub(crate) key: Bytes,
    pub(crate) since: Instant,
    /// When the wait ends by itself, and what then ended it.
    pub(crate) ends: Option<(Instant, Limit)>,
    /// Place in the key's queue, for finding it there. Read and written with the key's shard locked.
    pub(super) ticket: std::sync::atomic::AtomicI64,
    /// Another call of its owner waits, or has waited, while this one does. See [`Self::has_sibling`].
    sibling: std::sync::atomic::AtomicBool,
    /// As `sibling`, for the same key.
    repeat: std::sync::atomic::AtomicBool,
    /// The timer's entry for this call, if it has one. Read and written with the timer locked.
    pub(super) armed: std::sync::Mutex<Option<super::timer::Place>>,
    /// What the timer's entry is for, among others.
    pub(super) is_search_due: std::sync::atomic::AtomicBool,
    /// It stands among those that are searched for next. The timer thread's own.
    pub(super) is_in_line: std::sync::atomic::AtomicBool,
    /// When the task wants to be polled though nothing has happened.
    pub(super) wake_up: Mutex<Option<Instant>>,
    word: AtomicU64,
    slot: Mutex<Slot>,
}

impl Waiter {
    pub(crate) fn new(
        owner: OwnerId,
        attempt: u64,
        mode: LockMode,
        key: Bytes,
        since: Instant,
        ends: Option<(Instant, Limit)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            owner,
            attempt,
            mode,
            key,
            since,
            ends,
            ticket: std::sync::atomic::AtomicI64::new(0),
            sibling: std::sync::atomic::AtomicBool::new(false),
            repeat: std::sync::atomic::AtomicBool::new(false),
            armed: std::sync::Mutex::new(None),
            is_search_due: std::sync::atomic::AtomicBool::new(false),
            is_in_line: std::sync::atomic::AtomicBool::new(false),
            wake_up: Mutex::new(None),
            word: AtomicU64::new(WAITING),
            slot: Mutex::new(Slot::default()),
        })
    }

    /// Whether nothing has ended the wait yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.word.load(Ordering::Acquire) & STATE == WAITING
    }

    /// Whether the wait has ended with a grant.
    pub(super) fn is_granted(&self) -> bool {
        self.word.load(Ordering::Acquire) & STATE == GRANTED
    }

    /// Notes that another call of its owner waits too.
    pub(super) fn note_sibling(&self) {
        self.sibling.store(true, Relaxed);
    }

    /// Notes that another call of its owner waits for the same key.
    pub(super) fn note_repeat(&self) {
        self.repeat.store(true, Relaxed);
    }

    /// Whether another call of its owner waits, or has waited, while this one does. Asked with the key's shard locked:
    /// who notes it visits that shard afterwards.
    pub(super) fn has_sibling(&self) -> bool {
        self.sibling.load(Relaxed)
    }

    /// As [`Self::has_sibling`], for the same key.
    pub(super) fn has_repeat(&self) -> bool {
        self.repeat.load(Relaxed)
    }

    /// Ends the wait with a grant, if nothing ended it before.
    pub(super) fn grant(&self, already_held: bool, waiters: usize) -> bool {
        let held = if already_held { ALREADY_HELD } else { 0 };
        let waiters = u32::try_from(waiters).unwrap_or(u32::MAX);
        self.decide(GRANTED | held | (u64::from(waiters) << WAITERS_SHIFT))
    }

    /// Ends the wait with a failure, if nothing ended it before.
    pub(super) fn fail(&self, failure: Failure) -> bool {
        let mut slot = self.slot.lock();
        let won = self.decide(failure.state());
        if won {
            slot.failure = Some(failure);
        }
        won
    }

    /// The one step that decides. `AcqRel`: the winner's earlier writes, and those of the owner that made room, are
    /// seen by whoever reads the word with `Acquire`.
    fn decide(&self, word: u64) -> bool {
        self.word
            .compare_exchange(WAITING, word, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// How the wait ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let word = self.word.load(Ordering::Acquire);
        match word & STATE {
            WAITING => None,
            GRANTED => Some(Outcome::Granted {
                already_held: word & ALREADY_HELD != 0,
                waiters: (word >> WAITERS_SHIFT) as usize,
            }),
            // The failure is written with the slot locked around the CAS, so it is there.
            _ => self.slot.lock().failure.clone().map(Outcome::Failed),
        }
    }

    /// Notes the task to wake. The caller reads the word again afterwards.
    pub(crate) fn wake_task(&self, waker: &Waker) {
        let mut slot = self.slot.lock();
        let replaced = match &slot.wake {
            Wake::Task(known) if known.will_wake(waker) => return,
            _ => std::mem::replace(&mut slot.wake, Wake::Task(waker.clone())),
        };
        drop(slot);
        // Whose drop may grant this very call: a waker may own the last handle of who holds the lock.
        drop(replaced);
    }

    /// Notes the thread to unpark. The caller reads the word again afterwards.
    pub(crate) fn wake_thread(&self, thread: Unparker) {
        let replaced = std::mem::replace(&mut self.slot.lock().wake, Wake::Parked(thread));
        drop(replaced);
    }

    /// Wakes whoever waits here. After the word was changed, with no lock held.
    pub(crate) fn wake(&self) {
        let sleeper = std::mem::take(&mut self.slot.lock().wake);
        match sleeper {
            Wake::Nobody => {}
            Wake::Parked(thread) => thread.unpark(),
            Wake::Task(waker) => wake(waker),
        }
    }

    /// The error of a failed wait.
    pub(super) fn error(&self, failure: Failure, waited: Duration) -> LockError {
        let key = self.key.clone();
        match failure {
            Failure::TimedOut(holders) => LockError::Timeout {
                key,
                holders,
                waited,
            },
            Failure::TooLate(holders) => LockError::DeadlineExceeded {
                key,
                holders,
                waited,
            },
            Failure::Victim(cycle) => LockError::Deadlock { key, cycle, waited },
            Failure::Cancelled => LockError::Cancelled { key },
        }
    }
}

/// The calls whose waits one step ended, to be woken when no lock is held any more.
#[derive(Debug, Default)]
pub(crate) struct Ended(smallvec::SmallVec<[Arc<Waiter>; 2]>);

impl Ended {
    pub(super) fn push(&mut self, waiter: Arc<Waiter>) {
        self.0.push(waiter);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The owners whose calls for one key were several. The one that ended may have been what others were served with, and
    /// stand behind more now; or they became upgrades, which others stand behind.
    pub(super) fn owners_of_repeats(&self) -> Vec<OwnerId> {
        let repeats = self.0.iter().filter(|waiter| waiter.has_repeat());
        let mut owners: Vec<_> = repeats.map(|waiter| waiter.owner).collect();
        owners.dedup();
        owners
    }

    /// Wakes them all, in the order in which their waits ended.
    pub(crate) fn wake(self) {
        for waiter in self.0 {
            waiter.wake();
        }
    }
}
