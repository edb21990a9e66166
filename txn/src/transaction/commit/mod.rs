//! Commit: two phases, and what is done about a store that does not answer.
//!
//! ```text
//!   close ---> prewrite ---> decide ------------------> committed
//!     |           |            |  ^ again                  ^
//!     |           |            v  | open                   | committed
//!     |           |         no answer ---> ask the status -+--> rolled back
//!     |           | fails, too late, locks lost            +--> nothing by the end: undetermined
//!     v           v
//!   stays open  roll back
//! ```
//!
//! Until the deciding request is sent every failure rolls back, and is reported only once the store has been told or
//! cannot be reached (then the database's thread tells it). After that only the store knows: what it does not tell by
//! the deadline is undetermined, and nothing is taken back that was not before; the last request is sent again by the
//! database's thread until the store answers (rules 23 and 55). A commit that is refused for good is taken back. All of it
//! runs to its end once it was polled (rule 60).

mod decision;
mod ending;
mod prepare;

pub(super) use ending::Ending;

use super::options::{CommitInfo, CommitOptions};
use super::to_the_end::ToTheEnd;
use super::{Core, Transaction};
use crate::error::{Error, TxnState};
use crate::metrics::{self, Event};
use crate::store::{Prewritten, TxnStatus};
use decision::Decided;
use prepare::Prepared;
use std::sync::Arc;
use tracing::Instrument;

impl Transaction {
    /// Makes all writes visible at one instant, in a transaction that began before as in one that begins after
    /// the return. With nothing to write nothing is sent but the end.
    ///
    /// Of a commit and a rollback that race one wins, the other is [`Error::TransactionClosed`] at once. A commit
    /// that fails has rolled back: its locks are given back. Once polled it runs to its end, also if the future is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`Error::StageOpen`] while a stage is open, [`Error::OptionConflict`] while fair locks are pending or a fair
    /// call is in flight: nothing is sent, the transaction stays open.
    /// [`Error::WriteConflict`] for a key that was not locked and was committed by another since the start;
    /// [`Error::KeyExists`] for an insert; [`Error::AssertionFailed`], if there is no conflict;
    /// [`Error::OptionConflict`] for a write of a key that is locked shared; those of a lock wait for keys that were
    /// not locked; [`Error::LockLost`]; [`Error::LogFailed`]; [`Error::Undetermined`]; [`Error::TransactionClosed`].
    pub async fn commit(&self) -> Result<CommitInfo, Error> {
        self.commit_with(CommitOptions::default()).await
    }

    /// [`commit`](Self::commit) with a deadline.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::DeadlineExceeded`]: rolled back.
    pub async fn commit_with(&self, options: CommitOptions) -> Result<CommitInfo, Error> {
        self.core.close_and_commit(options).await
    }

    /// How the transaction ended, asked of the store where the commit left that
    /// [undetermined](Error::Undetermined). One that committed nothing has its start timestamp for an answer.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db, store::TxnStatus};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// assert_eq!(txn.blocking().outcome()?, TxnStatus::Open);
    /// txn.put("k", "v")?;
    /// let info = txn.blocking().commit()?;
    /// assert_eq!(txn.blocking().outcome()?, TxnStatus::Committed(info.commit_ts.unwrap_or(0)));
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where it cannot be told now.
    pub async fn outcome(&self) -> Result<TxnStatus, Error> {
        self.core.outcome().await
    }
}

impl Core {
    pub(super) async fn close_and_commit(
        self: &Arc<Self>,
        options: CommitOptions,
    ) -> Result<CommitInfo, Error> {
        self.close_for_commit()?;
        let core = Arc::clone(self);
        let span = tracing::debug_span!("commit", start_ts = self.start_ts);
        let commit = async move { core.commit(options).await };
        ToTheEnd::new(&self.db, commit.instrument(span)).await
    }

