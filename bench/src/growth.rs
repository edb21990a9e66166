//! How the cost of an operation grows with the table, and where each level of the memory begins to count.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::caches::{self, Cache};
use crate::clock::TimeSource;
use crate::compare;
use crate::environment::Machine;
use crate::keys::KeyKind;
use crate::results::{Record, distinct};
use crate::roster::PeerKind;
use crate::table::number;
use crate::workload::Workload;

/// What is measured at every size.
pub const WORKLOADS: [Workload; 9] = [
    Workload::FillSeq,
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::MultiReadRandom,
    Workload::ReadMissing,
    Workload::ReadSeq,
    Workload::SeekRandom,
    Workload::Overwrite,
    Workload::Memory,
];

/// Operations that a small table is asked for in all rounds together, so that its figures are worth something too.
const ENOUGH: usize = 1_000_000;

/// Rounds of a table at most.
const MOST_ROUNDS: usize = 20;

/// Rounds of a table of `n` entries: more of small ones than the `rounds` that are asked for.
pub(crate) fn rounds_of(n: usize, rounds: usize) -> usize {
    (ENOUGH / n).clamp(rounds, rounds.max(MOST_ROUNDS))
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sizes of tables, ascending.
    pub sizes: Vec<usize>,
    /// Kind of keys.
    pub keys: KeyKind,
    /// Rounds at least; small tables take more.
    pub rounds: usize,
    /// Peers.
    pub peers: Vec<PeerKind>,
    /// Longest time for one workload of one peer in one round.
    pub cap: Duration,
    /// Seed of keys and orders.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine and the build.
    pub machine: Machine,
    /// Its caches.
    pub caches: Vec<Cache>,
    /// A figure for each peer, workload and size.
    pub results: Vec<Record>,
}

/// How one operation of one peer grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Whose.
    pub peer: PeerKind,
    /// Of what.
    pub workload: Workload,
    /// Size and cost, ascending.
    pub points: Vec<(usize, f64)>,
}

impl Plan {
    /// Measures, size by size.
    pub fn run(&self) -> Report {
        let at = |n: usize| {
            let plan = compare::Plan {
                n,
                keys: vec![self.keys],
                threads: vec![1],
                rounds: rounds_of(n, self.rounds),
                workloads: WORKLOADS.to_vec(),
                peers: self.peers.clone(),
                cap: self.cap,
                clock: TimeSource::Wall,
                seed: self.seed,
            };
            plan.run(|_| {}).records(n)
        };
        Report {
            machine: Machine::here(),
            caches: caches::here(),
            results: self.sizes.iter().flat_map(|n| at(*n)).collect(),
        }
    }
}

/// What the cost is multiplied by for each factor of 10 in size: between any two neighbouring sizes at worst, and over all.
/// `None` for one point.
pub(crate) fn per_factor_ten(points: &[(usize, f64)]) -> Option<(f64, f64)> {
    let growth = |from: (usize, f64), to: (usize, f64)| {
        (to.1 / from.1).powf(1.0 / (to.0 as f64 / from.0 as f64).log10())
    };
    let steps = points.windows(2).map(|two| growth(two[0], two[1]));
    let worst = steps.max_by(f64::total_cmp)?;
    let (first, last) = (points.first()?, points.last()?);
    Some((worst, growth(*first, *last)))
}

impl Curve {
    /// What the cost is multiplied by for each factor of 10 in size: between any two neighbouring sizes at worst, and over
    /// the whole curve. `None` for a curve of one point.
    pub fn per_factor_ten(&self) -> Option<(f64, f64)> {
        per_factor_ten(&self.points)
    }
}

impl Report {
    fn figures(&self, peer: PeerKind, workload: Workload) -> Vec<(usize, f64)> {
        let of = |record: &&Record| record.peer == peer && record.workload == workload;
        let figure = |record: &Record| Some((record.n, record.figure()?));
        self.results.iter().filter(of).filter_map(figure).collect()
    }

    /// Who was measured.
    pub fn peers(&self) -> Vec<PeerKind> {
        distinct(self.results.iter().map(|record| record.peer))
    }

    /// The curves of one peer's operations.
    pub fn curves(&self, peer: PeerKind) -> Vec<Curve> {
        let timed = WORKLOADS.iter().filter(|workload| !workload.is_size());
        let curve = |workload: &Workload| Curve {
            peer,
            workload: *workload,
            points: self.figures(peer, *workload),
        };
        timed.map(curve).collect()
    }

    /// For each cache, the number of entries at which a peer's table outgrows it.
    pub fn outgrown(&self, peer: PeerKind) -> Vec<(&Cache, usize)> {
        let Some(&(_, per_entry)) = self.figures(peer, Workload::Memory).last() else {
            return Vec::new();
        };
        let entries = |cache: &Cache| (cache.bytes as f64 / per_entry) as usize;
        self.caches
            .iter()
            .map(|cache| (cache, entries(cache)))
            .collect()
    }
}

/// As what is added.
pub(crate) fn growth(factor: f64) -> String {
    format!("{:+.0}%", (factor - 1.0) * 100.0)
}

/// A table for each peer, and where its table outgrows each cache.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let sizes = distinct(report.results.iter().map(|record| record.n));
    for peer in report.peers() {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        let columns = sizes.iter().map(|n| n.to_string());
        let header = [peer.name().to_owned()].into_iter().chain(columns);
        table.set_header(header.chain(["worst step".into(), "each x10".into()]));
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for workload in WORKLOADS {
            let curve = Curve {
                peer,
                workload,
                points: report.figures(peer, workload),
            };
            let figure = |n: &usize| curve.points.iter().find(|point| point.0 == *n);
            let figures = sizes
                .iter()
                .map(|n| figure(n).map_or_else(|| "-".into(), |point| number(point.1)));
            let factors = match curve.per_factor_ten() {
                Some((worst, mean)) => [growth(worst), growth(mean)],
                None => Default::default(),
            };
            let name = format!("{}, {}", workload.name(), workload.unit());
            let row = figures.chain(factors).map(right);
            table.add_row([Cell::new(name)].into_iter().chain(row));
        }
        let _ = writeln!(out, "{table}\n");
        for (cache, entries) in report.outgrown(peer) {
            let kib = cache.bytes >> 10;
            let _ = writeln!(
                out,
                "outgrows {} ({kib} KiB) at {entries} entries",
                cache.name
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Curve;
    use crate::roster::PeerKind;
    use crate::workload::Workload;

    fn curve(points: &[(usize, f64)]) -> Curve {
        Curve {
            peer: PeerKind::Untorn,
            workload: Workload::ReadRandom,
            points: points.to_vec(),
        }
    }

    #[test]
    fn growth_is_told_for_a_factor_of_ten_whatever_the_steps_are() {
        let (worst, mean) = curve(&[(100, 10.0), (10_000, 40.0)])
            .per_factor_ten()
            .unwrap();
        assert!((worst - 2.0).abs() < 1e-9 && (mean - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_worst_step_stands_beside_the_mean() {
        let steps = curve(&[(10, 10.0), (100, 10.0), (1000, 40.0)]);
        let (worst, mean) = steps.per_factor_ten().unwrap();
        assert!((worst - 4.0).abs() < 1e-9 && (mean - 2.0).abs() < 1e-9);
    }

    #[test]
    fn one_size_does_not_make_a_curve() {
        assert_eq!(curve(&[(10, 10.0)]).per_factor_ten(), None);
    }
}
