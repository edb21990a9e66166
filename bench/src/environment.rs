//! Where and how a run took place: a figure without it says nothing.

use std::fmt;
use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::clock::TimeSource;
use crate::compare::Plan;
use crate::freed_memory;

/// The machine and the build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The global allocator.
    pub allocator: String,
    /// The processor's name.
    pub cpu: String,
    /// Processors that the system offers.
    pub cpus: usize,
    /// Compiler, profile and flags.
    pub build: String,
    /// What else the machine was doing at the start: its load average over one minute; absent where it is not told.
    pub load: Option<f64>,
}

impl Machine {
    /// This machine and this build.
    pub fn here() -> Self {
        Self {
            allocator: match freed_memory::is_kept() {
                true => "mimalloc (keeps freed memory)".into(),
                false => "mimalloc".into(),
            },
            cpu: cpu_name(),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            load: load_average(),
            build: format!(
                "{}, {} profile, opt-level {}, {}, RUSTFLAGS {}",
                env!("BENCH_RUSTC"),
                env!("BENCH_PROFILE"),
                env!("BENCH_OPT_LEVEL"),
                env!("BENCH_TARGET"),
                env!("BENCH_RUSTFLAGS"),
            ),
        }
    }
}

/// Where and how a comparison ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Keys in a table.
    pub n: usize,
    /// Bytes in a value.
    pub value_len: usize,
    /// Rounds.
    pub rounds: usize,
    /// Seed of all keys and orders.
    pub seed: u64,
    /// Threads that workloads were run with.
    pub threads: Vec<usize>,
    /// The clock that figures are taken from.
    pub clock: TimeSource,
    /// The machine and the build.
    #[serde(flatten)]
    pub machine: Machine,
}

impl Environment {
    /// This machine and this build, for a run of the given plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            n: plan.n,
            value_len: crate::keys::VALUE_LEN,
            rounds: plan.rounds,
            seed: plan.seed,
            threads: plan.threads.clone(),
            clock: plan.clock,
            machine: Machine::here(),
        }
    }
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map_or_else(
            || std::env::consts::ARCH.into(),
            |(_, value)| value.trim().into(),
        )
}

fn load_average() -> Option<f64> {
    let averages = fs::read_to_string("/proc/loadavg").ok()?;
    averages.split(' ').next()?.parse().ok()
}

/// What a figure of these programs may be held to.
const RULES: &str = "\
queries cover the whole table, in an order independent of the order of insertion;
every peer is used through the fastest interface that it has, and answers are checked;
rounds are interleaved, the smallest figure counts and the spread is told: only ratios within one run count";

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "allocator {}", self.allocator)?;
        writeln!(f, "build     {}", self.build)?;
        if cfg!(debug_assertions) {
            writeln!(
                f,
                "          without optimisation: the figures mean nothing"
            )?;
        }
        write!(f, "CPU       {}, {} available", self.cpu, self.cpus)?;
        match self.load {
            Some(load) => writeln!(f, ", load {load:.2} at the start"),
            None => writeln!(f),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads: Vec<String> = self.threads.iter().map(usize::to_string).collect();
        writeln!(
            f,
            "keys      {} per table, values of {} bytes, seed {}",
            self.n, self.value_len, self.seed
        )?;
        write!(f, "{}", self.machine)?;
        writeln!(
            f,
            "threads   {}; {} interleaved rounds, the smallest counts; {} time",
            threads.join(", "),
            self.rounds,
            self.clock.name()
        )?;
        writeln!(f, "rules     {}", RULES.replace('\n', "\n          "))
    }
}
