//! The command line.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Runs a UNION of SELECT ... FOR UPDATE branches on one shared transaction and checks what a monitor sees.
#[derive(Debug, Parser)]
#[command(name = "union_for_update")]
pub struct Options {
    /// Branches of the union, each a thread.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub branches: u16,
    /// Rows of the table to use; beyond the bundled ones more are made by the same rules.
    #[arg(long, value_parser = at_least_one)]
    pub rows: Option<usize>,
    /// A table of your own: one row a line, key, tab, value.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Repeat for this long; one round otherwise.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// Where the rows are.
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub store: StoreKind,
    /// A placement driver of the TiKV cluster; several may be given.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        required_if_eq("store", "tikv")
    )]
    pub pd: Vec<String>,
    /// The authority of an encrypted cluster, as PEM.
    #[arg(long, value_name = "FILE", requires = "pd")]
    pub ca: Option<PathBuf>,
    /// A certificate for the cluster, as PEM.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    pub cert: Option<PathBuf>,
    /// The certificate's key, as PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Write the result here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the TPC-C customers to a file instead of running.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "json", "seconds"])]
    pub write_table: Option<PathBuf>,
}

/// A store to run on.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum StoreKind {
    /// The embedded one.
    Memory,
    /// A TiKV cluster.
    Tikv,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a table needs at least one row".to_owned()),
        Ok(rows) => Ok(rows),
        Err(error) => Err(format!("{error}")),
    }
}
