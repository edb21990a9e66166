//! What may be chosen for a [`TikvStore`](super::TikvStore).

use super::Tls;
use std::time::Duration;

/// How a [`TikvStore`](super::TikvStore) behaves. [`Duration::MAX`] is for ever.
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::store::tikv::TikvOptions;
///
/// let options = TikvOptions::default().patience(Duration::from_secs(3)).async_commit(false);
/// assert_eq!(options.patience, Duration::from_secs(3));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TikvOptions {
    /// The cluster to connect to; any if none is named.
    pub cluster_id: Option<u64>,
    /// For how long a request is tried again before it is a failure. A wait for a lock is not counted. 10 s.
    pub patience: Duration,
    /// For how long one gRPC call is waited for. 5 s.
    pub call_timeout: Duration,
    /// For how long a connection is waited for. 2 s.
    pub connect_timeout: Duration,
    /// Whether a commit may be decided by its prewrite (*async commit*). On.
    pub async_commit: bool,
    /// Whether a commit of one region may be a single request (*one-phase*). On.
    pub one_phase: bool,
    /// How many bytes each transaction and each snapshot keeps of what its point reads found; 0 for nothing. 16 MiB.
    pub read_cache: usize,
    /// Whether the cluster knows shared locks: TiKV 8.5.8 or newer. An older one does not survive such a request, so
    /// without this they are [`OptionConflict`](crate::Error::OptionConflict). Off.
    pub shared_locks: bool,
    /// Threads of the store's own runtime. 2.
    pub threads: usize,
    /// How connections are encrypted, whatever the addresses say; not at all if nothing is given.
    pub tls: Option<Tls>,
}

impl Default for TikvOptions {
    fn default() -> Self {
        Self {
            cluster_id: None,
            patience: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            async_commit: true,
            one_phase: true,
            read_cache: 16 << 20,
            shared_locks: false,
            threads: 2,
            tls: None,
        }
    }
}

impl TikvOptions {
    /// Sets [`Self::cluster_id`](field@Self::cluster_id).
    #[must_use]
    pub fn cluster_id(mut self, cluster_id: u64) -> Self {
        self.cluster_id = Some(cluster_id);
        self
    }

    /// Sets [`Self::tls`](field@Self::tls).
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {
        impl TikvOptions {$(
            #[doc = concat!("Sets [`Self::", stringify!($name), "`](field@Self::", stringify!($name), ").")]
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*}
    };
}

setters! {
    patience: Duration,
    call_timeout: Duration,
    connect_timeout: Duration,
    async_commit: bool,
    one_phase: bool,
    read_cache: usize,
    shared_locks: bool,
    threads: usize,
}
