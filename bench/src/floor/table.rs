//! The tables for people.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Figure, Loop, PEERS, Part, Report};
use crate::growth::{growth, per_factor_ten};
use crate::results::distinct;
use crate::roster::PeerKind;
use crate::table::number;

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table
}

fn name(of: &Loop) -> String {
    let part = match of.part {
        Part::Memory => "",
        Part::Counters => ", counters",
    };
    format!("{}{part} {}", of.workload.name(), of.workload.unit())
}

/// Each loop beside the operations: those whose memory it is as multiples of it, that whose counters it is as a whole.
fn beside(report: &Report) -> Table {
    let mut table = table();
    let names = PEERS.map(|peer| peer.name());
    table.set_header(
        ["keys", "threads", "workload", "the loop"]
            .into_iter()
            .chain(names),
    );
    let here = |figure: &&Figure| figure.of.n == report.environment.n;
    for figure in report.loops.iter().filter(here) {
        let of = &figure.of;
        let peer = |peer: PeerKind| match (of.part, report.operation(of, peer)) {
            (Part::Memory, Some(ns)) => format!("{} x{:.2}", number(ns), ns / figure.ns),
            (Part::Counters, Some(ns)) if peer.is_ours() => {
                format!("{:.1}% of {}", 100.0 * figure.ns / ns, number(ns))
            }
            _ => String::new(),
        };
        let row = [
            Cell::new(of.keys.name()),
            right(of.threads.to_string()),
            Cell::new(name(of)),
            right(number(figure.ns)),
        ];
        table.add_row(row.into_iter().chain(PEERS.map(|it| right(peer(it)))));
    }
    table
}

/// The loops on one thread over the number of entries, if there are several.
fn over_sizes(report: &Report) -> Option<Table> {
    let sized = |figure: &&Figure| figure.of.threads == 1 && figure.of.part == Part::Memory;
    let loops: Vec<&Figure> = report.loops.iter().filter(sized).collect();
    let sizes = distinct(loops.iter().map(|figure| figure.of.n));
    let mut table = table();
    let columns = sizes.iter().map(usize::to_string);
    let header = ["keys".to_owned(), "the loop of".into()].into_iter();
    table.set_header(header.chain(columns).chain(["worst step".into()]));
    for (keys, workload) in distinct(loops.iter().map(|it| (it.of.keys, it.of.workload))) {
        let of = |it: &&&Figure| (it.of.keys, it.of.workload) == (keys, workload);
        let points: Vec<(usize, f64)> =
            loops.iter().filter(of).map(|it| (it.of.n, it.ns)).collect();
        let Some((worst, _)) = per_factor_ten(&points) else {
            continue;
        };
        let at = |n: &usize| points.iter().find(|point| point.0 == *n);
        let at = |n| at(n).map_or_else(|| "-".into(), |point| number(point.1));
        let what = format!("{} {}", workload.name(), workload.unit());
        let row = [Cell::new(keys.name()), Cell::new(what)].into_iter();
        let row = row.chain(sizes.iter().map(|n| right(at(n))));
        table.add_row(row.chain([right(growth(worst))]));
    }
    (!table.is_empty()).then_some(table)
}

/// The loops beside the operations, and how those that read grow; valid Markdown.
pub fn render(report: &Report) -> String {
    let mut out = format!("{}\n", beside(report));
    if let Some(table) = over_sizes(report) {
        let _ = write!(out, "\n{table}\n");
    }
    out
}
