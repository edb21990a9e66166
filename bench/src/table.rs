//! The table for people: a row for each workload, a column for each peer.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::keys::KeyKind;
use crate::results::Record;
use crate::roster::PeerKind;
use crate::workload::Workload;

fn number(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn cell(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let Some(figure) = record.ns_per_op.or(record.bytes_per_entry) else {
        return "-".into();
    };
    let second = match (record.resident_per_entry, record.spread) {
        (Some(resident), _) => format!("rss {}", number(resident)),
        (None, spread) => format!("+{:.0}%", spread * 100.0),
    };
    match record.ratio_to_untorn {
        Some(ratio) if record.peer != PeerKind::Untorn => {
            format!("{} x{ratio:.2}\n{second}", number(figure))
        }
        _ => format!("{}\n{second}", number(figure)),
    }
}

fn distinct<T: Ord + Copy>(records: &[Record], of: impl Fn(&Record) -> T) -> Vec<T> {
    let mut all: Vec<T> = records.iter().map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn grid(records: &[Record], keys: KeyKind, threads: usize) -> Option<Table> {
    let here: Vec<Record> = records
        .iter()
        .filter(|record| record.keys == keys && record.threads == threads)
        .cloned()
        .collect();
    if here.is_empty() {
        return None;
    }
    let peers = distinct(&here, |record| record.peer);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let names = peers.iter().map(|peer| peer.name());
    table.set_header(["workload"].into_iter().chain(names));
    for workload in distinct(&here, |record| record.workload) {
        let figures = peers.iter().map(|peer| {
            let record = here
                .iter()
                .find(|record| record.peer == *peer && record.workload == workload);
            Cell::new(cell(record)).set_alignment(CellAlignment::Right)
        });
        let name = Cell::new(workload_label(workload));
        table.add_row(std::iter::once(name).chain(figures));
    }
    Some(table)
}

fn workload_label(workload: Workload) -> String {
    let unit = match workload {
        Workload::SeekRandom => "ns/scan of 50",
        Workload::ReadSeq | Workload::Drop => "ns/entry",
        Workload::Tiny => "ns/table",
        Workload::Memory => "bytes/entry",
        _ => "ns/op",
    };
    format!("{}\n{unit}", workload.name())
}

/// All tables, one for each kind of keys and number of threads, and below them what was skipped and why.
///
/// A cell holds the smallest figure, the ratio to Untorn (above 1: Untorn needs less) and the spread of the rounds.
pub fn render(records: &[Record]) -> String {
    let mut out = String::new();
    for keys in distinct(records, |record| record.keys) {
        for threads in distinct(records, |record| record.threads) {
            if let Some(table) = grid(records, keys, threads) {
                let plural = if threads == 1 { "" } else { "s" };
                out.push_str(&format!(
                    "\n{} keys, {threads} thread{plural}\n\n{table}\n",
                    keys.name()
                ));
            }
        }
    }
    let mut skipped: Vec<String> = records
        .iter()
        .filter_map(|record| {
            let reason = record.skipped.as_ref()?;
            Some(format!(
                "  {} {}: {reason}\n",
                record.peer.name(),
                record.workload.name()
            ))
        })
        .collect();
    skipped.sort();
    skipped.dedup();
    if !skipped.is_empty() {
        out.push_str("\nskipped\n");
        out.extend(skipped);
    }
    out
}
