//! What came of the forms: a table for each subject, and those that grow.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::{Form, Subject};
use crate::environment::Machine;
use crate::results::distinct;
use crate::table::number;

/// Growth for each doubling from which a form is marked. A walk over all operations before is near 2, a logarithm below 1.1; caches that a
/// table outgrows on its way may be a factor of 1.3.
pub const STEEP: f64 = 1.5;

/// Doublings over which growth is told: the last ones, which are those that go on.
const DOUBLINGS: usize = 3;

/// What an operation of one form costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Of what.
    pub subject: Subject,
    /// The form.
    pub form: String,
    /// Why it is not flat, where that is known.
    pub known: Option<String>,
    /// Numbers of operations, ascending, and nanoseconds of one.
    pub points: Vec<(u64, f64)>,
    /// Wrong answers.
    pub wrong: usize,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine and the build.
    pub machine: Machine,
    /// A row for each form.
    pub rows: Vec<Row>,
}

impl Row {
    pub(super) fn new(subject: Subject, form: &Form) -> Self {
        Self {
            subject,
            form: form.name.to_owned(),
            known: form.known.map(str::to_owned),
            points: Vec::new(),
            wrong: 0,
        }
    }

    /// What the cost of an operation is multiplied by for each of the last three doublings; `None` with one figure alone.
    pub fn growth(&self) -> Option<f64> {
        let from = self.points.len().saturating_sub(DOUBLINGS + 1);
        let [first, .., last] = &self.points[from..] else {
            return None;
        };
        let doublings = (last.0 as f64 / first.0 as f64).log2();
        Some((last.1 / first.1).powf(doublings.recip()))
    }

    /// It grows with what was done before.
    pub fn is_steep(&self) -> bool {
        self.growth().is_some_and(|growth| growth > STEEP)
    }
}

/// The tables for people; valid Markdown.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let numbers = distinct(
        report
            .rows
            .iter()
            .flat_map(|row| &row.points)
            .map(|at| at.0),
    );
    for subject in distinct(report.rows.iter().map(|row| row.subject)) {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        let columns = numbers.iter().map(|n| n.to_string());
        let header = [format!("{}, ns", subject.name())]
            .into_iter()
            .chain(columns);
        table.set_header(header.chain(["each x2".into(), String::new()]));
        let rows = report.rows.iter();
        for row in rows.filter(|row| row.subject == subject) {
            table.add_row(cells(row, &numbers));
        }
        let _ = writeln!(out, "{table}\n");
    }
    let steep: Vec<_> = report.rows.iter().filter(|row| row.is_steep()).collect();
    let flat = report.rows.len() - steep.len();
    let _ = writeln!(out, "{flat} of {} forms are flat.", report.rows.len());
    for row in steep {
        let why = row.known.as_deref().unwrap_or("not known why");
        let _ = writeln!(out, "{}, {}: {why}", row.subject.name(), row.form);
    }
    out
}

fn cells(row: &Row, numbers: &[u64]) -> Vec<Cell> {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let at = |n: &u64| row.points.iter().find(|point| point.0 == *n);
    let figure = |n: &u64| at(n).map_or_else(|| "-".into(), |point| number(point.1));
    let growth = row.growth();
    let growth = growth.map_or_else(String::new, |growth| format!("x{growth:.2}"));
    let mark = match (row.wrong, row.is_steep()) {
        (0, false) => "",
        (0, true) => "**grows**",
        _ => "!",
    };
    let mut cells = vec![Cell::new(&row.form)];
    cells.extend(numbers.iter().map(figure).map(right));
    cells.extend([right(growth), Cell::new(mark)]);
    cells
}

#[cfg(test)]
mod tests {
    use super::{Row, render};
    use crate::complexity::{Report, Subject};
    use crate::environment::Machine;

    fn row(costs: &[f64]) -> Row {
        let numbers = std::iter::successors(Some(500), |n| Some(n * 2));
        Row {
            subject: Subject::Memtable,
            form: "a form".into(),
            known: Some("it walks".into()),
            points: numbers.zip(costs.iter().copied()).collect(),
            wrong: 0,
        }
    }

    #[test]
    fn growth_is_that_of_the_last_three_doublings() {
        let growth = row(&[80.0, 10.0, 10.0, 20.0, 80.0]).growth().unwrap();
        assert!((growth - 2.0).abs() < 1e-9, "{growth}");
        assert_eq!(row(&[10.0]).growth(), None);
    }

    #[test]
    fn what_grows_is_marked_and_told_with_its_reason() {
        let report = |costs: &[f64]| Report {
            machine: Machine::here(),
            rows: vec![row(costs)],
        };
        let steep = render(&report(&[10.0, 20.0, 40.0, 80.0]));
        assert!(steep.contains("**grows**") && steep.contains("0 of 1 forms are flat"));
        assert!(steep.contains("memtable, a form: it walks"), "{steep}");
        let flat = render(&report(&[10.0, 11.0, 12.0, 13.0]));
        assert!(!flat.contains("grows") && flat.contains("1 of 1 forms are flat"));
    }
}
