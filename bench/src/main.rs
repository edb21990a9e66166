//! `cargo run --release -p untorn-bench -- COMMAND`: every figure that this project publishes. See the crate's README.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use untorn_bench::freed_memory;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    freed_memory::keep();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
