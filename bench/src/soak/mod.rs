//! Everything at once, for as long as one likes: random operations by many threads, on values that say of themselves whether they
//! are whole and whose they are.
//!
//! The time is cut into *rounds*. A round makes its objects anew, lets every thread do the same number of steps and checks the
//! outcome exactly. What its threads do follows from the seed and the number of the round alone, so a round that failed is run
//! again by naming both; the interleaving is the machine's. The rounds take turns among the [`Scenario`]s.
//!
//! During a round the process may not allocate more than the [`Ceiling`] allows, and after a round, when everything was dropped
//! and the garbage reclaimed, no more than at rest.

mod buffer;
mod memory;
mod payload;
mod set;
mod stages;
mod table;
mod transactions;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use untorn_memtable::Memtable;
use untorn_txn::MemBuffer;

pub use memory::Ceiling;

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// A memtable under every operation but stages; every thread knows exactly what its own keys hold. Frozen in the end.
    Table,
    /// A memtable under stages and savepoints, nested and closed in the middle of writes.
    TableStages,
    /// A set of tables that rotates and is flushed, under a hard limit.
    Set,
    /// A transaction buffer with flags, limits, a memory hook, ranges and unions.
    Buffer,
    /// A transaction buffer under stages and savepoints.
    BufferStages,
    /// Transfers by transactions of both modes, several threads in one transaction, under audit.
    Transactions,
    /// The same over a store that loses, delays and repeats requests.
    Faults,
}

impl Scenario {
    /// In the order in which they take turns.
    pub const ALL: [Scenario; 7] = [
        Scenario::Table,
        Scenario::TableStages,
        Scenario::Set,
        Scenario::Buffer,
        Scenario::BufferStages,
        Scenario::Transactions,
        Scenario::Faults,
    ];

    /// The round's operations, done and checked. Panics on what must not be.
    fn play(self, round: &Round) -> u64 {
        match self {
            Scenario::Table => table::play(round),
            Scenario::TableStages => stages::play(round, &Arc::<Memtable>::default()),
            Scenario::Set => set::play(round),
            Scenario::Buffer => buffer::play(round),
            Scenario::BufferStages => stages::play(round, &MemBuffer::new()),
            Scenario::Transactions => transactions::play(round, None),
            Scenario::Faults => transactions::play(round, Some(0.01)),
        }
    }
}

/// One round: what decides about the operations of its threads.
struct Round {
    seed: u64,
    threads: usize,
    /// Steps of each thread.
    steps: usize,
}

impl Round {
    fn rng(&self, thread: usize) -> SmallRng {
        let stream = (thread as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        SmallRng::seed_from_u64(self.seed ^ stream)
    }

    /// Runs the work on every thread, and `observe` again and again on one more until they are done. Answers what came of each.
    fn together<T: Send>(
        &self,
        observe: impl Fn() + Sync,
        work: impl Fn(usize, SmallRng) -> T + Sync,
    ) -> Vec<T> {
        let at_work = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let (work, observe, at_work) = (&work, &observe, &at_work);
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| scope.spawn(move || work(thread, self.rng(thread))))
                .collect();
            let observer = scope.spawn(move || {
                while at_work.load(Ordering::Relaxed) {
                    observe();
                }
            });
            let done: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            at_work.store(false, Ordering::Relaxed);
            let observed = observer.join();
            observed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.into_iter()
                .map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

/// A run of rounds.
#[derive(Debug)]
pub struct Plan {
    /// Of all rounds.
    pub seed: u64,
    /// The first round.
    pub first: u64,
    /// For how long; a round that was begun is finished.
    pub length: Duration,
    /// Threads in each round, beside one that observes.
    pub threads: usize,
    /// Steps of each thread in each round.
    pub steps: usize,
    /// Scenarios that take turns.
    pub scenarios: Vec<Scenario>,
    /// The memory ceiling.
    pub ceiling: Ceiling,
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Progress {
    /// Rounds that were finished.
    pub rounds: u64,
    /// Operations in them.
    pub operations: u64,
    /// The most bytes that were seen allocated.
    pub peak: usize,
    /// The most bytes that were allocated after a round.
    pub rest: usize,
    /// How long they took.
    pub elapsed: Duration,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        write!(
            f,
            "rounds={} operations={} seconds={seconds:.0} rate={:.0}/s peak={:.1}MiB rest={:.2}MiB",
            self.rounds,
            self.operations,
            self.operations as f64 / seconds.max(1e-9),
            mib(self.peak),
            mib(self.rest),
        )
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something was seen that must not be; the panic's message was printed.
    #[error("round {round} ({scenario:?}) failed: run it again with --seed {seed} --round {round}")]
    Broken {
        /// The seed.
        seed: u64,
        /// The round.
        round: u64,
        /// What it was about.
        scenario: Scenario,
    },
    /// More memory was held than is allowed.
    #[error(
        "round {round} ({scenario:?}) held {held} bytes {when}, {allowed} are allowed; the seed is {seed}"
    )]
    Memory {
        /// The seed.
        seed: u64,
        /// The round.
        round: u64,
        /// What it was about.
        scenario: Scenario,
        /// When that was.
        when: &'static str,
        /// How much it was.
        held: usize,
        /// How much may be.
        allowed: usize,
    },
}

impl Plan {
    /// Plays rounds until the time is over. `allocated` tells the bytes of live allocations; `report` is told after each round.
    ///
    /// # Errors
    ///
    /// The first failure ends the run.
    pub fn run(
        &self,
        allocated: impl Fn() -> usize + Sync,
        mut report: impl FnMut(Scenario, Progress),
    ) -> Result<Progress, Failure> {
        let began = Instant::now();
        let mut progress = Progress::default();
        for number in self.first.. {
            let scenario = self.scenarios[(number % self.scenarios.len() as u64) as usize];
            let round = Round {
                seed: self.seed ^ number.wrapping_mul(0xA24B_AED4_963E_E407),
                threads: self.threads,
                steps: self.steps,
            };
            let (operations, peak) = memory::watched(&allocated, self.ceiling.busy, || {
                catch_unwind(AssertUnwindSafe(|| scenario.play(&round)))
            });
            let (seed, round) = (self.seed, number);
            let operations = operations.map_err(|_| Failure::Broken {
                seed,
                round,
                scenario,
            })?;
            let rest = memory::at_rest(&allocated, self.ceiling.rest);
            let over = |when, held, allowed| Failure::Memory {
                seed,
                round,
                scenario,
                when,
                held,
                allowed,
            };
            if peak > self.ceiling.busy {
                return Err(over("while it ran", peak, self.ceiling.busy));
            }
            if rest > self.ceiling.rest {
                return Err(over("at rest", rest, self.ceiling.rest));
            }
            progress = Progress {
                rounds: progress.rounds + 1,
                operations: progress.operations + operations,
                peak: progress.peak.max(peak),
                rest: progress.rest.max(rest),
                elapsed: began.elapsed(),
            };
            report(scenario, progress);
            if progress.elapsed >= self.length {
                break;
            }
        }
        Ok(progress)
    }
}

/// A number below `bound`, the small ones far more often.
fn skewed(rng: &mut SmallRng, bound: usize) -> usize {
    let unit: f64 = rng.random();
    ((unit * unit * unit) * bound as f64) as usize
}
