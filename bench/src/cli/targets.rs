//! `targets`: what was aimed at, what was measured, met or not.

use std::path::PathBuf;

use untorn_bench::environment::Machine;
use untorn_bench::suite::{Figures, of_targets};
use untorn_bench::targets;

use super::scope::Scope;
use super::{Failure, read_json};

/// Ends well whatever comes out: nothing is gated on a time.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// Judge figures that `report` wrote, and measure nothing.
    #[arg(long)]
    from: Option<PathBuf>,
}

impl Args {
    /// Measures or reads, judges, prints.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let figures = match self.from {
            Some(path) => read_json(&path)?,
            None => {
                let suite = self.scope.suite();
                Figures {
                    compare: Some(suite.compare(&of_targets())),
                    growth: Some(suite.growth()),
                    latency: None,
                    locks: Some(suite.locks()),
                    floor: Some(suite.floor()),
                }
            }
        };
        print!("{}", targets::render(&targets::judge(&figures)));
        Ok(())
    }
}
