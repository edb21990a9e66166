//! Model checking of the real code with loom.
//!
//! Loom runs a model in every interleaving of its threads, and with every value that the memory model lets a load
//! return, up to a bound on preemptions. The table is built against loom's atomics and against a collector
//! that frees at the first legal moment (`memtable/src/sync.rs`, `memtable/src/reclaim/oracle.rs`).
//!
//! One command runs everything and checks that nothing was left out:
//!
//! ```sh
//! loom-tests/run
//! ```
//!
//! It is `RUSTFLAGS="--cfg untorn_loom" CARGO_TARGET_DIR=target/loom cargo test --release -p untorn-loom-tests`, and the same with
//! `--cfg crossbeam_loom` for what is asked of the real collector (`tests/epoch.rs`); the output is compared with the committed
//! list `MODELS`. Without the flag there are no models, and one test is
//! ignored and says so: zero models prove nothing.
//!
//! A model that passes says little before it was seen to fail. `MUTANTS` names bugs that the model build can plant
//! in the real code, and for each a model that has to fail under it.
//!
//! What these models and all other checks add up to is made into a document by [`verification`].

pub mod verification;

#[cfg(untorn_loom)]
mod model;
#[cfg(untorn_loom)]
pub use model::{MODELS, model, spawn};

#[cfg(untorn_loom)]
mod mutants;
#[cfg(untorn_loom)]
pub use mutants::{Outcome, run_planted};
