//! Transactions on a TiKV cluster.
//!
//! [`TikvStore`] is a [`Store`](crate::Store) like the embedded one: the same [`Db`](crate::Db) and [`Transaction`](crate::Transaction), with the data, the locks and the
//! commits in a cluster. Behind the feature `tikv`; nothing of it is compiled without.
//!
//! ```no_run
//! use std::sync::Arc;
//! use untorn_txn::store::tikv::{TikvOptions, TikvStore};
//! use untorn_txn::{BeginOptions, Db, LockOptions};
//!
//! let store = TikvStore::connect_blocking(["127.0.0.1:2379"], TikvOptions::default())?;
//! let db = Db::new(Arc::new(store));
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! txn.blocking().lock_keys(["a", "b"], LockOptions::default())?;
//! txn.put("a", "1")?;
//! txn.blocking().commit()?;
//! # Ok::<(), untorn_txn::Error>(())
//! ```
//!
//! # Why the protocol and not `tikv-client`
//!
//! TiKV's Rust client (0.4.0) keeps what would be needed to itself: `pd` and `store`, the modules by which a request finds its
//! region, are private, so a store on top of it could only replay into its `Transaction`. That loses what `lock_keys` promises: its
//! lock requests always wait for as long as TiKV likes (`wait_timeout: 0`, with a remark to make it configurable), know no no-wait, and ask
//! for no existence. And it has faults that an adapter cannot mend: at the commit of the primary only a broken connection counts
//! as undetermined, a status (the server is gone, the deadline is over) as a plain failure; an async commit that was declined
//! commits at timestamp 0; one-phase that was declined is an error; the first key that was ever written stays the primary, also once it
//! is inserted and deleted again. So this module speaks the protocol itself: [tonic](https://docs.rs/tonic) for gRPC, and [messages](proto)
//! that are wire compatible with kvproto.
//!
//! # How a request goes
//!
//! `store` takes the requests of a transaction. `registry` knows those that were begun here: what a `Store` promises beyond single
//! requests, it keeps. `read`, `resolve` (locks of others), `lock`, `give_back`, `prewrite`, `flush`, `commit`, `rollback`, `finish` and `lives` speak
//! the protocol; each opens with its part of it. `cluster` sends a request to the leaders of its keys until it is answered, `region`
//! remembers which region holds a key, `pd` and `oracle` talk to the placement driver, and `background` counts what nobody waits for.
//!
//! # What is promised
//!
//! What [`Store`](crate::Store) promises, by the cluster's means:
//!
//! - A read does not wait for a commit of two phases: it pushes the commit's timestamp above its own. It waits for one of async commit
//!   that it meets between its prewrite and its end.
//! - Waiters for a lock are woken one by one, and ask again; whoever comes at that moment may be first.
//! - No cluster knows which commits wait for each other. One that may have put down what another wants waits for less than a tenth
//!   of a second for what an older commit has put down, and fails with [`LockWaitTimeout`](crate::Error::LockWaitTimeout) then: also
//!   where the process of that one is dead, for as long as its locks live, so that [`Db::run`](crate::Db::run) may use up its
//!   attempts. A commit and a lock call that wait for each other do so until the budget of one is used up; so do the commits of two
//!   pessimistic transactions each of which has locked in one region what the other writes without a lock.
//! - Time to live is all that counts for a lock: that its owner is alive in this process is not known to a cluster.
//! - What is left to do once a transaction is decided is sent again until the cluster answers, for as long as the store lives.
//! - The collector is the cluster's: an open transaction does not hold it back. A read below its safe point is
//!   [`SnapshotTooOld`](crate::Error::SnapshotTooOld); the safe point is asked for once a second at most.
//! - A timestamp is a round trip to PD, shared by all who ask at once.
//! - A [pipelined transaction](crate::PipelinedTransaction) needs TiKV 8.0, and has no values without bytes. Once it is decided, the
//!   regions from its first key to its last are told so one after another; whoever meets a lock meanwhile resolves it.
//!
//! # Errors
//!
//! What the cluster could not be asked, or did not answer within [`patience`](TikvOptions::patience), is [`Error::Store`] with a
//! [`TikvError`]. What it refuses is the error of the refusal.
//!
//! # Runtime
//!
//! tonic needs tokio, so the store owns a small runtime of its own. Its answers may be awaited anywhere, also without a runtime, and
//! the store may be dropped anywhere, also inside of one. The runtime ends with it or, where something is still to be done in the background
//! (the second phase of a commit that is decided), when that is done, [`patience`](TikvOptions::patience) later at the latest. A process that is about
//! to end waits for it with [`Db::close`](crate::Db::close) or [`settle`](TikvStore::settle); what is left over, whoever meets it clears away.
//!
//! # What is not there
//!
//! API version 2 (keyspaces), and reads from followers.

