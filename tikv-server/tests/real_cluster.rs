//! The promises of a store on a real cluster: `TIKV_PD=127.0.0.1:2379 cargo test -p untorn-tikv-server --test real_cluster -- --ignored`.
#![allow(clippy::unwrap_used)]

use untorn_txn::store::conformance;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};

fn connected(shared_locks: bool) -> TikvStore {
    let pd = std::env::var("TIKV_PD").expect("TIKV_PD names the placement drivers of a cluster");
    let options = TikvOptions::default()
        .async_commit(false)
        .one_phase(false)
        .shared_locks(shared_locks);
    TikvStore::connect_blocking(pd.split(','), options).unwrap()
}

#[test]
#[ignore = "needs a cluster, named by TIKV_PD"]
fn every_promise_is_kept_but_for_shared_locks() {
    let failed = conformance::check(|| connected(false));
    let without_shared_locks: Vec<_> = failed
        .into_iter()
        .filter(|case| !case.starts_with("a_shared_"))
        .collect();
    assert_eq!(without_shared_locks, Vec::<&str>::new());
}

#[test]
#[ignore = "needs a cluster of TiKV 8.5.8 or newer, named by TIKV_PD"]
fn every_promise_is_kept() {
    assert_eq!(conformance::check(|| connected(true)), Vec::<&str>::new());
}
