//! Commit, rollback, drop.

use super::mutations::bytes_of;
use super::options::{CommitInfo, OnDrop};
use super::{Core, Transaction};
use crate::error::{Error, TxnState};
use crate::store::{MutationOp, Prewrite};
use std::future::Future;
use std::pin::pin;
use std::sync::PoisonError;
use std::task::{Context, Waker};

impl Transaction {
    /// Makes all writes visible at one instant, in a transaction that began before as in one that begins after
    /// the return. With nothing to write nothing is sent but the end.
    ///
    /// Of a commit and a rollback that race one wins, the other is [`Error::TransactionClosed`] at once. A commit
    /// that fails has rolled back: its locks are given back. One whose future is dropped before the decision
    /// likewise.
    ///
    /// # Errors
    ///
    /// [`Error::StageOrder`] while a stage is open: nothing is sent, the transaction stays open.
    /// [`Error::WriteConflict`] for a key that was not locked and was committed by another since the start;
    /// [`Error::KeyExists`] for an insert; those of a lock wait for keys that were not locked;
    /// [`Error::TransactionClosed`].
    pub async fn commit(&self) -> Result<CommitInfo, Error> {
        let core = &self.core;
        core.life.check_open()?;
        if core.buffer.open_stages() > 0 {
            return Err(Error::StageOrder);
        }
        core.life.leave_open(TxnState::Committing)?;
        if let Err(order) = core.close(TxnState::Committing, false) {
            // A stage was opened in between: that came first.
            core.life.set(TxnState::Open);
            return Err(order);
        }
        let mut ending = Ending {
            core,
            to: TxnState::RolledBack,
            is_sent: false,
        };
        let result = core.two_phases(&mut ending).await;
        match &result {
            Ok(info) => {
                tracing::debug!(
                    start_ts = info.start_ts,
                    commit_ts = info.commit_ts,
                    keys = info.keys,
                    "commit"
                );
            }
            Err(error) => {
                tracing::debug!(start_ts = core.start_ts, %error, "commit failed");
                if !ending.is_sent {
                    ending.is_sent = core.store.rollback(core.start_ts).await.is_ok();
                }
            }
        }
        result
    }

    /// Takes everything back and releases every lock. Ends open stages.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionClosed`]; [`Error::Store`] where the store could not be reached, the transaction is
    /// closed all the same.
    pub async fn rollback(&self) -> Result<(), Error> {
        let core = &self.core;
        core.life.leave_open(TxnState::RolledBack)?;
        let mut ending = Ending {
            core,
            to: TxnState::RolledBack,
            is_sent: false,
        };
        core.close(TxnState::RolledBack, true)?;
        let result = core.store.rollback(core.start_ts).await;
        ending.is_sent = result.is_ok();
        tracing::debug!(start_ts = core.start_ts, "rollback");
        result
    }
}

/// Sees to it that a closed transaction gets its last state, and the store its end, also if the future that does
/// it is dropped.
struct Ending<'a> {
    core: &'a Core,
    to: TxnState,
    /// The store knows.
    is_sent: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_sent && self.to == TxnState::RolledBack {
            self.core.roll_back_now();
        }
        self.core.life.set(self.to);
        // Only renames the state in the errors of late writes.
        drop(self.core.buffer.close(self.to, true));
    }
}

impl Core {
    /// Shuts writes and lock calls out, and ends those in flight.
    fn close(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        {
            let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            self.buffer.close(state, end_stages)?;
            self.register.close();
        }
        self.store.stop_locking(self.start_ts);
        Ok(())
    }

    async fn two_phases(&self, ending: &mut Ending<'_>) -> Result<CommitInfo, Error> {
        let prewrite = Prewrite {
            wait: self.options.lock_wait,
            ..Prewrite::new(self.mutations())
        };
        let mutations = &prewrite.mutations;
        let mut info = CommitInfo {
            start_ts: self.start_ts,
            commit_ts: None,
            keys: mutations.len(),
            bytes: bytes_of(mutations),
            one_phase: false,
        };
        if !mutations.is_empty() {
            self.store.prewrite(self.start_ts, &prewrite).await?;
        }
        if mutations
            .iter()
            .all(|mutation| mutation.op == MutationOp::CheckNotExists)
        {
            // Nothing was put down: the end is all that is left to tell.
            ending.to = TxnState::Committed;
            ending.is_sent = self.store.rollback(self.start_ts).await.is_ok();
            return Ok(info);
        }
        match self.store.commit(self.start_ts).await {
            Ok(time) => {
                ending.is_sent = true;
                ending.to = TxnState::Committed;
                info.commit_ts = Some(time);
                Ok(info)
            }
            Err(error @ Error::Store { .. }) => {
                ending.is_sent = true;
                ending.to = TxnState::Undetermined;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The store takes a rollback in at the first poll; what is left of it, it does by itself.
    fn roll_back_now(&self) {
        let mut answer = pin!(self.store.rollback(self.start_ts));
        let _ = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.life.leave_open(TxnState::RolledBack).is_err() {
            return;
        }
        if self.options.on_drop == OnDrop::Warn && self.buffer.is_dirty() {
            tracing::warn!(
                start_ts = self.start_ts,
                label = self.options.label.as_deref(),
                "an open transaction was dropped: it is rolled back"
            );
        }
        // No clone is left, but somebody may hold the buffer.
        drop(self.close(TxnState::RolledBack, true));
        self.roll_back_now();
    }
}