    pub(super) async fn outcome(&self) -> Result<TxnStatus, Error> {
        match self.life.state() {
            TxnState::Open | TxnState::Committing => Ok(TxnStatus::Open),
            TxnState::RolledBack => Ok(TxnStatus::RolledBack),
            TxnState::Committed => Ok(TxnStatus::Committed(self.life.commit_ts())),
            TxnState::Undetermined => {
                let primary = self.register.primary().unwrap_or_default();
                self.store().status(self.start_ts, primary).await
            }
        }
    }

    /// Shuts writes and lock calls out for a commit, or changes nothing.
    fn close_for_commit(&self) -> Result<(), Error> {
        {
            let _gate = self.gate.write();
            self.life.check_open()?;
            self.register.check_settled()?;
            // Refused while a stage is open.
            self.close_writes(TxnState::Committing, false)?;
            self.life.leave_open(TxnState::Committing)?;
            self.register.close();
        }
        self.reads.clear();
        // A flush that waits for a lock is a part of the commit.
        if self.pipelined.is_none() {
            self.store().stop_locking(self.start_ts);
        }
        Ok(())
    }

    async fn commit(self: &Arc<Self>, options: CommitOptions) -> Result<CommitInfo, Error> {
        let mut ending = Ending {
            core: self,
            is_decided_elsewhere: false,
        };
        let result = match &self.pipelined {
            None => self.two_phases(options, &mut ending).await,
            Some(writes) => self.flush_and_decide(writes, options, &mut ending).await,
        };
        let state = match &result {
            Ok(info) => {
                self.life
                    .committed_at(info.commit_ts.unwrap_or(self.start_ts));
                TxnState::Committed
            }
            Err(Error::Undetermined { .. }) => TxnState::Undetermined,
            Err(_) => TxnState::RolledBack,
        };
        match &result {
            Ok(info) => tracing::debug!(
                start_ts = self.start_ts,
                commit_ts = info.commit_ts,
                keys = info.keys,
                "commit"
            ),
            Err(error) => tracing::debug!(start_ts = self.start_ts, %error, "commit failed"),
        }
        metrics::count(if state == TxnState::Committed {
            Event::Committed
        } else {
            Event::CommitFailed
        });
        ending.end(state);
        result
    }

    async fn two_phases(
        self: &Arc<Self>,
        options: CommitOptions,
        ending: &mut Ending<'_>,
    ) -> Result<CommitInfo, Error> {
        let prepared = match self.check_alive() {
            Ok(()) => self.prepare(options).await,
            Err(lost) => Err(lost),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err(self.take_back_unsent(error).await),
        };
        let Prepared {
            prewrite,
            mut info,
            failed,
        } = prepared;
        ending.is_decided_elsewhere = prewrite.may_decide && self.store().decides_in_prewrite();
        let prewritten = match self.prewritten(&prewrite, options).await {
            Ok(prewritten) => failed.map_or(Ok(prewritten), Err),
            failed => failed,
        };
        let decided = match prewritten {
            Ok(Prewritten::Committed { at, one_phase }) => {
                info.one_phase = one_phase;
                Decided::Committed(at)
            }
            Ok(Prewritten::Undecided) if !prewrite.leaves_something() => {
                // Nothing was put down: the end is all that is left to tell.
                self.roll_back_without_waiting();
                return Ok(info);
            }
            Ok(Prewritten::Undecided) => {
                ending.is_decided_elsewhere = true;
                self.decide(options, &prewrite.primary).await
            }
            Err(error) => {
                // Also where this one was refused: a copy of it may come late, and be taken.
                let may_be_committed = ending.is_decided_elsewhere;
                self.take_back(error, &prewrite.primary, may_be_committed)
                    .await
            }
        };
        self.told(decided, info)
    }

    pub(super) fn told(&self, decided: Decided, mut info: CommitInfo) -> Result<CommitInfo, Error> {
        match decided {
            Decided::Committed(at) => {
                info.commit_ts = Some(at);
                Ok(info)
            }
            Decided::RolledBack(error) => Err(error),
            Decided::Unknown(error) => Err(Error::Undetermined {
                start_ts: self.start_ts,
                source: match error {
                    Error::Store { source, .. } => source,
                    other => Arc::new(other),
                },
            }),
        }
    }
}
