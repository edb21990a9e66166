//! `floor`: what memory and counters alone cost, beside what operations cost.

use untorn_bench::clock::TimeSource;
use untorn_bench::environment::Machine;
use untorn_bench::floor::{self, Plan};
use untorn_bench::keys::KeyKind;

use super::Failure;
use super::options::{Json, Seed};

/// A loop misses the caches as an operation must, or counts as it must, and does nothing else; `x` is the operation over its loop.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Keys in a table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Kind of keys. The entries of sequential ones lie in the order of their keys, those of others do not.
    #[arg(long, default_value = "random")]
    keys: KeyKind,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Vec<u16>,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Other numbers of keys, for the loops that read, on one thread.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(100..))]
    sizes: Vec<u32>,
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
            keys: self.keys,
            threads: self.threads.into_iter().map(usize::from).collect(),
            rounds: usize::from(self.rounds),
            sizes: self.sizes.into_iter().map(|n| n as usize).collect(),
            clock: self.clock,
            seed: self.seed.seed,
        };
        let report = plan.run();
        print!("{}", floor::render(&report));
        self.json.write(&report)
    }
}
