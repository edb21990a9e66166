//! What a writer has to know and may not change while it writes.
//!
//! Plain words, all Relaxed: they are read inside the [gate](super::gate) and changed with it shut, and the gate orders the one
//! with the other. The [notes](Notes) alone are taken by writers.

use super::limits::Limits;
use super::notes::Notes;
use crate::error::TxnState;
use crate::sync::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Rules {
    key_limit: AtomicUsize,
    entry_limit: AtomicUsize,
    buffer_limit: AtomicUsize,
    /// 0, or the state in which writing ended, as its place in [`STATES`] from 1.
    closed: AtomicU8,
    /// A stage is open.
    staged: AtomicBool,
    /// Of the innermost open stage.
    notes: Notes,
    /// Savepoints made so far.
    savepoints: AtomicU64,
    /// Savepoints that live; changed at any time, to more with the gate shut.
    live_savepoints: AtomicUsize,
}

const STATES: [TxnState; 5] = [
    TxnState::Open,
    TxnState::Committing,
    TxnState::Committed,
    TxnState::RolledBack,
    TxnState::Undetermined,
];

impl Rules {
    pub(super) fn new(limits: Limits) -> Rules {
        Rules {
            key_limit: AtomicUsize::new(limits.key),
            entry_limit: AtomicUsize::new(limits.entry),
            buffer_limit: AtomicUsize::new(limits.buffer),
            closed: AtomicU8::new(0),
            staged: AtomicBool::new(false),
            notes: Notes::default(),
            savepoints: AtomicU64::new(0),
            live_savepoints: AtomicUsize::new(0),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            key: self.key_limit.load(Ordering::Relaxed),
            entry: self.entry_limit.load(Ordering::Relaxed),
            buffer: self.buffer_limit.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        self.key_limit.store(limits.key, Ordering::Relaxed);
        self.entry_limit.store(limits.entry, Ordering::Relaxed);
        self.buffer_limit.store(limits.buffer, Ordering::Relaxed);
    }

    /// The state in which writing ended.
    pub(super) fn closed(&self) -> Option<TxnState> {
        let place = usize::from(self.closed.load(Ordering::Relaxed));
        place.checked_sub(1).map(|place| STATES[place])
    }

    pub(super) fn close(&self, state: TxnState) {
        let place = STATES.iter().position(|one| *one == state);
        let place = place.expect("every state has a place") as u8 + 1;
        self.closed.store(place, Ordering::Relaxed);
    }

    /// Whether a stage is open.
    pub(super) fn staged(&self) -> bool {
        self.staged.load(Ordering::Relaxed)
    }

    pub(super) fn set_staged(&self, staged: bool) {
        self.staged.store(staged, Ordering::Relaxed);
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Notes a write under the innermost stage, if there is one.
    pub(super) fn note(&self, content: bool) {
        if self.staged() {
            self.notes.take(content, self.savepoints());
        }
    }

    /// Savepoints made so far.
    pub(super) fn savepoints(&self) -> u64 {
        self.savepoints.load(Ordering::Relaxed)
    }

    /// Counts a savepoint that was made; answers its number.
    pub(super) fn count_savepoint(&self) -> u64 {
        self.live_savepoints.fetch_add(1, Ordering::Relaxed);
        self.savepoints.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn let_savepoint_go(&self) {
        self.live_savepoints.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether what a write replaces may come back.
    pub(super) fn may_return(&self) -> bool {
        self.staged() || self.live_savepoints.load(Ordering::Relaxed) != 0
    }
}
