//! Charts of a comparison: ratios as bars, throughput over threads as curves.

use super::{Bars, ChartError, Curve, Curves, Series, color_of, draw_curves};
use crate::keys::KeyKind;
use crate::results::{Record, distinct};
use crate::roster::PeerKind;
use crate::workload::Workload;

/// Every workload that has ratios, for one kind of keys and one number of threads: a peer's figure over Untorn's.
///
/// # Errors
/// [`ChartError`].
pub fn ratios(records: &[Record], keys: KeyKind, threads: usize) -> Result<String, ChartError> {
    let here = |record: &&Record| record.keys == keys && record.threads == threads;
    let with_ratio: Vec<&Record> = records
        .iter()
        .filter(here)
        .filter(|record| !record.peer.is_ours() && record.ratio_to_untorn.is_some())
        .collect();
    let workloads = distinct(with_ratio.iter().map(|record| record.workload));
    let ratio = |peer: PeerKind, workload: Workload| {
        let record = with_ratio
            .iter()
            .find(|record| record.peer == peer && record.workload == workload);
        record.and_then(|record| record.ratio_to_untorn)
    };
    let series = |peer: PeerKind| Series {
        name: peer.name().to_owned(),
        color: color_of(peer),
        values: workloads.iter().map(|at| ratio(peer, *at)).collect(),
    };
    let n = with_ratio.first().map_or(0, |record| record.n);
    let peers = distinct(with_ratio.iter().map(|record| record.peer));
    let bars = Bars {
        title: format!(
            "The peer's time (or memory) divided by Untorn's: {n} {} keys, {threads} thread{}",
            keys.name(),
            if threads == 1 { "" } else { "s" }
        ),
        legend: "Above the line Untorn needs less. Logarithmic.".into(),
        groups: workloads.iter().map(|at| at.name().to_owned()).collect(),
        series: peers.into_iter().map(series).collect(),
        base: Some(1.0),
    };
    bars.svg()
}

/// Throughput over the number of threads, for one kind of keys; `None` where only one number of threads was run.
///
/// # Errors
/// [`ChartError`].
pub fn scaling(records: &[Record], keys: KeyKind) -> Result<Option<String>, ChartError> {
    let here = records.iter().filter(|record| record.keys == keys);
    let timed: Vec<&Record> = here.filter(|record| record.ns_per_op.is_some()).collect();
    if distinct(timed.iter().map(|record| record.threads)).len() < 2 {
        return Ok(None);
    }
    let panel = |workload: Workload| {
        let of_workload = || {
            timed
                .iter()
                .filter(move |record| record.workload == workload)
        };
        let curve = |peer: PeerKind| {
            let of_peer = of_workload().filter(|record| record.peer == peer);
            let point = |record: &&Record| Some((record.threads as f64, 1e9 / record.ns_per_op?));
            Curve {
                name: peer.name().to_owned(),
                color: color_of(peer),
                points: of_peer.filter_map(point).collect(),
            }
        };
        let peers = distinct(of_workload().map(|record| record.peer));
        Curves {
            title: format!("{}, {} keys", workload.name(), keys.name()),
            x: "threads".into(),
            y: "operations a second".into(),
            curves: peers.into_iter().map(curve).collect(),
            marks: Vec::new(),
        }
    };
    let shown = [
        Workload::FillSeq,
        Workload::FillRandom,
        Workload::ReadRandom,
    ];
    let panels: Vec<Curves> = shown
        .into_iter()
        .map(panel)
        .filter(|panel| !panel.curves.is_empty())
        .collect();
    draw_curves(&panels).map(Some)
}

#[cfg(test)]
mod tests {
    use super::{ratios, scaling};
    use crate::keys::KeyKind;
    use crate::results::{Cell, Results};
    use crate::roster::PeerKind;
    use crate::workload::Workload;

    fn results() -> Results {
        let mut results = Results::default();
        for threads in [1, 2] {
            for (peer, ns) in [(PeerKind::Untorn, 100.0), (PeerKind::Artmap, 250.0)] {
                let cell = Cell {
                    keys: KeyKind::Random,
                    threads,
                    workload: Workload::ReadRandom,
                    peer,
                };
                results.add(cell, ns / threads as f64);
            }
        }
        results
    }

    #[test]
    fn bars_show_the_ratios_of_the_peers() {
        let svg = ratios(&results().records(10), KeyKind::Random, 1).unwrap();
        for part in ["readrandom", "artmap", "2.5"] {
            assert!(svg.contains(part), "{part:?} is missing in\n{svg}");
        }
        assert!(!svg.contains("untorn"), "Untorn is the line");
    }

    #[test]
    fn scaling_needs_two_numbers_of_threads() {
        let records = results().records(10);
        let svg = scaling(&records, KeyKind::Random).unwrap().unwrap();
        assert!(svg.contains("untorn") && svg.contains("artmap"));
        let one: Vec<_> = records
            .into_iter()
            .filter(|record| record.threads == 1)
            .collect();
        assert!(scaling(&one, KeyKind::Random).unwrap().is_none());
    }
}
