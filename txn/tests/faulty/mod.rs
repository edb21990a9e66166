//! The embedded store behind faults.

use std::sync::Arc;
use untorn_txn::store::faults::{FaultPlan, FaultyStore};
use untorn_txn::{Db, MemStore};

pub fn faulty(plan: FaultPlan) -> (Arc<FaultyStore>, Arc<MemStore>, Db) {
    let inner = Arc::new(MemStore::new());
    let store = Arc::new(FaultyStore::new(inner.clone(), plan));
    let db = Db::new(store.clone());
    (store, inner, db)
}
