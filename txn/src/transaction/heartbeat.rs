//! Signs of life, and the loss of the locks (rules 50 and 51).
//!
//! One heartbeat for a transaction, from its first grant or its prewrite on. It ends when the transaction has ended or
//! no lock is held or asked for; a later grant starts it again. Whether one runs is told by the register, under the
//! mutex that also tells whether there is something to keep alive: so of a last withdrawal and a new grant that race,
//! either the old heartbeat sees the grant or the grant starts a new one. No failure of a call touches it.
//!
//! A beat is due at half the time to live. An answer that does not come is asked for again until the locks would
//! have died without one. Refused, unanswered that long, or past the lifetime: the locks are *lost*, which is noted
//! once and for all, ends the lock calls in flight, and leaves rollback alone to be done.

use super::Core;
use crate::error::{Error, Loss, TxnState};
use crate::metrics::{self, Event};
use crate::store::lock;
use crate::worker::Bell;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Beats do not follow each other faster than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// What keeps a transaction's locks alive.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    /// For stores in this process: alive while this is.
    owner: Mutex<Option<Arc<()>>>,
    /// The next beat.
    next: Mutex<Option<Bell>>,
    lost: OnceLock<Loss>,
}

impl Pulse {
    pub(super) fn new(owner: Arc<()>) -> Self {
        Self {
            begun: Instant::now(),
            owner: Mutex::new(Some(owner)),
            next: Mutex::new(None),
            lost: OnceLock::new(),
        }
    }

    /// No further beat.
    pub(super) fn end(&self) {
        let next = lock(&self.next).take();
        drop(next);
    }
}

impl Core {
    /// Refuses what needs the locks once they are lost.
    pub(super) fn check_alive(&self) -> Result<(), Error> {
        match self.pulse.lost.get() {
            None => Ok(()),
            Some(&loss) => Err(Error::LockLost {
                start_ts: self.start_ts,
                primary: self.register.primary(),
                loss,
            }),
        }
    }

    /// Notes that the locks are not to be relied on any more.
    pub(super) fn lose(&self, loss: Loss) {
        if self.pulse.lost.set(loss).is_err() || self.life.state() != TxnState::Open {
            return;
        }
        tracing::warn!(start_ts = self.start_ts, %loss, "locks are lost");
        metrics::count(Event::LocksLost);
        self.pulse.end();
        // A store in this process may resolve them from now on.
        lock(&self.pulse.owner).take();
        self.db.store.stop_locking(self.start_ts);
    }

    pub(super) fn start_to_beat(self: &Arc<Self>) {
        self.beat_after(Instant::now(), self.tick());
    }

    fn tick(&self) -> Duration {
        (self.options.lock_ttl / 2).max(SHORTEST)
    }

    fn lifetime_ends(&self) -> Option<Instant> {
        self.pulse.begun.checked_add(self.options.max_lifetime?)
    }

    /// Sets the next beat; `answered` is when the last one was.
    fn beat_after(self: &Arc<Self>, answered: Instant, span: Duration) {
        let next = Instant::now().checked_add(span);
        let due = next.into_iter().chain(self.lifetime_ends()).min();
        let Some(at) = due else { return };
        let core = Arc::downgrade(self);
        let set = self.db.worker.run_at(at, move || {
            if let Some(core) = core.upgrade() {
                core.beat(answered);
            }
        });
        match set {
            Ok(bell) => drop(lock(&self.pulse.next).replace(bell)),
            Err(error) => tracing::error!(start_ts = self.start_ts, %error, "no heartbeat"),
        }
    }

    fn beat(self: Arc<Self>, answered: Instant) {
        let goes_on = match self.life.state() {
            // What was flushed is locked until the end.
            TxnState::Open => self.pipelined.is_some() || self.register.goes_on_beating(),
            TxnState::Committing => true,
            _ => false,
        };
        if !goes_on {
            return;
        }
        if self
            .lifetime_ends()
            .is_some_and(|end| end <= Instant::now())
        {
            return self.lose(Loss::Lifetime);
        }
        let db = Arc::clone(&self.db);
        let core = Arc::downgrade(&self);
        let (start_ts, ttl) = (self.start_ts, self.options.lock_ttl);
        let primary = self.register.primary().unwrap_or_default();
        // The transaction is not held meanwhile: an answer that never comes must not keep it open.
        self.db.worker.spawn(async move {
            let end = answered.checked_add(ttl);
            let asked = Instant::now();
            let answer = db.store.heartbeat(start_ts, primary, ttl);
            let answer = db.worker.within(end, answer).await;
            let Some(core) = core.upgrade() else { return };
            match answer {
                Some(Ok(())) => core.beat_after(asked, core.tick()),
                Some(Err(Error::Store { .. })) if end.is_none_or(|end| Instant::now() < end) => {
                    core.beat_after(answered, (core.tick() / 8).max(SHORTEST));
                }
                Some(Err(Error::Store { .. })) | None => core.lose(Loss::Unanswered),
                Some(Err(_)) => core.lose(Loss::Refused),
            }
        });
    }
}
