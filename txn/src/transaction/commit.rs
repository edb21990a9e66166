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
//! the deadline is undetermined, and nothing is taken back (rules 23 and 55). All of it runs to its end once it was
//! polled (rule 60).

use super::mutations::{Carried, bytes_of, is_any_locked};
use super::options::{CommitInfo, CommitOptions};
use super::rollback::tell_later;
use super::to_the_end::ToTheEnd;
use super::{Core, Transaction};
use crate::error::{Error, Loss, TxnState};
use crate::metrics::{self, Event};
use crate::store::{Prewrite, Prewritten, Timestamp, TxnStatus};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// For how long one request that decides is waited for before the status is asked.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

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
    /// [`Error::StageOrder`] while a stage is open, [`Error::OptionConflict`] while fair locks are pending or a fair
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

/// What is sent first.
struct Prepared {
    prewrite: Prewrite,
    info: CommitInfo,
    /// An assertion that does not hold as far as a lock knows.
    failed: Option<Error>,
}

/// How it ended.
pub(super) enum Decided {
    Committed(Timestamp),
    RolledBack(Error),
    Unknown(Error),
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
            Err(error) => {
                self.roll_back_without_waiting();
                return Err(error);
            }
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

    /// What the prewrite carries, once that is known to be sound.
    async fn prepare(&self, options: CommitOptions) -> Result<Prepared, Error> {
        let Carried {
            mutations,
            to_check,
            failed,
        } = self.mutations()?;
        for key in to_check {
            if self.newest(&key).await?.is_some() {
                return Err(Error::KeyExists { key });
            }
        }
        let info = CommitInfo {
            start_ts: self.start_ts,
            commit_ts: None,
            keys: mutations.len(),
            bytes: bytes_of(&mutations),
            one_phase: false,
            generations: 0,
        };
        let mut prewrite = Prewrite {
            for_update_ts: self.register.newest(),
            assertions: self.options.assertions,
            wait: self.options.lock_wait,
            deadline: options.deadline,
            ttl: self.options.lock_ttl,
            // A conflict is reported rather than a failed assertion: it is looked for, and nothing decided.
            may_decide: failed.is_none(),
            ..Prewrite::new(mutations)
        };
        // One that no lock names belongs to a call that was cut off.
        let chosen = self.register.primary();
        match chosen.filter(|_| is_any_locked(&prewrite.mutations)) {
            Some(primary) => prewrite.primary = primary,
            None if prewrite.leaves_something() => {
                self.register.settle_primary(&prewrite.primary);
            }
            None => {}
        }
        Ok(Prepared {
            prewrite,
            info,
            failed,
        })
    }

    async fn prewritten(
        self: &Arc<Self>,
        prewrite: &Prewrite,
        options: CommitOptions,
    ) -> Result<Prewritten, Error> {
        if prewrite.mutations.is_empty() {
            return Ok(Prewritten::Undecided);
        }
        if self.register.starts_to_beat() {
            self.start_to_beat();
        }
        let answer = self.store().prewrite(self.start_ts, prewrite);
        let answer = self.db.worker.within(options.deadline, answer).await;
        let answer = answer.unwrap_or(Err(Error::DeadlineExceeded));
        let answer = answer.map_err(|error| self.ended_by_store(error))?;
        // The last moment at which the commit can still be stopped.
        if answer == Prewritten::Undecided {
            self.check_in_time(options)?;
        }
        Ok(answer)
    }

    /// The locks are not lost, and the deadline is not over.
    pub(super) fn check_in_time(&self, options: CommitOptions) -> Result<(), Error> {
        self.check_alive()?;
        let too_late = |deadline| deadline <= Instant::now();
        match options.deadline.is_some_and(too_late) {
            true => Err(Error::DeadlineExceeded),
            false => Ok(()),
        }
    }