mod background;
mod call;
mod cluster;
pub mod codec;
mod commit;
mod decided;
mod ended;
mod error;
mod finish;
mod flush;
mod give_back;
mod lives;
mod lock;
mod lock_request;
mod options;
mod oracle;
mod patience;
mod pd;
mod plan;
mod prewrite;
pub mod proto;
mod read;
mod region;
mod registry;
mod resolve;
mod retry;
mod rollback;
mod store;
mod tls;

pub use error::TikvError;
pub use options::TikvOptions;
pub use tls::Tls;

use super::{Answer, Timestamp};
use crate::error::Error;
use background::Background;
use call::Channels;
use cluster::Cluster;
use oracle::Oracle;
use pd::Pd;
use region::RegionCache;
use registry::Registry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// A TiKV cluster as the store of transactions. See the [module](self).
pub struct TikvStore {
    core: Arc<TikvCore>,
    handle: Handle,
    /// Taken when the store is dropped.
    runtime: Option<Runtime>,
}

/// What the tasks of a store share.
#[derive(Debug)]
struct TikvCore {
    cluster: Arc<Cluster>,
    registry: Registry,
    background: Background,
    /// The newest timestamp that was seen here: nothing up to it lies in the future.
    newest: AtomicU64,
}

impl TikvStore {
    /// Connects to a cluster through any of its placement drivers, given as `host:port`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] with [`TikvError::NoPd`] where none answers within [`patience`](TikvOptions::patience),
    /// [`TikvError::BadEndpoint`], [`TikvError::BadCertificate`], and [`TikvError::WrongCluster`] where another one than
    /// [`cluster_id`](TikvOptions::cluster_id) answers. Where the two do not trust each other it is `NoPd`, too, with the reason.
    pub async fn connect<E: Into<String>>(
        pd_endpoints: impl IntoIterator<Item = E>,
        options: TikvOptions,
    ) -> Result<Self, Error> {
        let endpoints: Vec<String> = pd_endpoints.into_iter().map(Into::into).collect();
        if endpoints.is_empty() {
            return Err(TikvError::BadEndpoint {
                endpoint: String::new(),
                reason: "none is given".to_owned(),
            }
            .into());
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("untorn-tikv")
            .enable_all()
            .build()
            .map_err(Error::store)?;
        let handle = runtime.handle().clone();
        let connected = handle.spawn(Cluster::connect(endpoints, options));
        // Dropped without blocking where the connection fails or is given up.
        let mut runtime = Shutting(Some(runtime));
        let cluster = connected.await.map_err(|_| TikvError::ShutDown)??;
        Ok(Self {
            core: Arc::new(TikvCore {
                cluster: Arc::new(cluster),
                registry: Registry::default(),
                background: Background::new(handle.clone()),
                newest: AtomicU64::new(0),
            }),
            handle,
            runtime: runtime.0.take(),
        })
    }

    /// As [`connect`](Self::connect), parking the thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn connect_blocking<E: Into<String>>(
        pd_endpoints: impl IntoIterator<Item = E>,
        options: TikvOptions,
    ) -> Result<Self, Error> {
        crate::transaction::block_on(Self::connect(pd_endpoints, options))
    }

    /// The number of the cluster.
    pub fn cluster_id(&self) -> u64 {
        self.core.cluster.pd.cluster_id()
    }

    /// How many transactions that were begun here are open.
    pub fn open_transactions(&self) -> usize {
        self.core.registry.count()
    }

