//! Whether an operation costs the same however often it was done before: forms of use, each done 500 times, 1,000 times and so on.
//!
//! The cost of one operation may grow with the logarithm of what a table holds, and with the caches that it outgrows. What grows with
//! every operation before it (a walk over all versions, all stages, all savepoints) shows here as a factor near 2 for each doubling.
//! [`growth`](crate::growth) follows the size of a table; here it is the history that becomes longer.
//!
//! One thread. A form is timed from its first operation to the drop of what it kept, and the answers are checked outside of that.

mod forms;
mod report;
mod trial;

use std::time::Duration;

pub use forms::{Form, Subject, all};
pub use report::{Report, Row, STEEP, render};
pub use trial::Trial;

use crate::environment::Machine;
use crate::progress;

/// The smallest number of operations.
pub const FEWEST: u64 = 500;

/// Enough time for one figure: small numbers are repeated until they took it, and the fastest counts.
const ENOUGH: Duration = Duration::from_millis(20);

/// Repetitions at most, and at least where one does not take [`ENOUGH`] by itself.
const MOST_REPEATS: usize = 20;
const LEAST_REPEATS: usize = 3;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The largest number of operations.
    pub most: u64,
    /// Only forms whose name has this in it.
    pub only: Option<String>,
    /// A form that took longer for some number is not done more often.
    pub cap: Duration,
}

impl Plan {
    fn numbers(&self) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(FEWEST), |n| Some(n * 2)).take_while(|n| *n <= self.most)
    }

    fn wants(&self, form: &Form) -> bool {
        let part = self.only.as_deref();
        part.is_none_or(|part| form.name.contains(part))
    }

    fn row(&self, subject: Subject, form: &Form) -> Row {
        let mut row = Row::new(subject, form);
        for n in self.numbers() {
            let (best, wrong) = repeated(form, n);
            row.points.push((n, best.as_secs_f64() * 1e9 / n as f64));
            row.wrong += wrong;
            if best > self.cap {
                break;
            }
        }
        row
    }

    /// Does the forms.
    pub fn run(&self) -> Report {
        let forms: Vec<_> = all().filter(|(_, form)| self.wants(form)).collect();
        let bar = progress::bar(forms.len() as u64);
        let row = |(subject, form): (Subject, &'static Form)| {
            bar.set_message(form.name);
            let row = self.row(subject, form);
            bar.inc(1);
            row
        };
        let rows = forms.into_iter().map(row).collect();
        bar.finish_and_clear();
        Report {
            machine: Machine::here(),
            rows,
        }
    }
}

/// The fastest of several trials, and the wrong answers of all.
fn repeated(form: &Form, n: u64) -> (Duration, usize) {
    let (mut best, mut all, mut wrong) = (Duration::MAX, Duration::ZERO, 0);
    for repeat in 1..=MOST_REPEATS {
        let mut trial = Trial::new(n);
        (form.run)(&mut trial);
        best = best.min(trial.spent());
        all += trial.spent();
        wrong += trial.wrong();
        if all > ENOUGH * 10 || all > ENOUGH && repeat >= LEAST_REPEATS {
            break;
        }
    }
    (best, wrong)
}

#[cfg(test)]
mod tests {
    use super::{Form, Plan, Subject, Trial, all};
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn plan(most: u64) -> Plan {
        Plan {
            most,
            only: None,
            cap: Duration::from_secs(60),
        }
    }

    #[test]
    fn every_form_answers_rightly() {
        for (subject, form) in all() {
            for n in [1, 2, 37, 300] {
                let mut trial = Trial::new(n);
                (form.run)(&mut trial);
                let context = format!("{subject:?}: {}, {n} times", form.name);
                assert_eq!(trial.wrong(), 0, "wrong answers: {context}");
                assert!(!trial.spent().is_zero(), "no time: {context}");
            }
        }
    }

    #[test]
    fn no_two_forms_of_one_subject_have_one_name() {
        let names: Vec<_> = all().map(|(subject, form)| (subject, form.name)).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    const COUNT: Form = Form::new("count", |trial| {
        let mut held = Vec::new();
        trial.time(|n| held.extend(0..n));
        trial.check(held.len() as u64, trial.n());
    });

    #[test]
    fn a_form_is_done_for_each_doubling() {
        let row = plan(4_100).row(Subject::Memtable, &COUNT);
        let numbers: Vec<u64> = row.points.iter().map(|point| point.0).collect();
        assert_eq!(numbers, [500, 1_000, 2_000, 4_000]);
        assert_eq!(row.wrong, 0);
    }

    #[test]
    fn a_form_over_its_cap_is_not_done_more_often() {
        let cap = Duration::ZERO;
        let row = Plan { cap, ..plan(4_000) }.row(Subject::Memtable, &COUNT);
        assert_eq!(row.points.len(), 1);
    }

    #[test]
    fn wrong_answers_are_counted() {
        const WRONG: Form = Form::new("wrong", |trial| {
            trial.time(|_| ());
            trial.check(1, 2);
        });
        assert!(plan(500).row(Subject::Memtable, &WRONG).wrong > 0);
    }
}
