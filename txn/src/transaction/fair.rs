//! Fair locking, for single-key statements in hot spots.
//!
//! A waiter that is woken is granted the lock at once, even if the value has changed since its statement began; the
//! outcome names the commit that it is in conflict with, and the caller runs the statement again, keeping the locks
//! that it needs again. So nobody loses its place in the queue to a retry. See `TiDB`'s fair locking.

use super::lock_keys::flags_of;
use super::options::Mode;
use super::{Core, Transaction};
use crate::error::Error;
use std::sync::Arc;

impl Transaction {
    /// Begins fair mode, for the transaction. A lock call of a single key that begins from now on is granted in spite
    /// of a commit after its timestamp (by default that of the call), which is told by
    /// [`locked_with_conflict_ts`](crate::LockOutcome::locked_with_conflict_ts). Its lock is *pending*: no flag shows
    /// it, and commit is refused, until the mode is done or cancelled. A call of more keys than one ends the mode as
    /// [`fair_done`](Self::fair_done) does.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db, ForUpdate, LockOptions};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// let other = db.blocking().begin(BeginOptions::default())?;
    /// other.put("hot", "1")?;
    /// other.blocking().commit()?;
    ///
    /// txn.fair_begin()?;
    /// let stale = LockOptions { for_update_ts: ForUpdate::At(txn.start_ts()), ..Default::default() };
    /// let outcome = &txn.blocking().lock_keys(["hot"], stale)?[0];
    /// assert!(outcome.locked_with_conflict_ts.is_some());
    /// txn.fair_retry()?; // the statement runs again, as of now
    /// let again = LockOptions { return_values: true, ..Default::default() };
    /// let outcome = &txn.blocking().lock_keys(["hot"], again)?[0];
    /// assert_eq!(outcome.locked_with_conflict_ts, None);
    /// assert_eq!(outcome.value.as_deref(), Some(&b"1"[..]));
    /// txn.fair_done()?;
    /// txn.put("hot", "2")?;
    /// txn.blocking().commit()?;
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OptionConflict`] if it is on, or the transaction is optimistic; [`Error::TransactionClosed`].
    pub fn fair_begin(&self) -> Result<(), Error> {
        self.core.life.check_open()?;
        if self.core.options.mode == Mode::Optimistic {
            return Err(Error::OptionConflict {
                reason: "an optimistic transaction asks the store for no locks",
            });
        }
        let begun = self.core.register.fair_begin();
        begun.map_err(|error| self.core.as_of_now(error))
    }

    /// The statement runs again. What it locked stays, if it is asked for again; what the attempt before locked and
    /// this one did not ask for again is released. A primary that was chosen in the mode is given up.
    ///
    /// # Errors
    ///
    /// [`Error::OptionConflict`] if the mode is not on, or a call of it is in flight; [`Error::TransactionClosed`].
    pub fn fair_retry(&self) -> Result<(), Error> {
        self.core.life.check_open()?;
        let gone = self.core.register.fair_retry();
        self.core
            .give_back(gone.map_err(|error| self.core.as_of_now(error))?);
        Ok(())
    }

    /// The statement has gone through: the locks that it asked for stay, those of earlier attempts are released.
    ///
    /// # Errors
    ///
    /// As for [`fair_retry`](Self::fair_retry).
    pub fn fair_done(&self) -> Result<(), Error> {
        let done = self.core.fair_done();
        self.core.buffer.report_memory();
        done
    }

    /// The statement is given up: every lock of the mode is released.
    ///
    /// # Errors
    ///
    /// As for [`fair_retry`](Self::fair_retry).
    pub fn fair_cancel(&self) -> Result<(), Error> {
        self.core.life.check_open()?;
        let gone = self.core.register.fair_cancel();
        self.core
            .give_back(gone.map_err(|error| self.core.as_of_now(error))?);
        Ok(())
    }
}

impl Core {
    pub(super) fn fair_done(self: &Arc<Self>) -> Result<(), Error> {
        self.life.check_open()?;
        let (published, gone) = {
            let _gate = self.gate.read();
            let settled = self.register.fair_done();
            let settled = settled.map_err(|error| self.as_of_now(error))?;
            let mut kept = settled.kept.into_iter();
            // Each in the room that its call reserved.
            let published = kept.try_for_each(|(key, hold, mut pending)| {
                let flags = flags_of(&hold, pending.checked);
                pending.room.update_flags(key, flags)
            });
            (published, settled.gone)
        };
        self.give_back(gone);
        published
    }
}
