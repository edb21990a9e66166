//! A figure of a call: what was timed, on whom, and how the samples lie.

use serde::{Deserialize, Serialize};

use super::{BATCH, COMMIT_WRITES, STAGE_WRITES};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The clock itself.
    Clock,
    /// `stats()` at rest.
    Stats,
    /// Opening a stage.
    StageOpen,
    /// Taking it back.
    StageCleanup,
    /// Locking a free key in a call of its own.
    LockOne,
    /// Locking free keys in one call; per key.
    LockBatch,
    /// Committing.
    Commit,
    /// A lock of sixteen that sixteen threads contend for.
    Contended,
    /// From the release of a lock to the moment at which whoever waited has it.
    HandOff,
    /// From the call that closes a cycle to the moment at which its victim knows.
    Deadlock,
}

impl Measure {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Stats => "stats",
            Self::StageOpen => "stage-open",
            Self::StageCleanup => "stage-cleanup",
            Self::LockOne => "lock-one",
            Self::LockBatch => "lock-batch",
            Self::Commit => "commit",
            Self::Contended => "contended",
            Self::HandOff => "hand-off",
            Self::Deadlock => "deadlock",
        }
    }

    /// What it is, in a few words.
    pub fn meaning(self) -> String {
        match self {
            Self::Clock => "taking the time, which is part of every figure of one call".into(),
            Self::Stats => "stats() at rest".into(),
            Self::StageOpen => {
                format!("opening a stage; {STAGE_WRITES} writes had been taken back")
            }
            Self::StageCleanup => format!("taking back a stage of {STAGE_WRITES} writes"),
            Self::LockOne => "lock_keys with one free key".into(),
            Self::LockBatch => format!("lock_keys with {BATCH} free keys, per key"),
            Self::Commit => format!("commit of {COMMIT_WRITES} writes, locks included"),
            Self::Contended => "a lock, 16 threads on 16 keys".into(),
            Self::HandOff => "from release to whoever waited".into(),
            Self::Deadlock => "from the call that closes the cycle to its victim".into(),
        }
    }
}

/// A figure, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was timed.
    pub measure: Measure,
    /// On whom.
    pub subject: String,
    /// Samples.
    pub samples: usize,
    /// The smallest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred are no larger.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Figure {
    /// Sums up samples, of which there must be one at least.
    pub fn of(measure: Measure, subject: &str, mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
        Self {
            measure,
            subject: subject.to_owned(),
            samples: samples.len(),
            min: at(0.0),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Measure};

    #[test]
    fn quantiles_are_samples_and_the_order_of_the_samples_does_not_count() {
        let samples = (1..=101).rev().map(f64::from).collect();
        let figure = Figure::of(Measure::LockOne, "untorn", samples);
        assert_eq!(figure.samples, 101);
        assert_eq!(
            [figure.min, figure.p50, figure.p99, figure.max],
            [1.0, 51.0, 100.0, 101.0]
        );
    }
}
