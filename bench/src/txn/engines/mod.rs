//! One file for each store.

#[cfg(feature = "rocksdb")]
mod rocksdb;
mod untorn;

#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksEngine;
pub use untorn::UntornEngine;
