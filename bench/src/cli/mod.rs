//! The command line: one file for each command.

mod compare;
mod locks;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use serde::Serialize;

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
    /// Transactions: stage, lock, commit, hand-off, deadlock.
    Locks(locks::Args),
}

/// A command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
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
            Command::Locks(args) => args.run(),
        }
    }
}

fn write_json(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_vec_pretty(report)
        .map_err(std::io::Error::from)
        .and_then(|json| fs::write(path, json))
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
