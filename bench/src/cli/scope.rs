//! How much is measured: what `targets` and `report` have in common.

use untorn_bench::suite::Suite;

use super::options::{Seed, Sizes};

/// How much is measured.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Scope {
    /// Keys in a table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    #[command(flatten)]
    sizes: Sizes,
    /// Samples of what transactions do; of what takes long a tenth as many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..))]
    samples: u32,
    #[command(flatten)]
    seed: Seed,
}

impl Scope {
    /// The suite of this size.
    pub fn suite(&self) -> Suite {
        Suite {
            n: self.n as usize,
            rounds: usize::from(self.rounds),
            sizes: self.sizes.ascending(),
            samples: self.samples as usize,
            seed: self.seed.seed,
        }
    }
}
