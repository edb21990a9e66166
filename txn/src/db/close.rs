//! The end of a database (rule 61).

use super::Db;
use crate::store::Timestamp;
use crate::transaction::Core;
use futures_util::future::join_all;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What [`Db::close`] has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Closed {
    /// Open transactions that it rolled back.
    pub rolled_back: usize,
    /// Transactions that had not ended by the deadline, by start timestamp, ascending.
    pub left: Vec<Timestamp>,
    /// All work in the background is done, that of the database and that of its store.
    pub is_idle: bool,
}

impl Db {
    /// Closes the database for every clone: nothing begins any more, open transactions are rolled back, commits and
    /// rollbacks under way and work in the background are waited for until the deadline, and the thread of the
    /// database is joined. A second call finds nothing to do.
    ///
    /// All open transactions stop locking before the first of them lets go of its locks: no call is granted a lock that it waits for
    /// while the database closes.
    ///
    /// Snapshots may still be taken and read; calls of its transactions are [`TransactionClosed`](crate::Error::TransactionClosed).
    ///
    /// The store is [settled](crate::Store::settle) by then, too: on a cluster the second phases of commits that were answered
    /// long ago, so that a process which ends leaves no locks that others have to resolve. A store that another database uses as
    /// well may have its work to do besides.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use untorn_txn::{BeginOptions, Db, Error};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// let closed = db.blocking().close(Instant::now() + Duration::from_secs(5));
    /// assert_eq!((closed.rolled_back, closed.left.len(), closed.is_idle), (1, 0, true));
    /// assert!(matches!(txn.blocking().get("k"), Err(Error::TransactionClosed { .. })));
    /// assert!(matches!(db.blocking().begin(BeginOptions::default()), Err(Error::DatabaseClosed)));
    /// # Ok::<(), Error>(())
    /// ```
    pub async fn close(&self, deadline: Instant) -> Closed {
        let shared = &*self.shared;
        shared.is_closed.store(true, Ordering::SeqCst);
        let mut closed = Closed::default();
        let worker = &shared.worker;
        // All stop locking before the first lets go of what others of them wait for. Whoever ended one meanwhile has done what was
        // to be done.
        let open = shared.registry.all();
        let begun: Vec<_> = open.iter().flat_map(Core::begin_to_roll_back).collect();
        let told = begun
            .into_iter()
            .map(|told| worker.within(Some(deadline), told));
        let answers = join_all(told).await;
        let rolled_back = answers.iter().filter(|told| matches!(told, Some(Ok(()))));
        closed.rolled_back = rolled_back.count();
        worker.within(Some(deadline), shared.registry.empty()).await;
        closed.is_idle = worker.idle(deadline).await && {
            let settled = worker.within(Some(deadline), shared.store.settle(deadline));
            matches!(settled.await, Some(Ok(true)))
        };
        closed.left = shared.registry.left();
        worker.end();
        closed
    }
}
