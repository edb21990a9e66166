//! Fills one table under an allocator that counts, and prints what it holds per entry as JSON.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use cap::Cap;
use clap::Parser;
use mimalloc::MiMalloc;
use untorn_bench::footprint::Weigh;
use untorn_bench::keys::{KeyKind, Keys};
use untorn_bench::roster::PeerKind;
use untorn_bench::workload::Workload;

#[global_allocator]
static GLOBAL: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Bytes per entry of one freshly filled table.
#[derive(Debug, Parser)]
#[command(name = "footprint")]
struct Args {
    /// The peer.
    #[arg(long)]
    peer: PeerKind,
    /// Kind of keys.
    #[arg(long, default_value = "random")]
    keys: KeyKind,
    /// Keys in the table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Seed of keys and orders.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(reason) = args.peer.cannot(Workload::Memory, args.keys) {
        eprintln!("{reason}");
        return ExitCode::FAILURE;
    }
    let keys = Keys::new(args.keys, args.n as usize, args.seed);
    let footprint = args.peer.dispatch(Weigh {
        keys: &keys,
        allocated: || GLOBAL.allocated(),
    });
    match serde_json::to_string(&footprint) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
