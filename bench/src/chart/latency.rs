//! Charts of tails: bars of quantiles.

use super::{Bars, ChartError, Series, color_of};
use crate::keys::KeyKind;
use crate::latency::{Operation, Report, Tail};
use crate::results::distinct;
use crate::roster::PeerKind;

/// A quantile's name and its place.
type Quantile = (&'static str, fn(&Tail) -> u64);

const QUANTILES: [Quantile; 4] = [
    ("p50", |tail| tail.p50),
    ("p99", |tail| tail.p99),
    ("p99.9", |tail| tail.p999),
    ("p99.99", |tail| tail.p9999),
];

/// The quantiles of all peers for one kind of keys, in microseconds.
///
/// # Errors
/// [`ChartError`].
pub fn tails(report: &Report, keys: KeyKind) -> Result<String, ChartError> {
    let here: Vec<&Tail> = report
        .tails
        .iter()
        .filter(|tail| tail.keys == keys)
        .collect();
    let operations = [Operation::Get, Operation::Insert];
    let groups = operations
        .iter()
        .flat_map(|operation| QUANTILES.map(|(name, _)| format!("{} {name}", operation.name())));
    let series = |peer: PeerKind| {
        let of = |operation| {
            let is = |tail: &&&Tail| tail.peer == peer && tail.operation == operation;
            let tail = here.iter().find(is).copied();
            QUANTILES.map(|(_, of)| tail.map(|tail| of(tail) as f64 / 1000.0))
        };
        Series {
            name: peer.name().to_owned(),
            color: color_of(peer),
            values: operations.into_iter().flat_map(of).collect(),
        }
    };
    let bars = Bars {
        title: format!(
            "Microseconds of an operation: {} threads on {} processors, {} keys",
            report.threads,
            report.machine.cpus,
            keys.name()
        ),
        legend: "Lower is better. Logarithmic.".into(),
        groups: groups.collect(),
        series: distinct(here.iter().map(|tail| tail.peer))
            .into_iter()
            .map(series)
            .collect(),
        base: None,
    };
    bars.svg()
}
