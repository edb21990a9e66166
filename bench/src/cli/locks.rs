//! `locks`: what transactions take, call by call.

use untorn_bench::environment::Machine;
use untorn_bench::txn::{self, Plan};

use super::Failure;
use super::options::{Json, Seed};

/// Whole distributions in nanoseconds. With the feature `rocksdb`, beside RocksDB's `TransactionDB`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Samples of each figure; of those that take long a tenth as many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    samples: u32,
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
            samples: self.samples as usize,
            seed: self.seed.seed,
        };
        let report = plan.run();
        print!("{}", txn::render(&report));
        self.json.write(&report)
    }
}
