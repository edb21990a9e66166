//! `floor`: what memory alone costs, beside what operations cost.

use untorn_bench::clock::TimeSource;
use untorn_bench::environment::Machine;
use untorn_bench::floor::{self, Plan};

use super::Failure;
use super::options::{Json, Seed};

/// Random keys. A loop misses the caches as an operation must, and does nothing else; `x` is the operation over its loop.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Keys in a table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Vec<u16>,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The clock that figures are taken from; `cpu` for a machine that is busy with other things.
    #[arg(long, default_value = "wall")]
    clock: TimeSource,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    json: Json,
}

impl Args {
    /// Measures, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let plan = Plan {
            n: self.n as usize,
            threads: self.threads.into_iter().map(usize::from).collect(),
            rounds: usize::from(self.rounds),
            clock: self.clock,
            seed: self.seed.seed,
        };
        let rows = plan.run();
        print!("{}", floor::render(&rows));
        self.json.write(&rows)
    }
}
