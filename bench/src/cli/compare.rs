//! `compare`: the workloads, the peers, a table for people and JSON for programs.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use untorn_bench::chart;
use untorn_bench::clock::TimeSource;
use untorn_bench::compare::Plan;
use untorn_bench::environment::Environment;
use untorn_bench::keys::KeyKind;
use untorn_bench::results::{Record, Report, Results};
use untorn_bench::roster::PeerKind;
use untorn_bench::table;
use untorn_bench::workload::Workload;

use super::options::{Output, Seed};
use super::{Failure, write_text};

/// A ratio is the peer's time over Untorn's: above 1, Untorn needs less. The JSON is rewritten after every round. Charts are called
/// `compare-KEYS-THREADS.svg`, and `scaling-KEYS.svg` for several numbers of threads.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Keys in a table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    n: u32,
    /// Kinds of keys.
    #[arg(long, value_delimiter = ',', default_value = "random")]
    keys: Vec<KeyKind>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Vec<u16>,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Workloads; all of them by default.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Peers; the usual ones by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<PeerKind>,
    /// All peers, variants included.
    #[arg(long, conflicts_with = "peers")]
    all_peers: bool,
    /// Seconds that one workload of one peer may take in one round; beyond that it is left out.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// The clock that figures are taken from; `cpu` for a machine that is busy with other things.
    #[arg(long, default_value = "wall")]
    clock: TimeSource,
    #[command(flatten)]
    seed: Seed,
    #[command(flatten)]
    output: Output,
}

impl Args {
    fn plan(&self) -> Plan {
        let peers = if self.all_peers {
            PeerKind::value_variants().to_vec()
        } else if self.peers.is_empty() {
            PeerKind::USUAL.to_vec()
        } else {
            self.peers.clone()
        };
        let workloads = if self.workloads.is_empty() {
            Workload::value_variants().to_vec()
        } else {
            self.workloads.clone()
        };
        Plan {
            n: self.n as usize,
            keys: self.keys.clone(),
            threads: self
                .threads
                .iter()
                .map(|threads| usize::from(*threads))
                .collect(),
            rounds: usize::from(self.rounds),
            workloads,
            peers,
            cap: Duration::from_secs(self.cap),
            clock: self.clock,
            seed: self.seed.seed,
        }
    }

    /// Compares, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        let plan = self.plan();
        let environment = Environment::new(&plan);
        println!("{environment}");
        let report = |results: &Results| Report {
            environment: environment.clone(),
            results: results.records(plan.n),
        };
        let write = |results: &Results| self.output.write(&report(results));
        // A place that cannot be written is told before what takes minutes.
        write(&Results::default())?;
        let mut written = Ok(());
        let results = plan.run(|results| written = write(results));
        let records = results.records(plan.n);
        print!("{}", table::render(&records));
        // The plan may have been all memory, with no round to write after.
        written.and_then(|()| write(&results))?;
        let folder = self.output.charts();
        folder.map_or(Ok(()), |folder| draw(folder, &plan, &records))
    }
}

fn draw(folder: &Path, plan: &Plan, records: &[Record]) -> Result<(), Failure> {
    for keys in &plan.keys {
        for threads in &plan.threads {
            let name = format!("compare-{}-{threads}.svg", keys.name());
            let svg = chart::ratios(records, *keys, *threads)?;
            write_text(&folder.join(name), &svg)?;
        }
        if let Some(svg) = chart::scaling(records, *keys)? {
            let name = format!("scaling-{}.svg", keys.name());
            write_text(&folder.join(name), &svg)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::{Parser, ValueEnum};
    use untorn_bench::workload::Workload;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn everything_is_timed_by_default() {
        let plan = Alone::try_parse_from(["compare", "--threads", "1,2"])
            .unwrap()
            .args
            .plan();
        assert_eq!(plan.threads, [1, 2]);
        assert_eq!(plan.workloads, Workload::value_variants());
    }

    #[test]
    fn zero_threads_and_unknown_peers_are_refused() {
        for wrong in [
            ["compare", "--threads", "0"],
            ["compare", "--peers", "nobody"],
            ["compare", "--n", "5"],
        ] {
            assert!(Alone::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
