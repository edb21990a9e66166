//! The way out without a commit: rollback, drop, and what happens where the store cannot be reached.

use super::options::OnDrop;
use super::to_the_end::ToTheEnd;
use super::{Core, Transaction};
use crate::db::Shared;
use crate::error::{Error, TxnState};
use crate::metrics::{self, Event};
use crate::store::{Answer, Store, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Transaction {
    /// Takes everything back and releases every lock. Ends open stages and fair mode. Runs to its end once it was
    /// polled, also if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`]; [`Error::Store`] where the store could not be reached: the transaction is
    /// closed all the same, and the store is told in the background.
    pub async fn rollback(&self) -> Result<(), Error> {
        self.core.roll_back().await
    }
}

impl Core {
    pub(super) async fn roll_back(self: &Arc<Self>) -> Result<(), Error> {
        self.begin_to_roll_back()?.await
    }

    /// The transaction is closed now; the store is told by the future, also if that is dropped.
    pub(crate) fn begin_to_roll_back(
        self: &Arc<Self>,
    ) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
        self.close_for_rollback()?;
        let span = tracing::debug_span!("rollback", start_ts = self.start_ts);
        let core = Arc::clone(self);
        let told = async move {
            let answer = core.store().rollback(core.start_ts).await;
            core.let_flush_end().await;
            core.rolled_back(answer)
        };
        Ok(ToTheEnd::new(&self.db, told.instrument(span)))
    }

    pub(super) fn rolled_back(&self, answer: Result<(), Error>) -> Result<(), Error> {
        if let Err(Error::Store { .. }) = answer {
            tell_later(&self.db, self.start_ts, <dyn Store>::rollback);
        }
        self.db.registry.leave(self.start_ts);
        answer
    }

    /// The transaction is rolled back from now on, for everybody but the store.
    fn close_for_rollback(&self) -> Result<(), Error> {
        {
            let _gate = self.gate.write();
            self.life.leave_open(TxnState::RolledBack)?;
            self.close_writes(TxnState::RolledBack, true)?;
            self.register.close();
        }
        metrics::count(Event::RolledBack);
        self.pulse.end();
        self.reads.clear();
        self.store().stop_locking(self.start_ts);
        Ok(())
    }

    /// Has the store take back what it holds: at once where it answers at once, else in the background.
    pub(super) fn roll_back_without_waiting(&self) {
        match self.store().rollback(self.start_ts) {
            Answer::Ready(Some(answer)) => drop(self.rolled_back(answer)),
            _ => {
                tell_later(&self.db, self.start_ts, <dyn Store>::rollback);
                self.db.registry.leave(self.start_ts);
            }
        }
    }
}

/// Tells the store how a transaction ends until it has heard of it.
pub(super) fn tell_later<T: Send + 'static>(
    db: &Arc<Shared>,
    start_ts: Timestamp,
    tell: fn(&dyn Store, Timestamp) -> Answer<'_, T>,
) {
    let work = Arc::clone(db);
    db.worker.spawn(async move {
        let mut pause = FIRST_PAUSE;
        while let Err(Error::Store { source, transient }) = tell(&*work.store, start_ts).await {
            tracing::warn!(start_ts, %source, "the end of a transaction is not answered");
            if !transient {
                return;
            }
            work.worker.sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}

impl Drop for Core {
    fn drop(&mut self) {
        self.let_flush_end_later();
        // No clone is left, but somebody may hold the buffer.
        if self.close_for_rollback().is_err() {
            return;
        }
        self.roll_back_without_waiting();
        if !self.is_dirty() || self.options.on_drop == OnDrop::Silent {
            return;
        }
        tracing::warn!(
            start_ts = self.start_ts,
            label = self.options.label.as_deref(),
            "an open transaction was dropped: it is rolled back"
        );
        assert!(
            self.options.on_drop != OnDrop::Panic || std::thread::panicking(),
            "transaction {} was dropped open",
            self.start_ts
        );
    }
}
