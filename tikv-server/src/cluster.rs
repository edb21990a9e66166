//! The handle on a cluster.

use crate::faults::Fault;
use crate::security::Security;
use crate::service::{Role, Server};
use crate::state::State;
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt;
use tonic::transport::server::TcpIncoming;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::Tls;
use untorn_txn::store::tikv::proto::kvrpcpb::LockInfo;

/// One that leads, and one that may.
const PD_MEMBERS: usize = 2;

/// A running cluster. It ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    state: Arc<State>,
    runtime: Option<Runtime>,
    security: Option<Security>,
}

impl Cluster {
    /// Starts two members of PD and so many stores, with one region that holds everything.
    ///
    /// # Errors
    ///
    /// Where no port can be had, or no thread.
    pub fn start(stores: u64) -> io::Result<Self> {
        Self::start_with(stores, None)
    }

    /// As [`Cluster::start`], but every connection is encrypted and both sides have to prove who they are: what a client needs for
    /// that is [`tls`](Self::tls). The authority is made for this cluster.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn start_encrypted(stores: u64) -> io::Result<Self> {
        Self::start_with(stores, Some(Security::new()?))
    }

    fn start_with(stores: u64, security: Option<Security>) -> io::Result<Self> {
        static STARTED: AtomicU64 = AtomicU64::new(1);
        // Only to be different: no order is needed.
        let cluster_id = 7_000_000 + STARTED.fetch_add(1, Ordering::Relaxed);
        let stores = stores.max(1);
        let state = Arc::new(State::new(cluster_id, stores, security.is_some()));
        state.data(|data| data.engine.decides = true);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("untorn-tikv-server")
            .enable_all()
            .build()?;
        let mut roles: Vec<Role> = (0..PD_MEMBERS).map(Role::Pd).collect();
        roles.extend((1..=stores).map(Role::Store));
        let mut listeners = Vec::with_capacity(roles.len());
        let mut addresses = Vec::with_capacity(roles.len());
        // It may be started inside of another runtime, which must not be blocked.
        let entered = runtime.enter();
        for _ in &roles {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            listeners.push(TcpListener::from_std(listener)?);
        }
        drop(entered);
        let store_addresses = addresses.split_off(PD_MEMBERS);
        state.listens_at(addresses, store_addresses);
        for (role, listener) in roles.into_iter().zip(listeners) {
            let server = Server {
                state: Arc::clone(&state),
                role,
            };
            let taking = Arc::clone(&state);
            let mut builder = tonic::transport::Server::builder();
            if let Some(security) = &security {
                let encrypted = builder.tls_config(security.of_server());
                builder = encrypted.map_err(io::Error::other)?;
            }
            runtime.spawn(async move {
                // An answer is several small writes, which must not wait for each other's acknowledgements.
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let incoming = incoming.map(move |stream| stream.map(|stream| taking.take(stream)));
                // It ends with the runtime.
                drop(builder.serve_with_incoming(server, incoming).await);
            });
        }
        Ok(Self {
            state,
            runtime: Some(runtime),
            security,
        })
    }

    /// What a client is to be given of an [encrypted](Self::start_encrypted) cluster: its authority, and a certificate of it.
    pub fn tls(&self) -> Option<Tls> {
        self.security.as_ref().map(Security::of_client)
    }

    /// Writes the same as PEM, for another program: `ca.pem`, `client.pem` and `client-key.pem`. Nothing, if the cluster is not
    /// encrypted.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn write_certificates(&self, directory: impl AsRef<Path>) -> io::Result<()> {
        let directory = directory.as_ref();
        let security = self.security.as_ref();
        security.map_or(Ok(()), |security| security.write(directory))
    }

    /// Where one member of PD listens, the first leader: `127.0.0.1:port`. It tells where the others are.
    pub fn pd_endpoint(&self) -> String {
        self.pd_endpoints().swap_remove(0)
    }

    /// Where the members of PD listen.
    pub fn pd_endpoints(&self) -> Vec<String> {
        let members = self.state.members().iter();
        members.map(ToString::to_string).collect()
    }

    /// Has the other member of PD lead: the one before answers no more than who leads now.
    pub fn transfer_pd_leader(&self) {
        self.state.transfer_pd_leader();
    }

    /// The number of the cluster.
    pub fn id(&self) -> u64 {
        self.state.cluster_id
    }

    /// Cuts the region around a key in two, under two leaders. Says whether there was something to cut.
    pub fn split(&self, key: impl Into<Bytes>) -> bool {
        let key = key.into();
        self.state.topology(|topology| topology.split(&key))
    }

    /// Takes a border between two regions away: the one before it takes over the keys of the one that begins there, under an epoch that is newer
    /// than that of either. Says whether a region begins there.
    pub fn merge(&self, border: impl AsRef<[u8]>) -> bool {
        self.state
            .topology(|topology| topology.merge(border.as_ref()))
    }

    /// Has another store lead the region around a key; gives its number.
    pub fn transfer_leader(&self, key: impl AsRef<[u8]>) -> u64 {
        self.state
            .topology(|topology| topology.transfer_leader(key.as_ref()))
    }

    /// How many regions there are.
    pub fn regions(&self) -> usize {
        self.state.topology(|topology| topology.count())
    }

    /// The next request of a method, such as `KvCommit` or PD's `GetRegion`, meets a fault. Several are queued. A request to PD can be
    /// delayed and lost, one for a region also find none or one without peers.
    pub fn inject(&self, method: &str, fault: Fault) {
        self.state.faults(|faults| faults.ask_for(method, fault));
    }

    /// From now on every request of a method meets a fault, behind those that are queued.
    pub fn inject_always(&self, method: &str, fault: Fault) {
        self.state.faults(|faults| faults.last(method, fault));
    }

    /// From now on every request to a store meets a fault with this chance, drawn from the seed.
    pub fn harm(&self, seed: u64, chance: f64) {
        self.state.faults(|faults| faults.draw_from(seed, chance));
    }

    /// Ends all faults, those that were asked for and have not happened too.
    pub fn heal(&self) {
        self.state.faults(|faults| faults.end());
    }

    /// How many faults have happened.
    pub fn faults(&self) -> u64 {
        self.state.faults(|faults| faults.happened())
    }

    /// Breaks every connection to PD and to the stores; new ones are taken.
    pub fn cut_connections(&self) {
        self.state.cut_connections();
    }

    /// How many connections were taken.
    pub fn connections(&self) -> u64 {
        self.state.connections()
    }

    /// Whether PD answers nothing but that it is not there.
    pub fn lose_pd(&self, is_lost: bool) {
        self.state.lose_pd(is_lost);
    }

    /// Whether prewrites may decide (async commit and one-phase). They may at first; without it clients fall back to
    /// two phases.
    pub fn decide_in_prewrite(&self, may: bool) {
        self.state.data(|data| data.engine.decides = may);
    }

    /// Raises the safe point of the cluster's collector. Nothing is dropped.
    pub fn collect(&self, upto: Timestamp) {
        self.state.collect(upto);
    }

    /// Every lock that is held.
    pub fn locks(&self) -> Vec<LockInfo> {
        self.state.data(|data| data.engine.locks())
    }

    /// How many requests the stores are carrying out. What they have received they carry out to the end, also if the
    /// client has given up.
    pub fn requests(&self) -> usize {
        self.state.served.load(Ordering::Acquire)
    }

    /// How many lock requests wait.
    pub fn waiting(&self) -> usize {
        self.state.data(|data| data.waits.count())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
