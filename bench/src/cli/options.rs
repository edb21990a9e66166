//! Options that several commands have.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Failure, write_json};

/// How large tables are whose growth is followed.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Sizes {
    /// Sizes of the table.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000,10000000", value_parser = clap::value_parser!(u32).range(100..))]
    sizes: Vec<u32>,
}

impl Sizes {
    /// Each once.
    pub fn ascending(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.sizes.iter().map(|n| *n as usize).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// What is drawn at random is drawn from here.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Seed {
    /// Seed of keys and orders.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// Figures for programs.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Json {
    /// Where to write the figures for programs.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Json {
    /// Writes the figures, if that was asked for.
    pub fn write(&self, figures: &impl Serialize) -> Result<(), Failure> {
        let path = self.json.as_deref();
        path.map_or(Ok(()), |path| write_json(path, figures))
    }
}

/// Where figures go, beside the terminal.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Output {
    #[command(flatten)]
    json: Json,
    /// A folder for charts.
    #[arg(long)]
    svg: Option<PathBuf>,
}

impl Output {
    /// Writes the figures, if that was asked for.
    pub fn write(&self, figures: &impl Serialize) -> Result<(), Failure> {
        self.json.write(figures)
    }

    /// Where to draw, if that was asked for.
    pub fn charts(&self) -> Option<&Path> {
        self.svg.as_deref()
    }
}
