//! `docs/VERIFICATION.md`: what was checked, by which tool, within which bounds, how much of it; made of what the runs print.
//!
//! Each check prints its evidence, one [`Record`] a line: `MODEL name threads=2 preemptions=3 iterations=715 complete=true`. The
//! records of the last complete runs are committed as `docs/verification.records`, and the document is [rendered](document) from them.
//! Two runs never explore or count exactly the same, so a [check](Disagreement) compares names and bounds, not counts.

pub mod document;
mod properties;
mod record;
mod scenarios;

pub use record::{Kind, Record, Records};

use std::fmt;

/// A way in which a run and the committed records differ.
#[derive(Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The run did it, the records do not know it.
    Unlisted(String),
    /// The records list it, the run did other things of its kind.
    Missing(String),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disagreement::Unlisted(what) => write!(f, "was run and is not listed: {what}"),
            Disagreement::Missing(what) => write!(f, "is listed and was not run: {what}"),
        }
    }
}

/// Compares names and bounds, for what was run.
pub fn compare(listed: &Records, run: &Records) -> Vec<Disagreement> {
    let mut all = Vec::new();
    for one in run.runs() {
        let (listed, run) = (listed.bounds(one), run.bounds(one));
        all.extend(run.difference(&listed).cloned().map(Disagreement::Unlisted));
        all.extend(listed.difference(&run).cloned().map(Disagreement::Missing));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Records {
        Records::read(text)
    }

    #[test]
    fn counts_may_differ_and_bounds_may_not() {
        let listed = records("MODEL s1 threads=2 preemptions=3 iterations=10 complete=true");
        let more = records("MODEL s1 threads=2 preemptions=3 iterations=11 complete=true");
        let shallower = records("MODEL s1 threads=2 preemptions=2 iterations=10 complete=true");
        assert_eq!(compare(&listed, &more), []);
        assert_eq!(compare(&listed, &shallower).len(), 2);
    }

    #[test]
    fn what_is_missing_or_not_listed_is_told_for_the_kinds_that_ran() {
        let listed = records(
            "MODEL s1 threads=2 preemptions=3 iterations=10 complete=true\n\
             MODEL s2 threads=2 preemptions=3 iterations=10 complete=true\n\
             SANITIZER address tests=7 reports=0",
        );
        let run = records("MODEL s3 threads=2 preemptions=3 iterations=10 complete=true");
        let told: Vec<_> = compare(&listed, &run)
            .iter()
            .map(|one| one.to_string())
            .collect();
        assert_eq!(
            told,
            [
                "was run and is not listed: MODEL s3 threads=2 preemptions=3",
                "is listed and was not run: MODEL s1 threads=2 preemptions=3",
                "is listed and was not run: MODEL s2 threads=2 preemptions=3",
            ]
        );
    }

    #[test]
    fn one_sanitizer_runs_without_the_other() {
        let both = "SANITIZER address tests=7 reports=0\nSANITIZER thread tests=7 reports=0";
        let address = records("SANITIZER address tests=8 reports=0");
        assert_eq!(compare(&records(both), &address), []);
        let mut listed = records(both);
        listed.take_over(address);
        let tests: Vec<_> = listed.of(Kind::Sanitizer).collect();
        assert_eq!(
            tests
                .iter()
                .map(|record| record.number("tests"))
                .collect::<Vec<_>>(),
            [8, 7]
        );
    }

    #[test]
    fn a_run_that_was_not_complete_is_no_evidence() {
        let cut = records("MODEL s1 threads=2 preemptions=3 iterations=10 complete=false");
        assert_eq!(cut.of(Kind::Model).count(), 0);
        let survived = records("MUTANT m test=s1 SURVIVED: the model passed");
        assert_eq!(survived.of(Kind::Mutant).count(), 0);
    }
}