    /// Waits until what was begun in the background is done: the second phase of commits that are decided, locks that are
    /// given back. Says whether it was by the deadline. A process that ends before leaves locks, which others have to wait for until
    /// their time to live is over.
    pub async fn settle(&self, deadline: Instant) -> bool {
        let idle = self.core.background.idle();
        let waited = self
            .handle
            .spawn(async move { tokio::time::timeout_at(deadline.into(), idle).await });
        matches!(waited.await, Ok(Ok(())))
    }

    /// As [`settle`](Self::settle), parking the thread.
    pub fn settle_blocking(&self, deadline: Instant) -> bool {
        crate::transaction::block_on(self.settle(deadline))
    }

    /// Runs to its end, also if the answer is dropped once it was polled.
    fn to_the_end<'a, T: Send + 'static>(
        &self,
        run: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Answer<'a, T> {
        let core = Arc::clone(&self.core);
        Answer::waiting(async move {
            core.background
                .spawn(run)
                .await
                .unwrap_or_else(|_| Err(TikvError::ShutDown.into()))
        })
    }

    /// Ends with its answer.
    fn as_long_as_wanted<'a, T: Send + 'static>(
        &self,
        run: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Answer<'a, T> {
        let handle = self.handle.clone();
        Answer::waiting(async move {
            let mut task = Wanted(handle.spawn(run));
            (&mut task.0)
                .await
                .unwrap_or_else(|_| Err(TikvError::ShutDown.into()))
        })
    }
}

impl Cluster {
    async fn connect(endpoints: Vec<String>, options: TikvOptions) -> Result<Self, TikvError> {
        let channels = Arc::new(Channels::new(&options));
        let pd = Arc::new(Pd::connect(endpoints, options.clone(), channels).await?);
        Ok(Self {
            oracle: Oracle::start(&pd),
            regions: RegionCache::new(&pd),
            decided: decided::Decided::default(),
            pd,
            options,
        })
    }
}

impl TikvCore {
    /// A fresh timestamp.
    async fn now(&self) -> Result<Timestamp, Error> {
        let now = self.cluster.timestamp().await?;
        self.newest.fetch_max(now, Ordering::AcqRel);
        Ok(now)
    }

    /// The timestamp, if it is not zero, not before `from` and not in the future.
    async fn checked_time(&self, from: Timestamp, at: Timestamp) -> Result<Timestamp, Error> {
        let mut newest = self.newest.load(Ordering::Acquire);
        if at > newest {
            newest = self.now().await?;
        }
        if at == 0 || at < from || at > newest {
            return Err(Error::InvalidTimestamp { given: at, newest });
        }
        Ok(at)
    }

    /// The timestamp, if what was visible at it is still kept.
    async fn readable(&self, at: Timestamp) -> Result<Timestamp, Error> {
        let at = self.checked_time(0, at).await?;
        let safe_point = self.cluster.pd.safe_point().await?;
        if at < safe_point {
            return Err(Error::SnapshotTooOld {
                start_ts: at,
                safe_point,
            });
        }
        Ok(at)
    }

    /// A timestamp to begin at, and the newest one.
    async fn beginning(&self, given: Option<Timestamp>) -> Result<(Timestamp, Timestamp), Error> {
        let newest = self.now().await?;
        match given {
            None => Ok((newest, newest)),
            Some(given) => Ok((self.readable(given).await?, newest)),
        }
    }
}

/// A task that is ended with its handle.
struct Wanted<T>(JoinHandle<T>);

impl<T> Drop for Wanted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A runtime that is shut down without waiting for it, as it has to be inside of another one.
struct Shutting(Option<Runtime>);

impl Drop for Shutting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for TikvStore {
    fn drop(&mut self) {
        let runtime = Shutting(self.runtime.take());
        if self.core.background.is_idle() {
            return;
        }
        let idle = self.core.background.idle();
        let patience = self.core.cluster.options.patience;
        // What is left over by then, whoever meets it clears away.
        self.handle.spawn(async move {
            let _runtime = runtime;
            drop(tokio::time::timeout(patience, idle).await);
        });
    }
}

impl std::fmt::Debug for TikvStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TikvStore")
            .field("cluster_id", &self.cluster_id())
            .field("open", &self.open_transactions())
            .finish_non_exhaustive()
    }
}
