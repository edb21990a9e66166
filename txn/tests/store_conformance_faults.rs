//! Delays and duplicates alone must not be noticed: behind them the embedded store keeps every promise still.

use std::sync::Arc;
use untorn_txn::MemStore;
use untorn_txn::store::faults::{Fault, FaultPlan, FaultyStore};

fn duplicating() -> FaultyStore {
    let plan = FaultPlan::new(9)
        .chance(Fault::Duplicate, 0.3)
        .chance(Fault::LateDuplicate, 0.3);
    FaultyStore::new(Arc::new(MemStore::new()), plan)
}

untorn_txn::store_conformance!(duplicating);
