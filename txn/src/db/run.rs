//! Running a transaction until it succeeds.
//!
//! Errors that a new transaction may not meet again are tried again, after a pause that grows from 2 to 500
//! milliseconds and is drawn at random below that (full jitter), ten times in all.

use super::Db;
use crate::error::{Error, TxnState};
use crate::metrics::{self, Event};
use crate::transaction::{BeginOptions, Transaction, block_on};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Attempts in all.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// An error of a transaction's body that can show the [`Error`] of this crate in it, if that is what it is about.
pub trait Cause: From<Error> {
    /// The error that decides whether the transaction is tried again.
    fn cause(&self) -> Option<&Error>;
}

impl Cause for Error {
    fn cause(&self) -> Option<&Error> {
        Some(self)
    }
}

impl Cause for Box<dyn std::error::Error + Send + Sync> {
    fn cause(&self) -> Option<&Error> {
        self.downcast_ref()
    }
}

impl Cause for Box<dyn std::error::Error> {
    fn cause(&self) -> Option<&Error> {
        self.downcast_ref()
    }
}

impl Db {
    /// Runs `body` in a transaction and commits, unless the body has ended it. If the beginning, the body or the commit fails with
    /// an error that is [retryable](Error::is_retryable), it is run again in a new transaction, up to ten times with growing pauses.
    /// Not so where the body itself has committed, or may have; nor where the options fix a `start_ts`, for what came too late once:
    /// [`Error::WriteConflict`], [`Error::SnapshotTooOld`].
    ///
    /// Any other failure, and a panic, rolls back.
    ///
    /// # Errors
    ///
    /// The body's own, or the last retryable one.
    pub async fn run<T, E: Cause, F: Future<Output = Result<T, E>>>(
        &self,
        options: BeginOptions,
        mut body: impl FnMut(Transaction) -> F,
    ) -> Result<T, E> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failed = match self.attempt(attempt, &options, &mut body).await {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let again = !failed.may_be_committed
                && failed.error.cause().is_some_and(|error| {
                    error.is_retryable() && (options.start_ts.is_none() || !came_too_late(error))
                });
            if !again || attempt >= ATTEMPTS {
                return Err(failed.error);
            }
            tracing::debug!(attempt, "transaction is tried again");
            metrics::count(Event::Retried);
            let worker = &self.shared.worker;
            worker
                .sleep_until(Instant::now() + pause_after(attempt))
                .await;
        }
    }

    async fn attempt<T, E: Cause, F: Future<Output = Result<T, E>>>(
        &self,
        number: u32,
        options: &BeginOptions,
        body: &mut impl FnMut(Transaction) -> F,
    ) -> Result<T, Failed<E>> {
        let begun = self.begin(options.clone()).await;
        let txn = begun.map_err(|error| Failed {
            error: error.into(),
            may_be_committed: false,
        })?;
        let span = tracing::debug_span!("attempt", number, start_ts = txn.start_ts());
        let error = match body(txn.clone()).instrument(span).await {
            Err(error) => error,
            Ok(value) if txn.state() != TxnState::Open => return Ok(value),
            Ok(value) => match txn.commit().await {
                Ok(_) => return Ok(value),
                Err(error) => error.into(),
            },
        };
        if txn.state() == TxnState::Open {
            // It may have been ended by a clone that the body left behind: then there is nothing to do.
            drop(txn.rollback().await);
        }
        Err(Failed {
            error,
            may_be_committed: matches!(
                txn.state(),
                TxnState::Committing | TxnState::Committed | TxnState::Undetermined
            ),
        })
    }
}

/// An attempt that failed.
struct Failed<E> {
    error: E,
    /// What it wrote must not be written again.
    may_be_committed: bool,
}

/// Whether the next transaction that reads at the same timestamp meets it, too.
fn came_too_late(error: &Error) -> bool {
    matches!(
        error,
        Error::WriteConflict { .. } | Error::SnapshotTooOld { .. }
    )
}

impl super::BlockingDb<'_> {
    /// As [`Db::run`], on this thread.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db, Error};
    ///
    /// let db = Db::in_memory();
    /// let visits = db.blocking().run(BeginOptions::default(), |txn| {
    ///     let old = txn.blocking().get_for_update("visits")?.map_or(0, |value| value[0]);
    ///     txn.put("visits", [old + 1])?;
    ///     Ok::<_, Error>(old + 1)
    /// })?;
    /// assert_eq!(visits, 1);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run<T, E: Cause>(
        &self,
        options: BeginOptions,
        mut body: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        block_on(self.db.run(options, |txn| std::future::ready(body(&txn))))
    }
}

/// A random part of a span that doubles with each attempt.
fn pause_after(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_PAUSE);
    // A fresh state has fresh keys: as random as a pause needs to be.
    let part = RandomState::new().hash_one(attempt) >> 32;
    longest.mul_f64(part as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_their_bounds() {
        for attempt in 1..40 {
            let bound = FIRST_PAUSE.saturating_mul(1 << attempt.min(16));
            assert!(pause_after(attempt) <= bound.min(LONGEST_PAUSE));
        }
    }
}
