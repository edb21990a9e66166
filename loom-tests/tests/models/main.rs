//! The models. Each test is one model; `mutants` shows that they can fail.
#![allow(missing_docs)]

#[cfg(untorn_loom)]
mod buffer;
#[cfg(untorn_loom)]
mod collector;
#[cfg(untorn_loom)]
mod harness;
#[cfg(untorn_loom)]
mod inbox;
#[cfg(untorn_loom)]
mod locks;
#[cfg(untorn_loom)]
mod log;
#[cfg(untorn_loom)]
mod memtable;
#[cfg(untorn_loom)]
mod mutants;
#[cfg(untorn_loom)]
mod set;
#[cfg(untorn_loom)]
mod transaction;

#[cfg(not(untorn_loom))]
#[test]
#[ignore = "no model is built without its flag: run loom-tests/run"]
fn models_need_their_flag() {
    panic!("no model was built: run loom-tests/run, which sets RUSTFLAGS=\"--cfg untorn_loom\"");
}
