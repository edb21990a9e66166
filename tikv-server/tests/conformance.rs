//! `TikvStore` keeps every promise of a store.
#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};

/// One cluster for all cases: each keeps to its own keys.
fn connected() -> TikvStore {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Cluster::start(3).unwrap());
    // The suite looks at transactions between their phases.
    let options = TikvOptions::default()
        .async_commit(false)
        .one_phase(false)
        .shared_locks(true);
    TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap()
}

untorn_txn::store_conformance!(connected);
