//! The table for people.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Measure, Report};
use crate::table::number;

fn per_second(measure: Measure, ns: f64) -> String {
    match measure {
        Measure::LockOne | Measure::LockBatch | Measure::Commit | Measure::Contended => {
            format!("{:.2} M", 1000.0 / ns)
        }
        _ => String::new(),
    }
}

/// A row for each figure, in nanoseconds; for locks and commits, how many of them go into a second at the median.
pub fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "ns", "what", "of", "min", "p50", "p99", "max", "a second", "samples",
    ]);
    for figure in &report.figures {
        let numbers = [figure.min, figure.p50, figure.p99, figure.max].map(number);
        let mut row = vec![
            Cell::new(figure.measure.name()),
            Cell::new(figure.measure.meaning()),
            Cell::new(&figure.subject),
        ];
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        row.extend(numbers.map(right));
        row.push(right(per_second(figure.measure, figure.p50)));
        row.push(right(figure.samples.to_string()));
        table.add_row(row);
    }
    let wrong = &report.false_deadlocks;
    format!(
        "{table}\n\n{} of {} contended locks taken in order were called a deadlock\n",
        wrong.told, wrong.calls
    )
}