    /// Rolls back after a failure. A store that has committed meanwhile says so.
    pub(super) async fn take_back(
        self: &Arc<Self>,
        error: Error,
        primary: &Bytes,
        may_be_committed: bool,
    ) -> Decided {
        let told = self.store().rollback(self.start_ts);
        match self.answer_by(None, told).await {
            Err(Error::TransactionClosed {
                state: TxnState::Committed,
            }) => {
                let status = self.store().status(self.start_ts, primary.clone());
                match self.answer_by(None, status).await {
                    Ok(TxnStatus::Committed(at)) => Decided::Committed(at),
                    _ => Decided::Unknown(error),
                }
            }
            Err(Error::Store { .. }) if may_be_committed => Decided::Unknown(error),
            Err(Error::Store { .. }) => {
                tell_later(&self.db, self.start_ts);
                Decided::RolledBack(error)
            }
            _ => Decided::RolledBack(error),
        }
    }

    /// Sends the decision until it is known.
    pub(super) async fn decide(&self, options: CommitOptions, primary: &Bytes) -> Decided {
        let worker = &self.db.worker;
        let end = options
            .deadline
            .or_else(|| Instant::now().checked_add(options.patience));
        let mut pause = FIRST_PAUSE;
        loop {
            let silence = match self
                .answer_by(end, self.store().commit(self.start_ts))
                .await
            {
                Ok(at) => return Decided::Committed(at),
                Err(error @ Error::Store { .. }) => error,
                Err(error) => return Decided::RolledBack(self.ended_by_store(error)),
            };
            let status = self.store().status(self.start_ts, primary.clone());
            match self.answer_by(end, status).await {
                Ok(TxnStatus::Committed(at)) => return Decided::Committed(at),
                Ok(TxnStatus::RolledBack) => {
                    let lost = self.lost(Loss::Refused);
                    return Decided::RolledBack(lost);
                }
                Ok(TxnStatus::Open) | Err(_) => {}
            }
            let is_final = matches!(
                silence,
                Error::Store {
                    transient: false,
                    ..
                }
            );
            if is_final || end.is_some_and(|end| end <= Instant::now()) {
                return Decided::Unknown(silence);
            }
            let next = Instant::now() + pause;
            worker
                .sleep_until(end.map_or(next, |end| next.min(end)))
                .await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The answer, or the error of a store that gives none in time.
    pub(super) async fn answer_by<T>(
        &self,
        end: Option<Instant>,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let patience = Instant::now() + PATIENCE_FOR_ONE;
        let until = end.map_or(patience, |end| end.min(patience));
        let answer = self.db.worker.within(Some(until), answer).await;
        answer.unwrap_or_else(|| Err(Error::transient(NoAnswer)))
    }

    /// The store has ended the transaction of its own accord: its locks are lost.
    pub(super) fn ended_by_store(&self, error: Error) -> Error {
        match error {
            Error::TransactionClosed { .. } => self.lost(Loss::Refused),
            other => other,
        }
    }

    fn lost(&self, loss: Loss) -> Error {
        self.lose(loss);
        match self.check_alive() {
            Err(lost) => lost,
            Ok(()) => Error::LockLost {
                start_ts: self.start_ts,
                primary: self.register.primary(),
                loss,
            },
        }
    }
}

/// The store gave no answer in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer in time")]
struct NoAnswer;

/// Sees to it that a commit that was begun ends the transaction, also if it panics or its thread is gone.
pub(super) struct Ending<'a> {
    core: &'a Arc<Core>,
    /// The request that decides may have been sent.
    pub(super) is_decided_elsewhere: bool,
}

impl Ending<'_> {
    fn end(self, state: TxnState) {
        self.core.end(state);
        std::mem::forget(self);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.is_decided_elsewhere {
            self.core.end(TxnState::Undetermined);
        } else {
            self.core.roll_back_without_waiting();
            self.core.end(TxnState::RolledBack);
        }
    }
}

impl Core {
    fn end(&self, state: TxnState) {
        self.life.set(state);
        self.pulse.end();
        // Only renames the state in the errors of late writes.
        drop(self.close_writes(state, true));
        self.db.registry.leave(self.start_ts);
    }
}
