//! `growth`: what an operation costs over the size of the table.

use std::time::Duration;

use untorn_bench::chart;
use untorn_bench::environment::Machine;
use untorn_bench::growth::{self, Plan};
use untorn_bench::keys::KeyKind;
use untorn_bench::roster::PeerKind;

use super::options::{Output, Seed, Sizes};
use super::{Failure, write_text};

/// One thread. A step is told for a factor of 10 in size. Charts are called `growth-PEER.svg`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    #[command(flatten)]
    sizes: Sizes,
    /// Kind of keys.
    #[arg(long, default_value = "random")]
    keys: KeyKind,
    /// Rounds at least; small tables take more.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Peers.
    #[arg(long, value_delimiter = ',', default_value = "untorn")]
    peers: Vec<PeerKind>,
    /// Seconds that one workload of one peer may take in one round; beyond that it is left out.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Measures, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let plan = Plan {
            sizes: self.sizes.ascending(),
            keys: self.keys,
            rounds: usize::from(self.rounds),
            peers: self.peers,
            cap: Duration::from_secs(self.cap),
            seed: self.seed.seed,
        };
        let report = plan.run();
        print!("{}", growth::render(&report));
        self.output.write(&report)?;
        if let Some(folder) = self.output.charts() {
            for peer in report.peers() {
                let name = format!("growth-{}.svg", peer.name());
                write_text(&folder.join(name), &chart::cost_over_size(&report, peer)?)?;
            }
        }
        Ok(())
    }
}
