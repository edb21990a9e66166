#![forbid(unsafe_code)]
//! Benchmarks of Untorn beside its peers.
