//! What the documents show of the figures: the content of their blocks.

use std::fmt::Write;

use crate::environment::Machine;
use crate::keys::KeyKind;
use crate::results::Record;
use crate::roster::PeerKind;
use crate::suite::Figures;
use crate::workload::Workload;
use crate::{floor, growth, latency, results, table, targets, txn};

/// Blocks by name, for each document. What was not measured is left out.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    /// Of the `README.md`.
    pub readme: Vec<(&'static str, String)>,
    /// Of `docs/PERFORMANCE.md`.
    pub performance: Vec<(&'static str, String)>,
}

/// Columns of the short table.
const SHORT_PEERS: [PeerKind; 5] = [
    PeerKind::Untorn,
    PeerKind::Crossbeam,
    PeerKind::Artmap,
    PeerKind::Masstree,
    PeerKind::Btree,
];

/// Rows of the short table.
const SHORT_WORKLOADS: [Workload; 8] = [
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::MultiReadRandom,
    Workload::ReadSeq,
    Workload::SeekRandom,
    Workload::Overwrite,
    Workload::Tiny,
    Workload::Memory,
];

/// The content of every block that there are figures for.
pub fn blocks(figures: &Figures) -> Blocks {
    let mut blocks = Blocks::default();
    if let Some(report) = &figures.compare {
        blocks.readme.push(("peers", short_table(report)));
        blocks.performance.push(("peers", long(report)));
    }
    if let Some(report) = &figures.growth {
        blocks.performance.push(("growth", growth::render(report)));
    }
    if let Some(report) = &figures.latency {
        blocks
            .performance
            .push(("latency", latency::render(report)));
    }
    if let Some(report) = &figures.locks {
        blocks.performance.push(("locks", txn::render(report)));
    }
    if let Some(report) = &figures.floor {
        blocks.performance.push(("floor", loops(report)));
    }
    let targets = targets::render(&targets::judge(figures));
    blocks.performance.push(("targets", targets));
    blocks
}

/// The machine in one sentence.
fn sentence(machine: &Machine) -> String {
    let plural = if machine.cpus == 1 { "" } else { "s" };
    let load = machine.load.map_or_else(String::new, |load| {
        format!(", load average {load:.1} from other work at the start")
    });
    format!(
        "{} processor{plural} of an {} (virtual), {}, {}{load}.",
        machine.cpus, machine.cpu, machine.allocator, machine.build
    )
}

fn conditions(report: &results::Report) -> String {
    let of = &report.environment;
    format!(
        "{} keys, values of {} bytes; the smallest of {} interleaved rounds, in nanoseconds. `x` is the peer's figure \
         divided by Untorn's, `+` how far the rounds lay apart. Machine: {}",
        of.n,
        of.value_len,
        of.rounds,
        sentence(&of.machine)
    )
}

fn loops(report: &floor::Report) -> String {
    let of = &report.environment;
    format!(
        "{} keys, the smallest of {} rounds, in nanoseconds; `x` is the operation's figure divided by the loop's. Machine: {}\n\n{}",
        of.n,
        of.rounds,
        sentence(&of.machine),
        floor::render(report)
    )
}

/// What a reader looks for first: some of the workloads, of the ordered peers.
pub fn short(records: &[Record]) -> Vec<Record> {
    let is_shown = |record: &&Record| {
        SHORT_PEERS.contains(&record.peer) && SHORT_WORKLOADS.contains(&record.workload)
    };
    records.iter().filter(is_shown).cloned().collect()
}

fn short_table(report: &results::Report) -> String {
    let table = table::grid(&short(&report.results), KeyKind::Random, 1, " ");
    let table = table.map_or_else(String::new, |table| table.to_string());
    format!("{table}\n\nRandom keys, one thread: {}", conditions(report))
}

fn long(report: &results::Report) -> String {
    let mut out = conditions(report);
    for (keys, threads) in [
        (KeyKind::Random, 1),
        (KeyKind::Random, 2),
        (KeyKind::Record, 1),
        (KeyKind::Sequential, 1),
    ] {
        if let Some(table) = table::grid(&report.results, keys, threads, " ") {
            let plural = if threads == 1 { "" } else { "s" };
            let name = keys.name();
            let _ = write!(
                out,
                "\n\n**{name} keys, {threads} thread{plural}**\n\n{table}"
            );
        }
    }
    out
}
