//! The targets, each with what was measured: met, or not.
//!
//! Nothing fails on them: a time on a busy machine is no verdict on a change.

mod judge;
mod table;

pub use judge::judge;
pub use table::render;

/// A target and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What it is about.
    pub what: String,
    /// What is wanted.
    pub wanted: String,
    /// What was measured, if it was.
    pub measured: Option<Measured>,
}

/// A measured value beside its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The value.
    pub value: f64,
    /// What follows its number.
    unit: &'static str,
    /// It is as wanted.
    pub met: bool,
    /// How far the rounds lay apart: the larger spread of the two figures that a ratio is made of.
    pub spread: Option<f64>,
}

/// A bound on a value.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    fn wording(self, unit: &str, of: &str) -> String {
        let (word, bound) = match self {
            Self::AtMost(bound) => ("at most", bound),
            Self::AtLeast(bound) => ("at least", bound),
        };
        format!("{word} {bound}{unit}{of}")
    }
}

#[cfg(test)]
mod tests {
    use super::{judge, render};
    use crate::clock::TimeSource;
    use crate::environment::{Environment, Machine};
    use crate::floor::{self, Loop, Part};
    use crate::keys::KeyKind;
    use crate::results::{Cell, Report, Results};
    use crate::roster::PeerKind;
    use crate::suite::Figures;
    use crate::workload::Workload;

    fn environment() -> Environment {
        Environment {
            n: 10,
            value_len: 64,
            rounds: 2,
            seed: 1,
            threads: vec![1],
            clock: TimeSource::Wall,
            machine: Machine::here(),
        }
    }

    fn figures(artmap: f64) -> Figures {
        let mut results = Results::default();
        for (peer, ns) in [(PeerKind::Untorn, 100.0), (PeerKind::Artmap, artmap)] {
            let cell = Cell {
                keys: KeyKind::Random,
                threads: 1,
                workload: Workload::SeekRandom,
                peer,
            };
            results.add(cell, ns * 1.2);
            results.add(cell, ns);
        }
        Figures {
            compare: Some(Report {
                environment: environment(),
                results: results.records(10),
            }),
            ..Figures::default()
        }
    }

    fn scan(artmap: f64) -> super::Measured {
        let targets = judge(&figures(artmap));
        let scan = targets
            .into_iter()
            .find(|target| target.what == "scan of 50" && target.wanted == "at most 0.4x artmap");
        scan.unwrap().measured.unwrap()
    }

    #[test]
    fn a_ratio_is_held_against_its_bound_and_carries_its_spread() {
        let met = scan(400.0);
        assert!(met.met && (met.value - 0.25).abs() < 1e-9, "{met:?}");
        assert!(met.spread.is_some_and(|spread| (spread - 0.2).abs() < 1e-9));
        assert!(!scan(200.0).met);
    }

    #[test]
    fn the_counters_are_held_against_the_insert_that_they_count() {
        let of = Loop {
            keys: KeyKind::Random,
            threads: 1,
            workload: Workload::FillRandom,
            part: Part::Counters,
            n: 10,
        };
        let mut results = Results::default();
        let cell = Cell {
            keys: of.keys,
            threads: of.threads,
            workload: of.workload,
            peer: PeerKind::Untorn,
        };
        results.add(cell, 500.0);
        let floor = floor::Report {
            environment: environment(),
            loops: vec![floor::Figure { of, ns: 15.0 }],
            results: results.records(10),
        };
        let targets = judge(&Figures {
            floor: Some(floor),
            ..Figures::default()
        });
        let counters = targets.iter().find(|target| target.what == "counters");
        let measured = counters.unwrap().measured.unwrap();
        assert!((measured.value - 3.0).abs() < 1e-9 && !measured.met);
        assert!(render(&targets).contains("3.0%"));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let targets = judge(&Figures::default());
        assert!(targets.len() > 30, "{}", targets.len());
        assert!(targets.iter().all(|target| target.measured.is_none()));
        assert!(render(&targets).contains("0 of 0 measured targets"));
    }
}
