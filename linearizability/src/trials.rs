//! Many histories of random plans.

use crate::{History, Object, Specification};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fmt;

/// Names the seed to repeat.
const SEED: &str = "LINEARIZABILITY_SEED";

/// A number of histories, each of a plan of its own.
///
/// The plans follow from the seed; what the threads make of them does not.
#[derive(Debug, Clone, Copy)]
pub struct Trials {
    seed: u64,
    rounds: usize,
    stop_after: usize,
}

impl Trials {
    /// So many histories at most, with a seed of the environment's `LINEARIZABILITY_SEED` or else a random one. It is printed. The
    /// first history that is wrong ends it.
    ///
    /// # Panics
    ///
    /// If that is no number.
    pub fn new(rounds: usize) -> Trials {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().expect("a seed is a number"),
            Err(_) => rand::random(),
        };
        println!("{SEED}={seed}");
        Trials {
            seed,
            rounds,
            stop_after: 1,
        }
    }

    /// Goes on to the end to count what is wrong.
    pub fn count_all(self) -> Trials {
        Trials {
            stop_after: usize::MAX,
            ..self
        }
    }

    /// Records and checks.
    pub fn run<S: Specification, O: Object<S>>(
        &self,
        specification: &S,
        plan: impl Fn(&mut StdRng) -> Vec<Vec<S::Op>>,
    ) -> Verdict<S> {
        let mut verdict = Verdict {
            rounds: 0,
            wrong: 0,
            first: None,
        };
        while verdict.rounds < self.rounds && verdict.wrong < self.stop_after {
            let seed = self.seed.wrapping_add(verdict.rounds as u64);
            let history = History::record::<O>(plan(&mut StdRng::seed_from_u64(seed)));
            verdict.rounds += 1;
            if !history.is_linearizable(specification) {
                verdict.wrong += 1;
                let reduced = || history.reduced(specification);
                verdict.first.get_or_insert_with(|| Violation {
                    seed,
                    history: reduced(),
                });
            }
        }
        verdict
    }
}

/// What came of [`Trials`].
#[derive(Debug)]
pub struct Verdict<S: Specification> {
    /// Histories that were checked.
    pub rounds: usize,
    /// Those that are not linearizable.
    pub wrong: usize,
    /// The first of these.
    pub first: Option<Violation<S>>,
}

/// A history that is not linearizable.
pub struct Violation<S: Specification> {
    /// With it, as the first, the plan comes again.
    pub seed: u64,
    /// What matters of the history.
    pub history: History<S>,
}

impl<S: Specification> fmt::Debug for Violation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "not linearizable ({SEED}={}):", self.seed)?;
        write!(f, "{:?}", self.history)
    }
}

impl<S: Specification> Verdict<S> {
    /// # Panics
    ///
    /// With the history, if one was wrong.
    #[track_caller]
    pub fn assert_linearizable(&self) {
        if let Some(violation) = &self.first {
            panic!("{violation:?}");
        }
    }

    /// For an object that is known to be wrong: the history that shows it.
    ///
    /// # Panics
    ///
    /// If none was wrong.
    #[track_caller]
    pub fn expect_violation(&self) -> &Violation<S> {
        let none = || panic!("all of {} histories are linearizable", self.rounds);
        self.first.as_ref().unwrap_or_else(none)
    }
}
