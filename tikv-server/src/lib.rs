//! A TiKV cluster for tests: PD and TiKV gRPC on loopback, in this process.
//!
//! [`Cluster::start`] listens on ports of 127.0.0.1 that are free, two for members of PD and one for each store, and serves the
//! requests of transactions over a percolator in memory. Whatever a client of a real cluster has to be prepared for can be
//! commanded: [`split`](Cluster::split), [`merge`](Cluster::merge), [`transfer_leader`](Cluster::transfer_leader),
//! [`transfer_pd_leader`](Cluster::transfer_pd_leader), [`lose_pd`](Cluster::lose_pd),
//! [`cut_connections`](Cluster::cut_connections), [`inject`](Cluster::inject) errors and lost
//! answers by method, or [`harm`](Cluster::harm) every request with some chance, drawn from a seed. [`locks`](Cluster::locks),
//! [`requests`](Cluster::requests) and [`faults`](Cluster::faults) tell what came of it.
//!
//! ```
//! use std::sync::Arc;
//! use untorn_tikv_server::Cluster;
//! use untorn_txn::store::tikv::{TikvOptions, TikvStore};
//! use untorn_txn::{BeginOptions, Db};
//!
//! let cluster = Cluster::start(2)?;
//! cluster.split("m");
//! let store = TikvStore::connect_blocking([cluster.pd_endpoint()], TikvOptions::default())?;
//! let db = Db::new(Arc::new(store));
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! txn.put("a", "in the first region")?;
//! txn.put("z", "in the second")?;
//! txn.blocking().commit()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is served
//!
//! The methods that [`untorn_txn::store::tikv`] uses, with the rules of TiKV 8: pessimistic locks with waits, wake-ups and deadlock
//! detection, shared locks, forced locks; prewrites with async commit and one-phase; pushes of readers, time to live,
//! `CheckTxnStatus`, `CheckSecondaryLocks` and `ResolveLock`. What a store has received it carries out, also if the client
//! has given up. Other methods are answered with `UNIMPLEMENTED`.
//!
//! # What is not
//!
//! Raft, snapshots of followers, coprocessors, the raw interface, API version 2, and collection: the
//! [safe point](Cluster::collect) is only told. The README has the whole list.
#![forbid(unsafe_code)]
// Errors here are messages of the protocol, as large as they are.
#![allow(clippy::result_large_err, clippy::large_enum_variant)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod cluster;
mod connection;
mod faults;
mod mvcc;
mod security;
mod service;
mod state;
mod topology;
mod waits;

pub use cluster::Cluster;
pub use faults::Fault;
