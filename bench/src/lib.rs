#![forbid(unsafe_code)]
//! Benchmarks of Untorn beside its peers.
//!
//! Three programs and a criterion target share this library:
//!
//! - `untorn-bench compare` times every workload on every peer in *interleaved rounds*: round by round, peer by peer, so that a
//!   slow minute of the machine falls on all of them. It prints the minimum, the spread and the ratio to Untorn.
//! - `footprint` fills one table in a fresh process under a counting allocator and prints bytes per entry. It is called
//!   for the memory figures; it is a program of its own because counting costs two shared atomics per allocation, which would tell
//!   in the timings.
//! - `untorn-bench complexity` does forms of use ever more often and marks those whose cost grows with that.
//! - `soak` looks for faults, not for figures: [`soak`].
//! - `cargo bench` runs the same workloads at a small size under criterion.
//!
//! # What is measured
//!
//! Every operation stands alone: it takes whatever guard its peer needs, does its work and gives the guard back, as
//! in a storage engine that serves one request after another. Writes copy the key and the value in. Reads never copy
//! beyond what the peer's best interface needs, but they *look* at what they found: a get reads the first byte of
//! the value and checks it, a scan reads the last byte of each key and the first of each value. Wrong answers are
//! counted and marked: some peers do not find a key while another thread overwrites it.
//!
//! Queries cover the whole table in an order that is independent of the order of insertion, laid out beforehand in
//! the order in which they are asked, so that the reading of the query itself costs no cache miss.
//!
//! With several threads a figure is wall time divided by the operations of all threads together. On a machine that
//! is busy with other things take processor time instead: [`clock`].

pub mod caches;
pub mod chart;
pub mod clock;
pub mod compare;
pub mod complexity;
pub mod document;
pub mod durable;
pub mod environment;
pub mod floor;
pub mod footprint;
pub mod freed_memory;
pub mod growth;
pub mod keys;
pub mod latency;
pub mod measure;
pub mod owned;
pub mod peer;
pub mod peers;
pub mod progress;
pub mod published;
pub mod results;
pub mod roster;
pub mod run;
pub mod soak;
pub mod suite;
pub mod table;
pub mod targets;
pub mod txn;
pub mod words;
pub mod workload;

/// The workspace's README: its example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
