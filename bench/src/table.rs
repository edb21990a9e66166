//! The table for people: a row for each workload, a column for each peer.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::keys::KeyKind;
use crate::results::{Record, distinct};
use crate::roster::PeerKind;
use crate::workload::Workload;

/// A figure with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn cell(record: Option<&Record>, line_break: &str) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let Some(figure) = record.figure() else {
        return "-".into();
    };
    let mark = if record.wrong_answers > 0 { "!" } else { "" };
    let figure = format!("{mark}{}", number(figure));
    let ratio = record.ratio_to_untorn.filter(|_| !record.peer.is_ours());
    let ratio = ratio.map_or_else(String::new, |ratio| format!(" x{ratio:.2}"));
    let spread = record.spread.filter(|_| !record.workload.is_size());
    let spread = spread.map_or_else(String::new, |spread| {
        format!("{line_break}+{:.0}%", spread * 100.0)
    });
    format!("{figure}{ratio}{spread}")
}

/// The table of one kind of keys and one number of threads, if there is anything in it; `line_break` parts what belongs below
/// one another in a cell.
pub(crate) fn grid(
    records: &[Record],
    keys: KeyKind,
    threads: usize,
    line_break: &str,
) -> Option<Table> {
    let here: Vec<Record> = records
        .iter()
        .filter(|record| record.keys == keys && record.threads == threads)
        .cloned()
        .collect();
    if here.is_empty() {
        return None;
    }
    let peers = distinct(here.iter().map(|record| record.peer));
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let names = peers.iter().map(|peer| peer.name());
    table.set_header(["workload"].into_iter().chain(names));
    for workload in distinct(here.iter().map(|record| record.workload)) {
        let figures = peers.iter().map(|peer| {
            let record = here
                .iter()
                .find(|record| record.peer == *peer && record.workload == workload);
            Cell::new(cell(record, line_break)).set_alignment(CellAlignment::Right)
        });
        let name = Cell::new(format!(
            "{}{line_break}{}",
            workload.name(),
            workload.unit()
        ));
        table.add_row(std::iter::once(name).chain(figures));
    }
    Some(table)
}

/// All tables, one for each kind of keys and number of threads, and below them what was skipped and why.
///
/// A cell holds the smallest figure, the ratio to Untorn (above 1: Untorn needs less) and the spread of the rounds.
pub fn render(records: &[Record]) -> String {
    let mut out = String::new();
    for keys in distinct(records.iter().map(|record| record.keys)) {
        for threads in distinct(records.iter().map(|record| record.threads)) {
            if let Some(table) = grid(records, keys, threads, "\n") {
                let plural = if threads == 1 { "" } else { "s" };
                out.push_str(&format!(
                    "\n{} keys, {threads} thread{plural}\n\n{table}\n",
                    keys.name()
                ));
            }
        }
    }
    if records.iter().any(|record| record.wrong_answers > 0) {
        out.push_str(
            "\n! wrong answers: a key that was there was not found, or a scan left entries out\n",
        );
    }
    for record in records.iter().filter(|record| record.wrong_answers > 0) {
        out.push_str(&format!(
            "  {}: {} in {}, {} keys, threads {}\n",
            record.peer.name(),
            record.wrong_answers,
            record.workload.name(),
            record.keys.name(),
            record.threads
        ));
    }
    let mut skipped: BTreeMap<(PeerKind, &str), BTreeSet<Workload>> = BTreeMap::new();
    for record in records {
        if let Some(reason) = &record.skipped {
            let of_peer = skipped.entry((record.peer, reason)).or_default();
            of_peer.insert(record.workload);
        }
    }
    if !skipped.is_empty() {
        out.push_str("\nskipped\n");
    }
    for ((peer, reason), workloads) in skipped {
        let names: Vec<&str> = workloads.into_iter().map(Workload::name).collect();
        out.push_str(&format!(
            "  {}: {reason} ({})\n",
            peer.name(),
            names.join(", ")
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::keys::KeyKind;
    use crate::results::{Cell, Results};
    use crate::roster::PeerKind;
    use crate::workload::Workload;

    #[test]
    fn a_table_names_figures_ratios_and_what_was_skipped() {
        let cell = |peer, workload| Cell {
            keys: KeyKind::Record,
            threads: 2,
            workload,
            peer,
        };
        let mut results = Results::default();
        results.add(cell(PeerKind::Untorn, Workload::ReadRandom), 200.0);
        results.add(cell(PeerKind::Artmap, Workload::ReadRandom), 300.0);
        results.add(cell(PeerKind::Crossbeam, Workload::ReadRandom), 900.0);
        results.add_wrong(cell(PeerKind::Crossbeam, Workload::ReadRandom), 7);
        results.skip(cell(PeerKind::Scc, Workload::SeekRandom), "too slow");
        let text = render(&results.records(10));
        for part in [
            "record keys, 2 threads",
            "300 x1.50",
            "!900 x4.50",
            "crossbeam: 7 in readrandom, record keys, threads 2",
            "scc: too slow (seekrandom)",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }
}
