//! Connections that are encrypted, to a cluster that asks its clients who they are.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use untorn_tikv_server::Cluster;
use untorn_txn::store::tikv::{TikvError, TikvOptions, TikvStore, Tls};
use untorn_txn::{BeginOptions, Db, Error, LockOptions};

fn impatient() -> TikvOptions {
    TikvOptions::default().patience(Duration::from_millis(600))
}

#[track_caller]
fn refused(endpoint: String, options: TikvOptions) -> TikvError {
    let refused = TikvStore::connect_blocking([endpoint], options);
    let Err(Error::Store { source, .. }) = refused else {
        panic!("not refused: {refused:?}");
    };
    source.downcast_ref::<TikvError>().cloned().unwrap()
}

/// Refused for that reason, at the latest where the last attempt has had the time to be told.
#[track_caller]
fn is_refused_for(why: &str, endpoint: &str, options: &TikvOptions) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let error = refused(endpoint.to_owned(), options.clone());
        let TikvError::NoPd { last, .. } = &error else {
            panic!("{error}");
        };
        if last.contains(why) {
            return;
        }
        assert!(Instant::now() < until, "{last}");
    }
}

#[test]
fn transactions_commit_over_encrypted_connections_in_several_regions() {
    let cluster = Cluster::start_encrypted(2).unwrap();
    cluster.split("m");
    let options = TikvOptions::default().tls(cluster.tls().unwrap());
    // However the address is written: what the options say holds.
    for scheme in ["", "http://", "https://"] {
        let endpoint = format!("{scheme}{}", cluster.pd_endpoint());
        let store = TikvStore::connect_blocking([endpoint.clone()], options.clone()).unwrap();
        assert_eq!(store.cluster_id(), cluster.id());
        let db = Db::new(Arc::new(store));
        let txn = db.blocking().begin(BeginOptions::default()).unwrap();
        txn.blocking()
            .lock_keys(["a", "z"], LockOptions::default())
            .unwrap();
        let written = format!("by {endpoint}");
        for key in ["a", "z"] {
            txn.put(key, &written).unwrap();
        }
        txn.blocking().commit().unwrap();

        cluster.transfer_pd_leader();
        cluster.cut_connections();
        let reader = db.blocking().begin(BeginOptions::optimistic()).unwrap();
        for key in ["a", "z"] {
            let value = reader.blocking().get(key).unwrap();
            assert_eq!(value.as_deref(), Some(written.as_bytes()));
        }
    }
    assert!(cluster.locks().is_empty());
}

#[test]
fn who_does_not_encrypt_is_not_served() {
    let cluster = Cluster::start_encrypted(1).unwrap();
    let error = refused(cluster.pd_endpoint(), impatient());
    assert!(matches!(error, TikvError::NoPd { .. }), "{error}");
}

#[test]
fn a_server_of_another_authority_is_not_trusted() {
    let [cluster, other] = [1, 1].map(|stores| Cluster::start_encrypted(stores).unwrap());
    let options = impatient().tls(other.tls().unwrap());
    is_refused_for("certificate", &cluster.pd_endpoint(), &options);
}

#[test]
fn a_server_under_another_name_is_not_trusted() {
    let cluster = Cluster::start_encrypted(1).unwrap();
    let tls = cluster.tls().unwrap().domain("pd.example");
    is_refused_for("pd.example", &cluster.pd_endpoint(), &impatient().tls(tls));
}

#[test]
fn what_is_no_certificate_is_refused_at_once() {
    let cluster = Cluster::start(1).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    let other = Cluster::start_encrypted(1).unwrap();
    for tls in [
        Tls::new(broken),
        other.tls().unwrap().identity("no certificate", "no key"),
    ] {
        let error = refused(cluster.pd_endpoint(), TikvOptions::default().tls(tls));
        assert!(matches!(error, TikvError::BadCertificate { .. }), "{error}");
        assert!(!error.is_transient());
    }
}

#[test]
fn keys_are_not_printed() {
    let cluster = Cluster::start_encrypted(1).unwrap();
    assert_eq!(format!("{:?}", cluster.tls().unwrap()), "Tls { .. }");
    assert!(format!("{cluster:?}").contains("Security { .. }"));
}
