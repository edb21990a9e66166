//! What an operation cannot do without: loops over the memory that it has to wait for, and over the counters that it keeps.
//!
//! A table of random keys is a few megabytes of index, leaves, and entries that lie in the order of their insertion. The loops
//! over memory know where everything is, so they search nothing, compare nothing and protect nothing: what they take is the least
//! for a map laid out like Untorn's, whose lookups wait for a leaf, and then for the entry. One that waits fewer times may be
//! faster. Beside each stands what maps take in the same process.
//!
//! The loop over the counters does to them what an insert does, again and again, in a table that is in the cache: what the counters
//! take where nothing else is to be done.

mod counters;
mod ground;
mod table;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::TimeSource;
use crate::compare;
use crate::environment::Environment;
use crate::growth;
use crate::keys::KeyKind;
use crate::results::Record;
use crate::roster::PeerKind;
use crate::run::{Outcome, Stream};
use crate::workload::Workload;
use counters::Counters;
use ground::{Ground, Placed, free};
pub use table::render;

/// Operations whose memory has a loop.
pub const WORKLOADS: [Workload; 6] = [
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::MultiReadRandom,
    Workload::ReadSeq,
    Workload::SeekRandom,
    Workload::Drop,
];

/// Who stands beside the loops.
const PEERS: [PeerKind; 3] = [PeerKind::Untorn, PeerKind::Artmap, PeerKind::Btree];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Entries.
    pub n: usize,
    /// Kind of keys: entries of sequential ones lie in the order of their keys, others do not.
    pub keys: KeyKind,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Rounds.
    pub rounds: usize,
    /// Numbers of entries for which the loops that read are run by themselves, on one thread.
    pub sizes: Vec<usize>,
    /// The clock that counts.
    pub clock: TimeSource,
    /// Seed of all orders.
    pub seed: u64,
}

/// The part of an operation that a loop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The memory that it waits for.
    Memory,
    /// The counters of the table.
    Counters,
}

/// What a figure of a loop is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loop {
    /// Kind of keys.
    pub keys: KeyKind,
    /// Threads.
    pub threads: usize,
    /// The operation.
    pub workload: Workload,
    /// What the loop does of it.
    pub part: Part,
    /// Entries.
    pub n: usize,
}

/// The figure of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is about.
    #[serde(flatten)]
    pub of: Loop,
    /// The smallest time of the rounds, in nanoseconds.
    pub ns: f64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where and how it was run.
    pub environment: Environment,
    /// The loops.
    pub loops: Vec<Figure>,
    /// The operations.
    pub results: Vec<Record>,
}

impl Report {
    /// What an operation took, in nanoseconds.
    pub fn operation(&self, of: &Loop, peer: PeerKind) -> Option<f64> {
        let is_it = |record: &&Record| {
            record.peer == peer
                && (record.keys, record.threads) == (of.keys, of.threads)
                && (record.workload, record.n) == (of.workload, of.n)
        };
        self.results.iter().find(is_it)?.ns_per_op
    }
}

/// Longest time for a loop, and for one workload of a peer.
const CAP: Duration = Duration::from_secs(60);

/// The smallest figure of each loop.
type Floors = BTreeMap<Loop, f64>;

/// The loops over one table, on so many threads.
struct Setting<'f> {
    plan: &'f Plan,
    n: usize,
    threads: usize,
    floors: &'f mut Floors,
}

impl Setting<'_> {
    fn add(&mut self, part: Part, workload: Workload, ns: f64) {
        let of = Loop {
            keys: self.plan.keys,
            threads: self.threads,
            workload,
            part,
            n: self.n,
        };
        let smallest = self.floors.entry(of).or_insert(f64::INFINITY);
        *smallest = smallest.min(ns);
    }

    /// Adds a loop of `calls`, each of which does a part of the `operations`.
    fn time(
        &mut self,
        (part, workload): (Part, Workload),
        (calls, operations): (usize, usize),
        call: impl Fn(usize) -> bool + Sync,
    ) {
        let stream = Stream {
            ops: calls,
            threads: self.threads,
            look_every: 64,
            cap: CAP,
            clock: self.plan.clock,
        };
        if let Outcome::Timed { ns, .. } = stream.run(call) {
            self.add(part, workload, ns * calls as f64 / operations as f64);
        }
    }

    fn read(&mut self, ground: &Ground) {
        use Workload as W;
        let memory = |workload| (Part::Memory, workload);
        let all = (ground.calls(), ground.keys());
        self.time(memory(W::ReadRandom), all, |call| ground.one_by_one(call));
        let many = memory(W::MultiReadRandom);
        self.time(many, all, |call| ground.all_at_once(call));
        let scans = (ground.keys() / 20).max(1);
        let scan = memory(W::SeekRandom);
        self.time(scan, (scans, scans), |query| ground.scan_from(query));
        let once_a_thread = (self.threads, self.threads * ground.keys());
        self.time(memory(W::ReadSeq), once_a_thread, |_| ground.scan());
    }

    fn write(&mut self, ground: &Ground) {
        let inserted: Vec<OnceLock<Vec<Placed>>> =
            (0..ground.calls()).map(|_| OnceLock::new()).collect();
        let all = (ground.calls(), ground.keys());
        self.time((Part::Memory, Workload::FillRandom), all, |call| {
            inserted[call].set(ground.insert(call)).is_ok()
        });
        let inserted = inserted.into_iter().filter_map(OnceLock::into_inner);
        let freed = free(inserted.flatten().collect(), self.plan.clock);
        self.add(Part::Memory, Workload::Drop, freed);
    }

    fn count(&mut self) {
        let counters = Counters::new(self.threads);
        let calls = self.n.div_ceil(counters::A_CALL);
        let all = (calls, calls * counters::A_CALL);
        let part = (Part::Counters, Workload::FillRandom);
        self.time(part, all, |call| counters.count(call));
    }
}

