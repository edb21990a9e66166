//! What is remembered of regions is right only until they change, and PD may not know yet what they have become.
#![allow(clippy::unwrap_used)]

mod two_regions;

use std::ops::Bound;
use std::sync::Arc;
use two_regions::{another, runtime, two_regions};
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::store::{ScanRequest, Store};
use untorn_txn::{BeginOptions, Db};

const KEYS: [&str; 6] = ["a", "d", "e", "f", "m", "z"];

/// The regions up to "c", from there up to "m", and from there on; and a client that knows the last alone.
fn three_regions() -> (Cluster, Arc<TikvStore>) {
    let (cluster, store) = two_regions(TikvOptions::default());
    assert!(cluster.split("c"));
    let db = Db::new(store);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    for key in KEYS {
        txn.put(key, "v").unwrap();
    }
    txn.blocking().commit().unwrap();
    let client = another(&cluster);
    let view = Db::new(client.clone()).blocking().snapshot().unwrap();
    assert!(view.blocking().get("z").unwrap().is_some());
    (cluster, client)
}

/// From the back, up to a border or all.
fn keys_before(store: &TikvStore, border: Option<&'static str>) -> Vec<String> {
    let found = runtime().block_on(async {
        let request = ScanRequest {
            lower: Bound::Unbounded,
            upper: border.map_or(Bound::Unbounded, |key| Bound::Excluded(key.into())),
            at: store.timestamp().await.unwrap(),
            limit: usize::MAX,
            reverse: true,
        };
        store.scan(&request).await.unwrap()
    });
    let keys = found.into_iter();
    keys.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_border_that_is_merged_away_hides_nothing_from_a_reverse_scan() {
    let (cluster, client) = three_regions();
    assert!(cluster.merge("m"));
    assert_eq!(keys_before(&client, Some("m")), ["f", "e", "d", "a"]);
    let (cluster, client) = three_regions();
    assert!(cluster.merge("m") && cluster.merge("c"));
    assert_eq!(keys_before(&client, Some("m")), ["f", "e", "d", "a"]);
    let (cluster, client) = three_regions();
    assert!(cluster.merge("m"));
    let mut all = KEYS;
    all.reverse();
    assert_eq!(keys_before(&client, None), all);
}

#[test]
fn what_pd_does_not_know_of_a_region_it_is_asked_for_again() {
    for fault in [Fault::RegionNotFound, Fault::NoPeers] {
        let (cluster, client) = three_regions();
        for method in ["GetRegion", "GetPrevRegion"] {
            for _ in 0..3 {
                cluster.inject(method, fault);
            }
        }
        assert_eq!(keys_before(&client, Some("m")), ["f", "e", "d", "a"]);
        assert_eq!(cluster.faults(), 6, "all of them were met");
        let view = Db::new(another(&cluster)).blocking().snapshot().unwrap();
        cluster.inject("GetRegion", fault);
        let found = view.blocking().batch_get(KEYS).unwrap();
        assert!(found.iter().all(Option::is_some), "{found:?}");
        assert_eq!(cluster.faults(), 7);
    }
}
