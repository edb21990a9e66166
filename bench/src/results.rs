//! From rounds to figures: the minimum, the spread, the ratio to Untorn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::keys::KeyKind;
use crate::roster::PeerKind;
use crate::workload::Workload;

/// What one figure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Kind of keys.
    pub keys: KeyKind,
    /// Threads.
    pub threads: usize,
    /// Workload.
    pub workload: Workload,
    /// Peer.
    pub peer: PeerKind,
}

/// The figures of all rounds, cell by cell.
#[derive(Debug, Default)]
pub struct Results {
    figures: BTreeMap<Cell, Vec<f64>>,
    wrong: BTreeMap<Cell, usize>,
    skipped: BTreeMap<Cell, String>,
}

/// One figure with its context, as programs read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Workload.
    pub workload: Workload,
    /// Kind of keys.
    pub keys: KeyKind,
    /// Keys in the table.
    pub n: usize,
    /// Threads.
    pub threads: usize,
    /// Peer.
    pub peer: PeerKind,
    /// Smallest time per operation of all rounds, in nanoseconds; absent for sizes and if skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_per_op: Option<f64>,
    /// Bytes asked of the allocator and not given back: per entry for `memory`, of the table for `empty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// (largest - smallest) / smallest over the rounds; of a single one there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// This peer's figure over that of Untorn's own in its family: above 1 means that Untorn needs less.
    pub ratio_to_untorn: Option<f64>,
    /// Answers of all rounds that were wrong: a key that was there was not found, or a scan left entries out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wrong_answers: usize,
    /// Why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// A whole run, as programs read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where and how it was run.
    pub environment: Environment,
    /// All figures.
    pub results: Vec<Record>,
}

impl Record {
    /// Nanoseconds or bytes, whichever it is about.
    pub fn figure(&self) -> Option<f64> {
        self.ns_per_op.or(self.bytes)
    }
}

/// Each of them once, ascending.
pub(crate) fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Results {
    /// Adds one round's figure.
    pub fn add(&mut self, cell: Cell, figure: f64) {
        self.figures.entry(cell).or_default().push(figure);
    }

    /// Notes how many answers of a round were wrong.
    pub fn add_wrong(&mut self, cell: Cell, answers: usize) {
        *self.wrong.entry(cell).or_default() += answers;
    }

    /// Takes a cell out of this round and all later ones.
    pub fn skip(&mut self, cell: Cell, reason: impl Into<String>) {
        self.figures.remove(&cell);
        self.skipped.insert(cell, reason.into());
    }

    /// Why a cell is out, if it is.
    pub fn skipped(&self, cell: Cell) -> Option<&str> {
        self.skipped.get(&cell).map(String::as_str)
    }

    fn smallest(&self, cell: Cell) -> Option<f64> {
        let figures = self.figures.get(&cell)?;
        figures.iter().copied().min_by(f64::total_cmp)
    }

    fn spread(&self, cell: Cell) -> Option<f64> {
        let figures = self
            .figures
            .get(&cell)
            .filter(|figures| figures.len() > 1)?;
        let smallest = self.smallest(cell)?;
        let largest = figures.iter().copied().max_by(f64::total_cmp)?;
        Some((largest - smallest) / smallest.max(f64::MIN_POSITIVE))
    }

    /// One record per cell that was run or skipped.
    pub fn records(&self, n: usize) -> Vec<Record> {
        let mut cells: Vec<Cell> = self
            .figures
            .keys()
            .chain(self.skipped.keys())
            .copied()
            .collect();
        cells.sort_unstable();
        cells.dedup();
        cells.into_iter().map(|cell| self.record(cell, n)).collect()
    }

    fn record(&self, cell: Cell, n: usize) -> Record {
        let figure = self.smallest(cell);
        let ours = self.smallest(Cell {
            peer: cell.peer.family().ours(),
            ..cell
        });
        let size = cell.workload.is_size();
        Record {
            workload: cell.workload,
            keys: cell.keys,
            n,
            threads: cell.threads,
            peer: cell.peer,
            ns_per_op: figure.filter(|_| !size),
            bytes: figure.filter(|_| size),
            spread: self.spread(cell),
            ratio_to_untorn: figure
                .zip(ours)
                .filter(|(_, ours)| *ours > 0.0)
                .map(|(theirs, ours)| theirs / ours),
            wrong_answers: self.wrong.get(&cell).copied().unwrap_or_default(),
            skipped: self.skipped.get(&cell).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Results};
    use crate::keys::KeyKind;
    use crate::roster::PeerKind;
    use crate::workload::Workload;

    fn cell(peer: PeerKind) -> Cell {
        Cell {
            keys: KeyKind::Random,
            threads: 1,
            workload: Workload::ReadRandom,
            peer,
        }
    }

    #[test]
    fn the_smallest_round_counts_and_the_spread_is_told() {
        let mut results = Results::default();
        results.add(cell(PeerKind::Untorn), 110.0);
        results.add(cell(PeerKind::Untorn), 100.0);
        results.add(cell(PeerKind::Artmap), 250.0);
        let records = results.records(10);
        assert_eq!(records[0].ns_per_op, Some(100.0));
        assert!(
            records[0]
                .spread
                .is_some_and(|spread| (spread - 0.1).abs() < 1e-9)
        );
        assert_eq!(records[0].ratio_to_untorn, Some(1.0));
        assert_eq!(records[1].ratio_to_untorn, Some(2.5));
    }

    #[test]
    fn a_skipped_cell_keeps_its_reason_and_no_figure() {
        let mut results = Results::default();
        results.add(cell(PeerKind::Scc), 9.0);
        results.skip(cell(PeerKind::Scc), "too slow");
        let records = results.records(10);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].ns_per_op, None);
        assert_eq!(records[0].skipped.as_deref(), Some("too slow"));
    }

    #[test]
    fn records_name_their_fields_as_the_documentation_does() {
        let mut results = Results::default();
        results.add(cell(PeerKind::CrossbeamVec), 9.0);
        let json = serde_json::to_value(&results.records(10)[0]).unwrap();
        assert_eq!(json["workload"], "readrandom");
        assert_eq!(json["keys"], "random");
        assert_eq!(json["n"], 10);
        assert_eq!(json["threads"], 1);
        assert_eq!(json["peer"], "crossbeam-vec");
        assert_eq!(json["ns_per_op"], 9.0);
        assert!(json["spread"].is_null(), "of one round there is none");
        assert!(json["ratio_to_untorn"].is_null());
    }
}
