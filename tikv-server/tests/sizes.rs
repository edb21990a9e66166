//! What does not fit into one request: pages of a scan, batches by size, several regions.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{Pairs, ScanRequest, Store};
use untorn_txn::{BeginOptions, Db, LockOptions};

/// Several pages, and with these values several batches, of each region.
const KEYS: usize = 1_500;
const VALUE: usize = 100;

fn rows() -> Pairs {
    let row = |number: usize| {
        let value = format!("{number:>VALUE$}");
        (Bytes::from(format!("row/{number:05}")), Bytes::from(value))
    };
    (0..KEYS).map(row).collect()
}

/// Three regions, with all rows written by one transaction that has locked them in one call.
fn written(rows: &[(Bytes, Bytes)]) -> (Cluster, Arc<TikvStore>) {
    let cluster = Cluster::start(3).unwrap();
    for border in [500, 999] {
        assert!(cluster.split(rows[border].0.clone()));
    }
    let options = TikvOptions::default();
    let store = Arc::new(TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap());
    let db = Db::new(store.clone());
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    let keys = rows.iter().map(|(key, _)| key);
    let outcomes = txn.blocking().lock_keys(keys, LockOptions::default());
    assert_eq!(outcomes.unwrap().len(), KEYS);
    for (key, value) in rows {
        txn.put(key, value.clone()).unwrap();
    }
    let info = txn.blocking().commit().unwrap();
    assert_eq!((info.keys, info.one_phase), (KEYS, false));
    (cluster, store)
}

#[test]
fn a_transaction_of_many_batches_is_read_back_whole_in_every_way() {
    let mut rows = rows();
    let (_cluster, store) = written(&rows);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let at = store.timestamp().await.unwrap();
        let scan = |lower, upper, reverse| ScanRequest {
            lower,
            upper,
            at,
            limit: 10 * KEYS,
            reverse,
        };
        let (every, first, last) = (Bound::Unbounded, 700, 1_300);
        let forwards = store.scan(&scan(every.clone(), every.clone(), false)).await;
        assert!(forwards.unwrap() == rows, "all of it, in order");
        let lower = Bound::Included(rows[first].0.clone());
        let upper = Bound::Included(rows[last].0.clone());
        let part = store.scan(&scan(lower, upper, false)).await;
        assert!(part.unwrap() == rows[first..=last], "a part, over a border");
        let keys: Vec<Bytes> = rows.iter().map(|(key, _)| key.clone()).rev().collect();
        let values = store.batch_get(&keys, at).await.unwrap();
        let expected = rows.iter().rev().map(|(_, value)| Some(value.clone()));
        assert!(values == expected.collect::<Vec<_>>(), "in the order asked");
        rows.reverse();
        let backwards = store.scan(&scan(every.clone(), every, true)).await;
        assert!(backwards.unwrap() == rows, "all of it, from the back");
    });
}
