//! A cluster of two regions, cut at "m", and a client of it.

use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{Mutation, MutationOp, Store, Timestamp};
use untorn_txn::{Db, Error};

/// More than any wait should take.
#[allow(dead_code)]
pub const IN_TIME: Duration = Duration::from_secs(20);

#[allow(dead_code)]
pub fn two_regions(options: TikvOptions) -> (Cluster, Arc<TikvStore>) {
    let cluster = Cluster::start(2).unwrap();
    assert!(cluster.split("m"));
    let store = TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap();
    (cluster, Arc::new(store))
}

/// Another client of the cluster.
#[allow(dead_code)]
pub fn another(cluster: &Cluster) -> Arc<TikvStore> {
    let options = TikvOptions::default();
    Arc::new(TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap())
}

/// For requests to a store that no transaction makes.
#[allow(dead_code)]
pub fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().build();
    runtime.unwrap()
}

#[allow(dead_code)]
#[track_caller]
pub fn comes(is_there: impl Fn() -> bool, what: &str) {
    let until = Instant::now() + IN_TIME;
    while !is_there() {
        assert!(Instant::now() < until, "does not come: {what}");
        std::thread::yield_now();
    }
}

/// What is done in the background is done.
#[allow(dead_code)]
#[track_caller]
pub fn no_locks_are_left(cluster: &Cluster) {
    let until = Instant::now() + IN_TIME;
    while !cluster.locks().is_empty() {
        assert!(Instant::now() < until, "{:?}", cluster.locks());
        std::thread::yield_now();
    }
}

#[allow(dead_code)]
#[track_caller]
pub fn reads(db: &Db, keys: &[&str], is_there: bool) {
    let view = db.blocking().snapshot().unwrap();
    for key in keys {
        assert_eq!(
            view.blocking().get(key).unwrap().is_some(),
            is_there,
            "{key}"
        );
    }
}

#[allow(dead_code)]
pub fn put(key: &'static str) -> Mutation {
    Mutation::new(key.into(), MutationOp::Put("v".into()))
}

/// The answer of a store that has hardly the patience for any.
#[allow(dead_code)]
pub async fn told<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let until = Instant::now() + IN_TIME;
    loop {
        match ask().await {
            Err(Error::Store { .. }) if Instant::now() < until => {}
            answer => return answer,
        }
    }
}

#[allow(dead_code)]
pub async fn value(store: &TikvStore, key: &str, at: Timestamp) -> Option<Bytes> {
    store.get(key.as_bytes(), at).await.unwrap()
}

#[allow(dead_code)]
pub async fn newest(store: &TikvStore, key: &str) -> Option<Bytes> {
    let now = store.timestamp().await.unwrap();
    value(store, key, now).await
}
