//! `commits`: what commits take that are on a disk before they are answered.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use untorn_bench::durable::{self, Throughput, Waits};
use untorn_bench::environment::Machine;

use super::Failure;
use super::options::Json;

/// Commits a second of a store with a log, over the number of threads that commit at once.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64], value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Seconds for each figure.
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// A directory on the disk that is meant; its own place for temporary files by default. What is written is removed.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

impl Args {
    /// Measures, prints, writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let place = self.data.unwrap_or_else(std::env::temp_dir);
        let unwritable = |source| Failure::Write {
            path: place.clone(),
            source,
        };
        let directory = tempfile::tempdir_in(&place).map_err(unwritable)?;
        let sync = durable::bare_sync(directory.path(), 200).map_err(unwritable)?;
        let mut figures = Vec::new();
        for waits in Waits::ALL {
            for &threads in &self.threads {
                let figure =
                    durable::commits(directory.path(), waits, threads.into(), self.seconds)?;
                figures.push(figure);
            }
        }
        println!("{}", table(&figures));
        println!("one sync of a file in {}: {sync:?}", place.display());
        self.json.write(&figures)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn table(figures: &[Throughput]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["store", "threads", "commits a second"]);
    for figure in figures {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(figure.waits.name()),
            right(figure.threads.to_string()),
            right(format!("{:.0}", figure.per_second)),
        ]);
    }
    table
}
