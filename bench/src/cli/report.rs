//! `report`: measures, and writes every figure that the documents show.

use std::fs;
use std::path::{Path, PathBuf};

use untorn_bench::chart;
use untorn_bench::document::replace_block;
use untorn_bench::environment::Machine;
use untorn_bench::keys::KeyKind;
use untorn_bench::published;
use untorn_bench::roster::PeerKind;
use untorn_bench::suite::{Figures, PUBLISHED, Part};

use super::scope::Scope;
use super::{Failure, read_json, write_json, write_text};

/// Run from the root of the repository. Figures are kept in `docs/figures/figures.json`; parts that are not measured stay as
/// they were measured last.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    /// Parts to measure.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "compare,growth,latency,locks,floor",
        conflicts_with = "redraw"
    )]
    parts: Vec<Part>,
    /// Measure nothing: write documents and charts from the figures that there are.
    #[arg(long)]
    redraw: bool,
    /// The root of the repository.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

impl Args {
    /// Measures and writes.
    pub fn run(self) -> Result<(), Failure> {
        println!("{}", Machine::here());
        let folder = self.root.join("docs").join("figures");
        let path = folder.join("figures.json");
        let mut figures: Figures = if path.exists() {
            read_json(&path)?
        } else {
            Figures::default()
        };
        // A place that cannot be written is told before what takes minutes.
        write_json(&path, &figures)?;
        let suite = self.scope.suite();
        let parts = if self.redraw { &[][..] } else { &self.parts };
        for part in parts {
            match part {
                Part::Compare => figures.compare = Some(suite.compare(&PUBLISHED)),
                Part::Growth => figures.growth = Some(suite.growth()),
                Part::Latency => figures.latency = Some(suite.latency()),
                Part::Locks => figures.locks = Some(suite.locks()),
                Part::Floor => figures.floor = Some(suite.floor()),
            }
            // At once: what took minutes shall not be lost to what comes after it.
            write_json(&path, &figures)?;
        }
        draw(&folder, &figures)?;
        let blocks = published::blocks(&figures);
        for (document, blocks) in [
            ("README.md", &blocks.readme),
            ("docs/PERFORMANCE.md", &blocks.performance),
        ] {
            rewrite(&self.root.join(document), blocks)?;
        }
        Ok(())
    }
}

fn draw(folder: &Path, figures: &Figures) -> Result<(), Failure> {
    if let Some(report) = &figures.compare {
        let records = &published::short(&report.results);
        for (keys, threads) in [
            (KeyKind::Random, 1),
            (KeyKind::Random, 2),
            (KeyKind::Record, 1),
        ] {
            let name = format!("compare-{}-{threads}.svg", keys.name());
            let svg = chart::ratios(records, keys, threads)?;
            write_text(&folder.join(name), &svg)?;
        }
        if let Some(svg) = chart::scaling(records, KeyKind::Random)? {
            write_text(&folder.join("scaling.svg"), &svg)?;
        }
    }
    if let Some(report) = &figures.growth {
        let svg = chart::cost_over_size(report, PeerKind::Untorn)?;
        write_text(&folder.join("growth.svg"), &svg)?;
    }
    if let Some(report) = &figures.latency {
        for keys in [KeyKind::Random, KeyKind::Sequential] {
            let name = format!("latency-{}.svg", keys.name());
            write_text(&folder.join(name), &chart::tails(report, keys)?)?;
        }
    }
    Ok(())
}

fn rewrite(path: &Path, blocks: &[(&str, String)]) -> Result<(), Failure> {
    let read = |source| Failure::Read {
        path: path.to_owned(),
        source,
    };
    let mut document = fs::read_to_string(path).map_err(read)?;
    for (name, content) in blocks {
        document = replace_block(&document, name, content).map_err(|source| Failure::Block {
            path: path.to_owned(),
            source,
        })?;
    }
    write_text(path, &document)
}
