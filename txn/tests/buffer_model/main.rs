//! Random operations on a buffer, and on a pipelined one, and on a plain model that knows all the rules.
#![allow(clippy::unwrap_used)]

mod check;
#[path = "../flushed/mod.rs"]
mod flushed;
mod model;
mod ops;
mod pipelined;
mod session;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_buffer_does_what_the_model_does(ops in proptest::collection::vec(ops::op(), 1..60)) {
        session::run(ops);
    }
}
