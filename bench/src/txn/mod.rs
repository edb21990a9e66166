//! Transactions: what staging, locking, committing, handing a lock over and finding a deadlock take.
//!
//! Each file holds one thing that is timed again and again, a [`Timed`]; [`Plan::run`] collects samples of all of them,
//! and the criterion target runs the same code. Where other systems can do the same, they do, as an [`Engine`].

mod clock_read;
mod commit;
mod companion;
mod contended;
mod deadlock;
mod engine;
mod engines;
mod figure;
mod hand_off;
mod lock;
mod ordered;
mod stage;
mod stats;
mod table;
mod wake;

use std::time::Duration;

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

pub use clock_read::ClockRead;
pub use commit::{COMMIT_WRITES, Commit};
pub use contended::Contended;
pub use deadlock::Deadlock;
pub use engine::{Engine, EngineTxn, Refusal};
#[cfg(feature = "rocksdb")]
pub use engines::RocksEngine;
pub use engines::UntornEngine;
pub use figure::{Figure, Measure};
pub use hand_off::HandOff;
pub use lock::{BATCH, LockBatch, LockOne};
pub use ordered::{FalseDeadlocks, false_deadlocks};
pub use stage::{Part, STAGE_WRITES, Stage, Staged};
pub use stats::AtRest;
pub use table::render;
pub use wake::{Unpark, WakeTask};

use crate::environment::Machine;
use crate::progress;

/// Something whose time is taken again and again.
pub trait Timed {
    /// Operations of one sample: the figure is the sample's time divided by them.
    const OPERATIONS: u32 = 1;

    /// Does it once and says how long the part took that counts.
    fn time(&mut self) -> Duration;
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Samples of each figure; of those that take long a tenth as many.
    pub samples: usize,
    /// Seed of what is random in it.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine and the build.
    pub machine: Machine,
    /// The figures, by measure.
    pub figures: Vec<Figure>,
    /// Untorn's deadlocks where there can be none.
    pub false_deadlocks: FalseDeadlocks,
}

struct Collection<'b> {
    figures: Vec<Figure>,
    bar: &'b ProgressBar,
}

impl Collection<'_> {
    fn take<T: Timed>(&mut self, measure: Measure, subject: &str, samples: usize, mut timed: T) {
        self.bar
            .set_message(format!("{} {subject}", measure.name()));
        for _ in 0..samples / 10 {
            timed.time();
        }
        let sample = |_| timed.time().as_nanos() as f64 / f64::from(T::OPERATIONS);
        let taken = (0..samples.max(1)).map(sample).collect();
        self.figures.push(Figure::of(measure, subject, taken));
        self.bar.inc(1);
    }
}

/// Figures that [`Plan::run`] takes of one engine.
const OF_ENGINE: u64 = 7;

/// Figures that it takes of Untorn alone, and of the machine.
const OF_OURS: u64 = 9;

impl Plan {
    /// Takes every figure.
    pub fn run(&self) -> Report {
        let engines = 1 + u64::from(cfg!(feature = "rocksdb"));
        let bar = progress::bar(engines * OF_ENGINE + OF_OURS);
        let mut collection = Collection {
            figures: Vec::new(),
            bar: &bar,
        };
        self.take_ours(&mut collection);
        self.take_of::<UntornEngine>(&mut collection);
        #[cfg(feature = "rocksdb")]
        self.take_of::<RocksEngine>(&mut collection);
        let false_deadlocks = false_deadlocks::<UntornEngine>(self.samples / 2, self.seed);
        bar.finish_and_clear();
        let mut figures = collection.figures;
        figures.sort_by_key(|figure| figure.measure);
        Report {
            machine: Machine::here(),
            figures,
            false_deadlocks,
        }
    }

    fn take_ours(&self, all: &mut Collection<'_>) {
        use untorn_memtable::Memtable;
        use untorn_txn::MemBuffer;
        let (samples, parked) = (self.samples, self.samples / 10);
        all.take(Measure::Clock, "two readings", samples, ClockRead);
        all.take(Measure::Stats, "memtable", samples, AtRest::new());
        let (table, buffer) = ("memtable", "buffer");
        for part in [Part::Open, Part::Cleanup] {
            let measure = part.measure();
            all.take(measure, table, parked, Stage::<Memtable>::new(part));
            all.take(measure, buffer, parked, Stage::<MemBuffer>::new(part));
        }
        all.take(Measure::Contended, "lock table", 10, Contended::new());
        all.take(Measure::HandOff, "a task", samples, WakeTask::new());
        all.take(Measure::HandOff, "a bare unpark", parked, Unpark::new());
    }

    fn take_of<E: Engine>(&self, all: &mut Collection<'_>) {
        let (samples, parked) = (self.samples, self.samples / 10);
        all.take(Measure::LockOne, E::NAME, parked, LockOne::<E>::new());
        all.take(Measure::LockBatch, E::NAME, parked, LockBatch::<E>::new());
        all.take(Measure::Commit, E::NAME, samples, Commit::<E>::new());
        all.take(Measure::HandOff, E::NAME, parked, HandOff::<E>::new());
        all.take(Measure::Deadlock, E::NAME, parked, Deadlock::<E>::of(2));
        for (transactions, samples) in [(4, parked), (16, parked / 10)] {
            let subject = format!("{}, of {transactions}", E::NAME);
            let circle = Deadlock::<E>::of(transactions);
            all.take(Measure::Deadlock, &subject, samples, circle);
        }
    }
}
