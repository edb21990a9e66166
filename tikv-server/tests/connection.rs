//! What a store says of a cluster that is not there, is lost, or is another one; and that it says it in time.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use untorn_tikv_server::{Cluster, Fault};
use untorn_txn::lock::Wait;
use untorn_txn::store::tikv::{TikvError, TikvOptions, TikvStore};
use untorn_txn::store::{Store, Timestamp, TxnStatus};
use untorn_txn::{BeginOptions, Db, Error, TxnState};

const PATIENCE: Duration = Duration::from_millis(600);
/// Far below any limit of gRPC or the system, far above the patience.
const IN_TIME: Duration = Duration::from_secs(8);

fn impatient() -> TikvOptions {
    TikvOptions::default().patience(PATIENCE)
}

/// A client that waits for a short time, of the cluster as it is.
fn impatient_client(cluster: &Cluster) -> Arc<TikvStore> {
    let store = TikvStore::connect_blocking([cluster.pd_endpoint()], impatient());
    Arc::new(store.unwrap())
}

#[track_caller]
fn told<T>(result: Result<T, Error>) -> TikvError {
    let source = match result {
        Err(Error::Store { source, .. }) => source,
        Err(other) => panic!("not of the store: {other}"),
        Ok(_) => panic!("there is nobody"),
    };
    source.downcast_ref::<TikvError>().cloned().unwrap()
}

#[test]
fn an_address_where_nobody_listens_is_told_in_time() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let began = Instant::now();
    let error = told(TikvStore::connect_blocking([address.clone()], impatient()));
    assert!(began.elapsed() < IN_TIME);
    assert!(
        matches!(&error, TikvError::NoPd { endpoints, .. } if *endpoints == [address]),
        "{error}"
    );
}

#[test]
fn what_is_no_address_is_refused_at_once() {
    for bad in ["", "not an address", "https://127.0.0.1:2379"] {
        let began = Instant::now();
        let error = told(TikvStore::connect_blocking([bad], TikvOptions::default()));
        assert!(
            matches!(error, TikvError::BadEndpoint { .. }),
            "{bad}: {error}"
        );
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let none: [&str; 0] = [];
    assert!(matches!(
        told(TikvStore::connect_blocking(none, TikvOptions::default())),
        TikvError::BadEndpoint { .. }
    ));
}

#[test]
fn of_several_addresses_one_that_answers_is_enough() {
    let cluster = Cluster::start(1).unwrap();
    let endpoints = ["127.0.0.1:1".to_owned(), cluster.pd_endpoint()];
    let store = TikvStore::connect_blocking(endpoints, TikvOptions::default()).unwrap();
    assert_eq!(store.cluster_id(), cluster.id());
}

#[test]
fn another_cluster_than_the_one_that_is_meant_is_refused() {
    let cluster = Cluster::start(1).unwrap();
    let options = TikvOptions::default().cluster_id(42);
    let error = told(TikvStore::connect_blocking(
        [cluster.pd_endpoint()],
        options,
    ));
    assert!(
        matches!(error, TikvError::WrongCluster { expected: 42, found } if found == cluster.id()),
        "{error}"
    );
}

#[test]
fn a_lost_pd_is_told_in_time_and_found_again() {
    let cluster = Cluster::start(1).unwrap();
    let db = Db::new(impatient_client(&cluster));
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    txn.blocking().commit().unwrap();
    cluster.lose_pd(true);
    let began = Instant::now();
    let error = told(db.blocking().begin(BeginOptions::default()));
    assert!(began.elapsed() < IN_TIME);
    assert!(matches!(error, TikvError::NoTimestamp { .. }), "{error}");
    assert!(error.is_transient());
    cluster.lose_pd(false);
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(
        view.blocking().get("k").unwrap().as_deref(),
        Some(&b"v"[..])
    );
}

#[test]
fn a_timestamp_is_waited_for_as_long_as_the_patience_whoever_asked_before() {
    let cluster = Cluster::start(1).unwrap();
    let db = Db::new(impatient_client(&cluster));
    cluster.inject_always("Tso", Fault::LostRequest);
    let waited = || match told(db.blocking().begin(BeginOptions::default())) {
        TikvError::NoTimestamp { waited, .. } => waited,
        other => panic!("not of the timestamp: {other}"),
    };
    std::thread::scope(|scope| {
        let older = scope.spawn(waited);
        let until = Instant::now() + IN_TIME;
        while cluster.faults() < 4 {
            assert!(Instant::now() < until, "nobody asks");
            std::thread::yield_now();
        }
        let younger = waited();
        assert!(younger >= PATIENCE, "{younger:?}");
        let older = older.join().unwrap();
        assert!(older >= PATIENCE, "{older:?}");
    });
    cluster.heal();
    db.blocking().begin(BeginOptions::default()).unwrap();
}

/// What reads at once come to, and how long they took.
fn read_at_once(store: &Arc<TikvStore>, at: Timestamp) -> (Vec<Result<(), Error>>, Duration) {
    const READERS: usize = 32;
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let read = runtime.unwrap().block_on(async {
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let store = Arc::clone(store);
            readers.spawn(async move { store.get(b"k", at).await.map(drop) });
        }
        readers.join_all().await
    });
    (read, began.elapsed())
}

