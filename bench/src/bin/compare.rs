//! Times every workload on every peer in interleaved rounds; prints a table, writes JSON.
//!
//! ```text
//! cargo run --release -p untorn-bench -- --n 1000000 --keys random,record --threads 1,2 --json out.json
//! ```

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use untorn_bench::clock::TimeSource;
use untorn_bench::compare::Plan;
use untorn_bench::environment::Environment;
use untorn_bench::keys::KeyKind;
use untorn_bench::results::{Report, Results};
use untorn_bench::roster::PeerKind;
use untorn_bench::table;
use untorn_bench::workload::Workload;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

/// The one thing that this program does, for those who name it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Compare,
}

/// Untorn beside its peers: minimum, spread and ratio of every workload.
///
/// A ratio is the peer's time over Untorn's: above 1, Untorn needs less.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Args {
    /// May be given; changes nothing.
    #[arg(hide = true)]
    mode: Option<Mode>,
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
    /// Seed of keys and orders.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where to write the figures for programs; rewritten after every round.
    #[arg(long)]
    json: Option<PathBuf>,
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
            seed: self.seed,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
struct WriteError {
    path: PathBuf,
    source: std::io::Error,
}

fn write_json(
    path: &Path,
    environment: &Environment,
    plan: &Plan,
    results: &Results,
) -> Result<(), WriteError> {
    let report = Report {
        environment: environment.clone(),
        results: results.records(plan.n),
    };
    serde_json::to_vec_pretty(&report)
        .map_err(std::io::Error::from)
        .and_then(|json| fs::write(path, json))
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plan = args.plan();
    let environment = Environment::new(&plan);
    println!("{environment}");
    if cfg!(debug_assertions) {
        println!("built without optimisation: the figures mean nothing\n");
    }
    let mut failed = None;
    let results = plan.run(|results| {
        if let Some(path) = &args.json {
            failed = write_json(path, &environment, &plan, results).err();
        }
    });
    if let Some(path) = &args.json {
        failed = write_json(path, &environment, &plan, &results).err();
    }
    print!("{}", table::render(&results.records(plan.n)));
    match failed {
        None => ExitCode::SUCCESS,
        Some(error) => {
            eprintln!("the figures could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::{CommandFactory, Parser};
    use untorn_bench::workload::Workload;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn naming_the_mode_changes_nothing_and_everything_is_timed_by_default() {
        let named = Args::try_parse_from(["compare", "compare", "--threads", "1,2"]).unwrap();
        let plan = named.plan();
        assert_eq!(plan.threads, [1, 2]);
        assert!(plan.workloads.contains(&Workload::Memory));
        assert_eq!(plan.workloads.len(), 13);
    }

    #[test]
    fn zero_threads_and_unknown_peers_are_refused() {
        for wrong in [
            ["compare", "--threads", "0"],
            ["compare", "--peers", "nobody"],
            ["compare", "--n", "5"],
        ] {
            assert!(Args::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
