//! Random operations on a buffer, and on a pipelined one, and on a plain model that knows all the rules.
#![allow(clippy::unwrap_used)]

mod check;
#[path = "../flushed/mod.rs"]
mod flushed;
mod hook;
mod model;
mod ops;
mod pipelined;
mod session;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Lets `run` do random sequences of operations, and prints how many there were. Who fails shows the shortest that does.
fn each<S: Strategy>(
    name: &str,
    sequences: S,
    run: impl Fn(S::Value),
    count: fn(&S::Value) -> usize,
) {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (cases, operations) = (Cell::new(0), Cell::new(0));
    let checked = TestRunner::new(config).run(&sequences, |sequence| {
        cases.set(cases.get() + 1);
        operations.set(operations.get() + count(&sequence));
        run(sequence);
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{name}: {failure}");
    }
    println!(
        "PROPERTY {name} cases={} operations={} differences=0",
        cases.get(),
        operations.get()
    );
}

#[test]
fn the_buffer_does_what_the_model_does() {
    let sequences = proptest::collection::vec(ops::op(), 1..60);
    each("buffer", sequences, session::run, Vec::len);
}

#[test]
fn a_pipelined_buffer_does_what_its_parts_do() {
    let sequences = proptest::collection::vec(ops::pipelined(), 1..60);
    let limit = proptest::option::of(20usize..300);
    each(
        "pipelined",
        (sequences, limit),
        |(ops, limit)| pipelined::run(ops, limit),
        |(ops, _)| ops.len(),
    );
}