#[test]
fn the_safe_point_is_asked_for_once_for_all_who_read_at_once() {
    let cluster = Cluster::start(1).unwrap();
    let store = impatient_client(&cluster);
    let view = Db::new(store.clone()).blocking().snapshot().unwrap();
    cluster.inject_always("GetGCSafePoint", Fault::Delay(PATIENCE / 10));
    let (read, took) = read_at_once(&store, view.timestamp());
    assert!(read.iter().all(Result::is_ok), "{read:?}");
    let asked = cluster.faults();
    assert!((1..=1 + took.as_secs()).contains(&asked), "{asked}");
}

#[test]
fn a_safe_point_that_is_not_told_fails_all_who_read_at_once_in_time() {
    let cluster = Cluster::start(1).unwrap();
    let store = impatient_client(&cluster);
    let view = Db::new(store.clone()).blocking().snapshot().unwrap();
    cluster.lose_pd(true);
    let (read, took) = read_at_once(&store, view.timestamp());
    assert!(read.iter().all(Result::is_err), "{read:?}");
    assert!(took < IN_TIME, "{took:?}");
}

#[test]
fn another_leader_of_pd_is_found_and_its_timestamps_go_on() {
    let cluster = Cluster::start(1).unwrap();
    let store = TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default());
    let db = Db::new(Arc::new(store.unwrap()));
    let mut newest = 0;
    for round in 0..4 {
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        assert!(txn.start_ts() > newest);
        cluster.transfer_pd_leader();
        txn.put("k", format!("{round}")).unwrap();
        newest = txn.blocking().commit().unwrap().commit_ts.unwrap();
        cluster.split(format!("k{round}"));
    }
    let view = db.blocking().snapshot().unwrap();
    assert_eq!(
        view.blocking().get("k").unwrap().as_deref(),
        Some(&b"3"[..])
    );
}

#[test]
fn connections_that_break_are_made_again_and_nothing_is_lost() {
    const COMMITS: usize = 40;
    let cluster = Cluster::start(2).unwrap();
    cluster.split("m");
    let store = TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default());
    let db = Db::new(Arc::new(store.unwrap()));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                cluster.cut_connections();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        for round in 0..COMMITS {
            let txn = db.blocking().begin(BeginOptions::default()).unwrap();
            for key in ["a", "z"] {
                let before = txn.blocking().get_for_update(key).unwrap();
                let before = before.map(|value| String::from_utf8(value.to_vec()).unwrap());
                let before: usize = before.map_or(0, |before| before.parse().unwrap());
                assert_eq!(before, round, "{key}");
                txn.put(key, (before + 1).to_string()).unwrap();
            }
            txn.blocking().commit().unwrap();
        }
        is_done.store(true, Ordering::Release);
    });
    let taken = cluster.connections();
    assert!(taken > 10, "{taken} connections: hardly any was cut");
}

