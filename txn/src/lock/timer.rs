//! Who looks at the clock for those that wait: one thread for the table.
//!
//! At most one entry per waiting call, for what is due first: the deadlock search, a wake-up that its task asked for,
//! the end of the wait. Who looks at one that is due puts it in again for the next. An entry is put in
//! with the timer locked, if the word still says `WAITING`; the call takes it out after its word has changed. So none
//! is left behind, and a long budget on a short wait costs nothing later.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::waiter::Waiter;

/// Where an entry stands: when it is due, and a number that tells equal instants apart.
pub(super) type Place = (Instant, u64);

#[derive(Debug, Default)]
struct Entries {
    due: BTreeMap<Place, Arc<Waiter>>,
    next: u64,
    stopped: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timer {
    entries: Mutex<Entries>,
    bell: Condvar,
}

impl Timer {
    /// Has the thread look at `waiter` at this instant or earlier, unless its wait has ended.
    pub(super) fn arm(&self, waiter: &Arc<Waiter>, at: Instant) {
        let mut entries = self.lock();
        if !waiter.is_waiting() {
            return;
        }
        let mut armed = armed(waiter);
        if armed.is_some_and(|(earlier, _)| earlier <= at) {
            return;
        }
        entries.next += 1;
        let place = (at, entries.next);
        if let Some(old) = armed.replace(place) {
            entries.due.remove(&old);
        }
        drop(armed);
        let first = entries
            .due
            .first_key_value()
            .is_none_or(|(first, _)| place < *first);
        entries.due.insert(place, waiter.clone());
        if first {
            self.bell.notify_one();
        }
    }

    /// Takes the entry of a call whose wait has ended out.
    pub(super) fn disarm(&self, waiter: &Waiter) {
        let mut entries = self.lock();
        if let Some(place) = armed(waiter).take() {
            entries.due.remove(&place);
        }
    }

    /// Waits for the next call that is due; `None` when the timer is stopped.
    pub(super) fn next_due(&self) -> Option<Arc<Waiter>> {
        let mut entries = self.lock();
        loop {
            if entries.stopped {
                return None;
            }
            let Some((&place, _)) = entries.due.first_key_value() else {
                entries = self
                    .bell
                    .wait(entries)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if place.0 <= now {
                let waiter = entries.due.remove(&place)?;
                armed(&waiter).take();
                return Some(waiter);
            }
            let waited = self.bell.wait_timeout(entries, place.0 - now);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.bell.notify_all();
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().due.len()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn armed(waiter: &Waiter) -> MutexGuard<'_, Option<Place>> {
    waiter.armed.lock().unwrap_or_else(PoisonError::into_inner)
}
