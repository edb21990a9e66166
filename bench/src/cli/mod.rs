//! The command line: one file for each command.

mod commits;
mod compare;
mod complexity;
mod floor;
mod growth;
mod latency;
mod locks;
mod options;
mod report;
mod scope;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use untorn_bench::chart::ChartError;
use untorn_bench::document::BlockError;

/// Untorn beside its peers.
#[derive(Debug, Parser)]
#[command(name = "untorn-bench", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every workload on every peer in interleaved rounds: minimum, spread, ratio (the default).
    Compare(compare::Args),
    /// What operations cost over the size of the table.
    Growth(growth::Args),
    /// Whether operations stay as cheap however often they are done.
    Complexity(complexity::Args),
    /// What memory and counters alone cost, beside what operations cost.
    Floor(floor::Args),
    /// More threads than processors: quantiles of single operations.
    Latency(latency::Args),
    /// Transactions: stage, lock, commit, hand-off, deadlock.
    Locks(locks::Args),
    /// Commits a second of a store with a log, over threads.
    Commits(commits::Args),
    /// What was aimed at, beside what is measured.
    Targets(targets::Args),
    /// Measures everything and writes it into the documents.
    Report(report::Args),
}

/// A command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was measured before could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Where from.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A document has no place for its figures.
    #[error("{path}: {source}")]
    Block {
        /// The document.
        path: PathBuf,
        /// What is missing.
        source: BlockError,
    },
    /// A store with a log could not be measured.
    #[error(transparent)]
    Durable(#[from] untorn_bench::durable::Failure),
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// What was measured could not be written.
    #[error("{path}: {source}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<(), Failure> {
        match self.command.unwrap_or(Command::Compare(self.compare)) {
            Command::Compare(args) => args.run(),
            Command::Growth(args) => args.run(),
            Command::Complexity(args) => args.run(),
            Command::Floor(args) => args.run(),
            Command::Latency(args) => args.run(),
            Command::Locks(args) => args.run(),
            Command::Commits(args) => args.run(),
            Command::Targets(args) => args.run(),
            Command::Report(args) => args.run(),
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    fs::read(path)
        .and_then(|json| serde_json::from_slice(&json).map_err(std::io::Error::from))
        .map_err(|source| Failure::Read {
            path: path.to_owned(),
            source,
        })
}

fn write_json(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::Write {
        path: path.to_owned(),
        source: error.into(),
    })?;
    write_text(path, &format!("{json}\n"))
}

/// Writes a file, and the folder that it is in where that is not there.
fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| Failure::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_compares() {
        let bare = Cli::try_parse_from(["untorn-bench", "--threads", "1,2"]).unwrap();
        assert!(bare.command.is_none());
        let named = Cli::try_parse_from(["untorn-bench", "compare", "--threads", "1,2"]).unwrap();
        let Some(Command::Compare(args)) = named.command else {
            panic!("{named:?}");
        };
        assert_eq!(args, bare.compare);
    }
}
