//! `TikvStore` keeps every promise of a store while regions are cut and led by others all the time, and requests and
//! answers are lost.
#![allow(clippy::unwrap_used)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvOptions, TikvStore};
use untorn_txn::{BeginOptions, Db, LockOptions};

/// One cut or one new leader every so often.
const PACE: Duration = Duration::from_millis(3);
const REGIONS: usize = 64;

fn seed() -> u64 {
    let given = std::env::var("UNTORN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("UNTORN_SEED={seed}");
    seed
}

fn disturb(cluster: &'static Cluster, mut rng: StdRng) {
    loop {
        let locks = cluster.locks();
        if !locks.is_empty() {
            let key = &locks[rng.random_range(0..locks.len())].key;
            if cluster.regions() < REGIONS && rng.random_bool(0.3) {
                cluster.split(key.clone());
            } else {
                cluster.transfer_leader(key);
            }
        }
        std::thread::sleep(PACE);
    }
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    static DISTURBED: OnceLock<()> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Cluster::start(3).unwrap());
    DISTURBED.get_or_init(|| {
        let seed = seed();
        cluster.harm(seed, 0.03);
        std::thread::spawn(move || disturb(cluster, StdRng::seed_from_u64(seed)));
    });
    cluster
}

fn connected() -> TikvStore {
    let options = TikvOptions::default()
        .async_commit(false)
        .one_phase(false)
        .shared_locks(true);
    TikvStore::connect_blocking([cluster().pd_endpoint()], options).unwrap()
}

untorn_txn::store_conformance!(connected);

/// Else the rest would prove nothing.
#[test]
fn the_cluster_is_disturbed() {
    let db = Db::new(Arc::new(connected()));
    let until = Instant::now() + Duration::from_secs(60);
    while cluster().regions() < 8 || cluster().faults() < 30 {
        assert!(Instant::now() < until, "nothing happens");
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        let name = txn.start_ts().to_string();
        txn.blocking()
            .lock_keys([&name], LockOptions::default())
            .unwrap();
        txn.put(&name, "v").unwrap();
        txn.blocking().commit().unwrap();
    }
}
