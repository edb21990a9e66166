//! Random operations of everything, by many threads, for as long as one likes; see [`untorn_bench::soak`].
//!
//! ```text
//! cargo run --release -p untorn-bench --bin soak -- --minutes 60
//! cargo run --release -p untorn-bench --bin soak -- --seed 7 --round 1234 --minutes 0
//! ```
//!
//! Exit code 0: nothing was seen that must not be. 1: something was, or too much memory was held. 2: an option is wrong.

#![forbid(unsafe_code)]

use cap::Cap;
use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use untorn_bench::soak::{Ceiling, Plan, Scenario};

#[global_allocator]
static GLOBAL: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// How often the progress is told.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Random operations of everything, by many threads.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Args {
    /// How long; a round that was begun is finished.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Seed of all rounds; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// The first round, to resume a run or to repeat one round.
    #[arg(long, default_value_t = 0)]
    round: u64,
    /// Threads at work, beside one that observes.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    threads: u16,
    /// Steps of each thread in a round.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    steps: u32,
    /// Bytes of live allocations that are allowed while a round runs, in MiB.
    #[arg(long, default_value_t = 64)]
    ceiling: usize,
    /// And after one, when all was dropped, in MiB.
    #[arg(long, default_value_t = 1)]
    rest: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Ok(length) = Duration::try_from_secs_f64(args.minutes * 60.0) else {
        eprintln!("{} minutes are no length of time", args.minutes);
        return ExitCode::from(2);
    };
    let plan = Plan {
        seed: args.seed.unwrap_or_else(rand::random),
        first: args.round,
        length,
        threads: args.threads.into(),
        steps: args.steps as usize,
        scenarios: Scenario::ALL.to_vec(),
        ceiling: Ceiling {
            busy: args.ceiling << 20,
            rest: args.rest << 20,
        },
    };
    println!("SOAK seed={} threads={}", plan.seed, plan.threads);
    let mut told = Instant::now();
    let done = plan.run(
        || GLOBAL.allocated(),
        |_, progress| {
            if told.elapsed() >= LINE_EVERY {
                told = Instant::now();
                println!("SOAK {progress}");
            }
        },
    );
    match done {
        Ok(progress) => {
            println!(
                "SOAK everything threads={} seed={} {progress} clean=true",
                plan.threads, plan.seed
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("SOAK {failure}");
            ExitCode::FAILURE
        }
    }
}
