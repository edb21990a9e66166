//! Who looks at the clock for those that wait: one thread for the table.
//!
//! At most one entry per waiting call, for what is due first: the deadlock search, a wake-up that its task asked for,
//! the end of the wait. Who looks at one that is due puts it in again for the next. An entry is put in
//! with the timer locked, if the word still says `WAITING`; the call takes it out after its word has changed. So none
//! is left behind, and a long budget on a short wait costs nothing later.
//!
//! The thread notes until when it sleeps, and is woken for what is due before that alone. So where waits follow each other it
//! looks once in a deadlock delay, not once a wait.

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
    sleep: Sleep,
}

impl Entries {
    fn take_due(&mut self, now: Instant) -> Vec<Arc<Waiter>> {
        let mut due = Vec::new();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let waiter = first.remove();
            armed(&waiter).take();
            due.push(waiter);
        }
        due
    }
}

/// What the thread does.
#[derive(Debug, Default, Clone, Copy)]
enum Sleep {
    /// Before it sleeps it looks what is due.
    #[default]
    Awake,
    Until(Instant),
    Endless,
}

impl Sleep {
    /// Whether it goes on beyond this instant.
    fn is_too_long_for(self, at: Instant) -> bool {
        match self {
            Self::Awake => false,
            Self::Until(end) => at < end,
            Self::Endless => true,
        }
    }
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
        entries.due.insert(place, waiter.clone());
        if entries.sleep.is_too_long_for(at) {
            entries.sleep = Sleep::Awake;
            drop(entries);
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

    /// The calls that are due, the earliest first; waits for one if `is_idle`. `None` when the timer is stopped.
    pub(super) fn next_due(&self, is_idle: bool) -> Option<Vec<Arc<Waiter>>> {
        let mut entries = self.lock();
        loop {
            if entries.stopped {
                return None;
            }
            let first = entries.due.first_key_value();
            let first = first.map(|(place, _)| place.0);
            let now = Instant::now();
            if !is_idle || first.is_some_and(|first| first <= now) {
                return Some(entries.take_due(now));
            }
            let Some(first) = first else {
                entries.sleep = Sleep::Endless;
                let rung = self.bell.wait(entries);
                entries = rung.unwrap_or_else(PoisonError::into_inner);
                entries.sleep = Sleep::Awake;
                continue;
            };
            entries.sleep = Sleep::Until(first);
            let waited = self.bell.wait_timeout(entries, first - now);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
            entries.sleep = Sleep::Awake;
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

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::request::LockMode;
    use super::*;

    fn waiter(owner: u64) -> Arc<Waiter> {
        let key = Bytes::from_static(b"k");
        Waiter::new(owner, 0, LockMode::Exclusive, key, Instant::now(), None)
    }

    #[test]
    fn a_thread_that_sleeps_is_woken_for_what_is_due_earlier_and_for_nothing_else() {
        let timer = Timer::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let is_rung = || matches!(timer.lock().sleep, Sleep::Awake);
        timer.lock().sleep = Sleep::Until(after(10));
        timer.arm(&waiter(1), after(20));
        timer.arm(&waiter(2), after(10));
        assert!(!is_rung());
        timer.arm(&waiter(3), after(5));
        assert!(is_rung());
        timer.lock().sleep = Sleep::Endless;
        timer.arm(&waiter(4), after(30));
        assert!(is_rung());
        assert_eq!(timer.len(), 4);
    }
}
