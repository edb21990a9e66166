//! The decision: it is sent until it is known, or the transaction is taken back.

use super::super::Core;
use super::super::options::CommitOptions;
use super::super::rollback::tell_later;
use crate::error::{Error, Loss, TxnState};
use crate::store::{Store, Timestamp, TxnStatus};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long one request that decides is waited for before the status is asked.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How it ended.
pub(in crate::transaction) enum Decided {
    Committed(Timestamp),
    RolledBack(Error),
    Unknown(Error),
}

impl Core {
    /// Rolls back after a failure. A store that has committed meanwhile says so.
    pub(in crate::transaction) async fn take_back(
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
            Err(Error::Store { .. }) => {
                tell_later(&self.db, self.start_ts, <dyn Store>::rollback);
                match may_be_committed {
                    true => Decided::Unknown(error),
                    false => Decided::RolledBack(error),
                }
            }
            _ => Decided::RolledBack(error),
        }
    }

    /// Rolls back after a failure before anything was sent that could commit.
    pub(in crate::transaction) async fn take_back_unsent(&self, error: Error) -> Error {
        let told = self.store().rollback(self.start_ts);
        drop(self.rolled_back(self.answer_by(None, told).await));
        error
    }

    /// Sends the decision until it is known; in the background, once nobody waits for it any more.
    pub(in crate::transaction) async fn decide(
        self: &Arc<Self>,
        options: CommitOptions,
        primary: &Bytes,
    ) -> Decided {
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
            if is_final {
                // Refused for good; unless an attempt before it has committed.
                return self.take_back(silence, primary, true).await;
            }
            if end.is_some_and(|end| end <= Instant::now()) || worker.is_ended() {
                tell_later(&self.db, self.start_ts, <dyn Store>::commit);
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
    pub(in crate::transaction) async fn answer_by<T>(
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
    pub(in crate::transaction) fn ended_by_store(&self, error: Error) -> Error {
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
