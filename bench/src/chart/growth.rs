//! Charts of growth: cost over size, with the caches that the table outgrows.

use super::palette::COLORS;
use super::{ChartError, Curve, Curves, draw_curves};
use crate::growth::Report;
use crate::roster::PeerKind;
use crate::workload::Workload;

/// What one peer's operations cost over the size of its table: point operations, and scans.
///
/// # Errors
/// [`ChartError`].
pub fn cost_over_size(report: &Report, peer: PeerKind) -> Result<String, ChartError> {
    let marks = report.outgrown(peer).into_iter();
    let marks: Vec<(f64, String)> = marks
        .map(|(cache, entries)| (entries as f64, cache.name.clone()))
        .collect();
    let panel = |title: &str, shown: &[Workload]| {
        let curves = report.curves(peer).into_iter();
        let shown = curves.filter(|curve| shown.contains(&curve.workload));
        let curves = shown.zip(COLORS).map(|(curve, color)| {
            let points = curve.points.iter();
            Curve {
                name: curve.workload.name().to_owned(),
                color,
                points: points.map(|(n, ns)| (*n as f64, *ns)).collect(),
            }
        });
        Curves {
            title: format!("{}: {title}", peer.name()),
            x: "entries in the table".into(),
            y: "ns".into(),
            curves: curves.collect(),
            marks: marks.clone(),
        }
    };
    use Workload as W;
    let points = [
        W::FillSeq,
        W::FillRandom,
        W::ReadRandom,
        W::MultiReadRandom,
        W::ReadMissing,
        W::Overwrite,
    ];
    draw_curves(&[
        panel("point operations", &points),
        panel(
            "scans, per entry and per scan of 50",
            &[W::ReadSeq, W::SeekRandom],
        ),
    ])
}