#[test]
fn a_cluster_that_is_gone_is_told_in_time() {
    let cluster = Cluster::start(2).unwrap();
    let db = Db::new(impatient_client(&cluster));
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    drop(cluster);
    let began = Instant::now();
    // Told as a failure of the store, or that it is not known how it ended.
    let failed = txn.blocking().commit();
    assert!(
        matches!(
            failed,
            Err(Error::Store { .. } | Error::Undetermined { .. })
        ),
        "{failed:?}"
    );
    assert!(began.elapsed() < 3 * IN_TIME);
}

#[test]
fn what_a_region_does_not_take_is_not_sent_again() {
    let cluster = Cluster::start(1).unwrap();
    let store = TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default());
    let db = Db::new(Arc::new(store.unwrap()));
    cluster.inject("KvPrewrite", Fault::TooLarge);
    let txn = db.blocking().begin(BeginOptions::default()).unwrap();
    txn.put("k", "v").unwrap();
    let error = told(txn.blocking().commit());
    assert!(
        matches!(error, TikvError::TooLarge { region: 1, .. }),
        "{error}"
    );
    assert_eq!(txn.state(), TxnState::RolledBack);
}

#[test]
fn a_region_that_stays_silent_is_named_with_its_key() {
    let cluster = Cluster::start(1).unwrap();
    let db = Db::new(impatient_client(&cluster));
    let view = db.blocking().snapshot().unwrap();
    for _ in 0..1_000 {
        cluster.inject("KvGet", Fault::LostRequest);
    }
    let error = told(view.blocking().get("some key"));
    assert!(
        matches!(&error, TikvError::RegionUnavailable { key, .. } if key == "some key"),
        "{error}"
    );
}

#[test]
fn what_is_given_a_duration_without_end_has_none() {
    let cluster = Cluster::start(1).unwrap();
    let endless = TikvOptions::default()
        .patience(Duration::MAX)
        .call_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX);
    let two_phases = endless.clone().async_commit(false).one_phase(false);
    let other = TikvStore::connect_blocking([cluster.pd_endpoint()], endless.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    for options in [endless, two_phases] {
        let store = TikvStore::connect_blocking([cluster.pd_endpoint()], options).unwrap();
        let db = Db::new(Arc::new(store));
        let options = BeginOptions {
            lock_ttl: Duration::MAX,
            lock_wait: Wait::For(Duration::MAX),
            max_lifetime: Some(Duration::MAX),
            ..BeginOptions::default()
        };
        let txn = db.blocking().begin(options).unwrap();
        txn.blocking().get_for_update("k").unwrap();
        txn.put("k", "v").unwrap();
        let seen = runtime.block_on(other.status(txn.start_ts(), "k".into()));
        assert_eq!(seen.unwrap(), TxnStatus::Open);
        txn.blocking().commit().unwrap();
        let view = db.blocking().snapshot().unwrap();
        let found = view.blocking().get("k").unwrap();
        assert_eq!(found.as_deref(), Some(&b"v"[..]));
    }
}

#[test]
fn a_cluster_may_be_started_and_dropped_inside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let cluster = Cluster::start(1).unwrap();
        let store = TikvStore::connect([cluster.pd_endpoint()], TikvOptions::default()).await;
        assert_eq!(store.unwrap().cluster_id(), cluster.id());
        drop(cluster);
    });
}

#[test]
fn a_store_may_be_dropped_inside_of_a_runtime_and_with_requests_under_way() {
    let cluster = Cluster::start(1).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let store = TikvStore::connect([cluster.pd_endpoint()], TikvOptions::default())
            .await
            .unwrap();
        let db = Db::new(Arc::new(store));
        let holder = db.begin(BeginOptions::default()).await.unwrap();
        holder.get_for_update("k").await.unwrap();
        let waiter = db.begin(BeginOptions::default()).await.unwrap();
        let mut waiting = Box::pin(async move { waiter.get_for_update("k").await });
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
        drop(waiting);
        drop(holder);
    });
}
