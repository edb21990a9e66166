//! `growth`: what an operation costs over the size of the table.

use std::path::PathBuf;
use std::time::Duration;

use untorn_bench::chart;
use untorn_bench::environment::Machine;
use untorn_bench::growth::{self, Plan};
use untorn_bench::keys::KeyKind;
use untorn_bench::roster::PeerKind;

use super::{Failure, write_json, write_text};

/// One thread. A step is told for a factor of 10 in size.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Sizes of the table, ascending.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000", value_parser = clap::value_parser!(u32).range(100..))]
    sizes: Vec<u32>,
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
    /// Seed of keys and orders.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where to write the figures for programs.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to draw the curves: `growth-PEER.svg`.
    #[arg(long)]
    svg: Option<PathBuf>,
}

impl Args {
    /// Measures, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let mut sizes: Vec<usize> = self.sizes.iter().map(|n| *n as usize).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let plan = Plan {
            sizes,
            keys: self.keys,
            rounds: usize::from(self.rounds),
            peers: self.peers,
            cap: Duration::from_secs(self.cap),
            seed: self.seed,
        };
        let report = plan.run();
        print!("{}", growth::render(&report));
        if let Some(path) = self.json {
            write_json(&path, &report)?;
        }
        if let Some(folder) = self.svg {
            for peer in report.peers() {
                let name = format!("growth-{}.svg", peer.name());
                write_text(&folder.join(name), &chart::cost_over_size(&report, peer)?)?;
            }
        }
        Ok(())
    }
}
