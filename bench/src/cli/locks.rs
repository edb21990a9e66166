//! `locks`: what transactions take, call by call.

use std::path::PathBuf;

use untorn_bench::environment::Machine;
use untorn_bench::txn::{self, Plan};

use super::options::Seed;
use super::{Failure, write_json};

/// Whole distributions in nanoseconds. With the feature `rocksdb`, beside RocksDB's `TransactionDB`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Samples of each figure; of those that take long a tenth as many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    samples: u32,
    #[command(flatten)]
    seed: Seed,
    /// Where to write the figures for programs.
    #[arg(long)]
    json: Option<PathBuf>,
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
        self.json.map_or(Ok(()), |path| write_json(&path, &report))
    }
}
