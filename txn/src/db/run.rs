//! Running a transaction until it succeeds.

use super::{Db, RetryPolicy};
use crate::error::{Error, TxnState};
use crate::metrics::{self, Event};
use crate::transaction::{BeginOptions, Transaction, block_on};
use std::future::Future;
use std::time::Instant;
use tracing::Instrument;

/// An error of a transaction's body that can show the [`Error`] of this crate in it, if that is what it is about.
///
/// A boxed error shows the first in the chain of its [sources](std::error::Error::source). For another crate's type, such as `anyhow`'s,
/// a type of one's own is put around it, since neither it nor this trait is one's own:
///
/// ```
/// # type Foreign = Box<dyn std::error::Error + Send + Sync>; // `anyhow::Error` in its place
/// struct Failed(Foreign);
///
/// impl<E: Into<Foreign>> From<E> for Failed {
///     fn from(error: E) -> Failed {
///         Failed(error.into())
///     }
/// }
///
/// impl untorn_txn::Cause for Failed {
///     fn cause(&self) -> Option<&untorn_txn::Error> {
///         self.0.downcast_ref()
///     }
/// }
/// ```
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
        first_in(&**self)
    }
}

impl Cause for Box<dyn std::error::Error> {
    fn cause(&self) -> Option<&Error> {
        first_in(&**self)
    }
}

/// The first error of this crate in a chain of sources.
fn first_in<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Error> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref())
}

impl Db {
    /// Runs `body` in a transaction and commits, unless the body has ended it. If the beginning, the body or the commit fails with
    /// an error that is [retryable](Error::is_retryable), it is run again in a new transaction, up to ten times in all with growing
    /// pauses: the default [`RetryPolicy`]. Not so where the body itself has committed, or may have; nor where the options fix a
    /// `start_ts`, which names one transaction.
    ///
    /// Any other failure rolls back. So does a panic, with the last clone that the body has left behind.
    ///
    /// [`Error::LockWaitTimeout`] is retryable, and each attempt may wait for as long as [`lock_wait`](BeginOptions::lock_wait) says,
    /// by default 50 seconds: ten attempts behind a lock that is not given back take minutes. Make `lock_wait` shorter, or use
    /// [`run_with`](Self::run_with) and a [deadline](RetryPolicy::deadline), after which no attempt is begun. On TiKV a commit may
    /// fail with it much earlier, and ten attempts be over before the locks of a dead process are.
    ///
    /// # Errors
    ///
    /// The body's own, or the last retryable one.
    pub async fn run<T, E: Cause, F: Future<Output = Result<T, E>>>(
        &self,
        options: BeginOptions,
        body: impl FnMut(Transaction) -> F,
    ) -> Result<T, E> {
        self.run_with(options, RetryPolicy::default(), body).await
    }

    /// [`run`](Self::run), trying again as `policy` says.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn run_with<T, E: Cause, F: Future<Output = Result<T, E>>>(
        &self,
        options: BeginOptions,
        policy: RetryPolicy,
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
                && options.start_ts.is_none()
                && failed.error.cause().is_some_and(Error::is_retryable);
            let next = policy.next_after(attempt, Instant::now());
            let Some(next) = next.filter(|_| again) else {
                return Err(failed.error);
            };
            tracing::debug!(attempt, "transaction is tried again");
            metrics::count(Event::Retried);
            self.shared.worker.sleep_until(next).await;
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
        body: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run_with(options, RetryPolicy::default(), body)
    }

    /// As [`Db::run_with`], on this thread.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use untorn_txn::{BeginOptions, Db, Error, RetryPolicy};
    ///
    /// let db = Db::in_memory();
    /// let policy = RetryPolicy::default().attempts(3).deadline(Instant::now() + Duration::from_secs(1));
    /// db.blocking().run_with(BeginOptions::optimistic(), policy, |txn| txn.put("k", "v"))?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run_with<T, E: Cause>(
        &self,
        options: BeginOptions,
        policy: RetryPolicy,
        mut body: impl FnMut(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let body = |txn| std::future::ready(body(&txn));
        block_on(self.db.run_with(options, policy, body))
    }
}
