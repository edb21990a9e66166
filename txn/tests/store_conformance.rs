//! The embedded store keeps every promise of a store.

use untorn_txn::MemStore;

untorn_txn::store_conformance!(MemStore::new);