impl Plan {
    fn setting<'f>(&'f self, n: usize, threads: usize, floors: &'f mut Floors) -> Setting<'f> {
        Setting {
            plan: self,
            n,
            threads,
            floors,
        }
    }

    fn loops(&self) -> Floors {
        let mut floors = Floors::new();
        for n in &self.sizes {
            let ground = Ground::new(self.keys, *n, self.seed);
            for _ in 0..growth::rounds_of(*n, self.rounds) {
                self.setting(*n, 1, &mut floors).read(&ground);
            }
        }
        let ground = Ground::new(self.keys, self.n, self.seed);
        for threads in &self.threads {
            for _ in 0..self.rounds {
                let mut setting = self.setting(self.n, *threads, &mut floors);
                setting.read(&ground);
                if self.keys != KeyKind::Sequential {
                    setting.write(&ground);
                    setting.count();
                }
            }
        }
        floors
    }

    /// Loops and peers, on each number of threads.
    pub fn run(&self) -> Report {
        let loops = self.loops();
        let plan = compare::Plan {
            n: self.n,
            keys: vec![self.keys],
            threads: self.threads.clone(),
            rounds: self.rounds,
            workloads: WORKLOADS.to_vec(),
            peers: PEERS.to_vec(),
            cap: CAP,
            clock: self.clock,
            seed: self.seed,
        };
        let figure = |(of, ns)| Figure { of, ns };
        Report {
            environment: Environment::new(&plan),
            loops: loops.into_iter().map(figure).collect(),
            results: plan.run(|_| {}).records(self.n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Plan, Report, WORKLOADS, render};
    use crate::clock::TimeSource;
    use crate::keys::KeyKind;
    use crate::roster::PeerKind;
    use crate::workload::Workload;

    fn plan(keys: KeyKind) -> Plan {
        Plan {
            n: 2_000,
            keys,
            threads: vec![1, 2],
            rounds: 1,
            sizes: vec![500, 1_000],
            clock: TimeSource::Wall,
            seed: 1,
        }
    }

    #[test]
    fn every_loop_has_a_figure_beside_those_of_the_peers() {
        let report = plan(KeyKind::Random).run();
        let here: Vec<_> = report.loops.iter().filter(|it| it.of.n == 2_000).collect();
        assert_eq!(here.len(), 2 * (WORKLOADS.len() + 1), "{here:?}");
        for figure in here {
            let untorn = report.operation(&figure.of, PeerKind::Untorn);
            let btree = report.operation(&figure.of, PeerKind::Btree);
            let whole = figure.ns > 0.0 && untorn > Some(0.0) && btree > Some(0.0);
            assert!(whole, "{figure:?}");
        }
        let counters = report.loops.iter();
        let counters = counters.filter(|it| it.of.part == Part::Counters).count();
        assert_eq!(counters, 2, "on one thread and on two");
    }

    #[test]
    fn loops_that_read_are_followed_over_sizes() {
        let report = plan(KeyKind::Random).run();
        let gets = report.loops.iter().filter(|it| {
            it.of.workload == Workload::ReadRandom && it.of.threads == 1 && it.ns > 0.0
        });
        let sizes: Vec<usize> = gets.map(|it| it.of.n).collect();
        assert_eq!(sizes, [500, 1_000, 2_000]);
        let shown = render(&report);
        assert!(shown.contains("the loop of"), "{shown}");
    }

    #[test]
    fn figures_come_back_from_what_programs_read() {
        let report = plan(KeyKind::Sequential).run();
        let json = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(back, report);
    }
}
