//! `latency`: more threads than processors.

use untorn_bench::chart;
use untorn_bench::environment::Machine;
use untorn_bench::keys::KeyKind;
use untorn_bench::latency::{self, Plan};
use untorn_bench::roster::PeerKind;

use super::options::{Output, Seed};
use super::{Failure, write_text};

/// Threads get and insert in turn on one table; quantiles of single operations. Not under a real-time scheduler. Charts are called
/// `latency-KEYS.svg`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Keys in the table at the end, half of them at the beginning.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Kinds of keys; with sequential ones all inserts meet at the right edge.
    #[arg(long, value_delimiter = ',', default_value = "random,sequential")]
    keys: Vec<KeyKind>,
    /// Threads.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Rounds; their operations are put together.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Peers; the usual ones by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<PeerKind>,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Measures, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let peers = if self.peers.is_empty() {
            latency::USUAL.to_vec()
        } else {
            self.peers
        };
        let plan = Plan {
            n: self.n as usize,
            keys: self.keys,
            threads: usize::from(self.threads),
            rounds: usize::from(self.rounds),
            peers,
            seed: self.seed.seed,
        };
        let report = plan.run();
        print!("{}", latency::render(&report));
        self.output.write(&report)?;
        if let Some(folder) = self.output.charts() {
            for keys in plan.keys {
                let name = format!("latency-{}.svg", keys.name());
                write_text(&folder.join(name), &chart::tails(&report, keys)?)?;
            }
        }
        Ok(())
    }
}
