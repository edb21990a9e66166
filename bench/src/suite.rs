//! All that the project publishes: what is measured for it, and on whom.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::TimeSource;
use crate::environment::Environment;
use crate::keys::KeyKind;
use crate::roster::PeerKind;
use crate::workload::Workload;
use crate::{compare, floor, growth, latency, results, txn};

/// A part of it, which can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The memtable beside its peers.
    Compare,
    /// Cost over size.
    Growth,
    /// More threads than processors.
    Latency,
    /// Transactions.
    Locks,
    /// What memory and counters alone cost.
    Floor,
}

/// Peers that the targets speak of.
pub const OF_TARGETS: [PeerKind; 4] = [
    PeerKind::Untorn,
    PeerKind::Crossbeam,
    PeerKind::Artmap,
    PeerKind::Btree,
];

/// Those, and RocksDB where it is built in.
pub fn of_targets() -> Vec<PeerKind> {
    #[cfg(feature = "rocksdb")]
    return [&OF_TARGETS[..], &[PeerKind::Rocksdb]].concat();
    #[cfg(not(feature = "rocksdb"))]
    OF_TARGETS.to_vec()
}

/// Peers of the published comparison: those, another ordered one, and an unordered one as a mark.
pub const PUBLISHED: [PeerKind; 6] = [
    PeerKind::Untorn,
    PeerKind::Crossbeam,
    PeerKind::Artmap,
    PeerKind::Masstree,
    PeerKind::Btree,
    PeerKind::Papaya,
];

/// Workloads that the targets speak of, and a few more that readers look for.
const WORKLOADS: [Workload; 16] = [
    Workload::FillSeq,
    Workload::FillRandom,
    Workload::FillBatch,
    Workload::ReadRandom,
    Workload::ReadDependent,
    Workload::MultiReadRandom,
    Workload::ReadMissing,
    Workload::ReadSeq,
    Workload::SeekRandom,
    Workload::Overwrite,
    Workload::OverwriteBatch,
    Workload::Mixed50,
    Workload::Drop,
    Workload::Tiny,
    Workload::Memory,
    Workload::Empty,
];

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Keys in a table.
    pub n: usize,
    /// Rounds.
    pub rounds: usize,
    /// Sizes of growing tables.
    pub sizes: Vec<usize>,
    /// Samples of what transactions do.
    pub samples: usize,
    /// Seed of everything.
    pub seed: u64,
}

/// What was measured; parts may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// [`Part::Compare`].
    pub compare: Option<results::Report>,
    /// [`Part::Growth`].
    pub growth: Option<growth::Report>,
    /// [`Part::Latency`].
    pub latency: Option<latency::Report>,
    /// [`Part::Locks`].
    pub locks: Option<txn::Report>,
    /// [`Part::Floor`].
    pub floor: Option<floor::Report>,
}

/// Longest time for one workload of one peer in one round.
const CAP: Duration = Duration::from_secs(60);

impl Suite {
    /// Random keys on `peers`, on one thread and on two; record-like and sequential ones on those of the targets, on
    /// one.
    pub fn compare(&self, peers: &[PeerKind]) -> results::Report {
        let plan = compare::Plan {
            n: self.n,
            keys: vec![KeyKind::Random],
            threads: vec![1, 2],
            rounds: self.rounds,
            workloads: WORKLOADS.to_vec(),
            peers: peers.to_vec(),
            cap: CAP,
            clock: TimeSource::Wall,
            seed: self.seed,
        };
        let environment = Environment::new(&plan);
        let mut records = plan.run(|_| {}).records(self.n);
        let ordered = compare::Plan {
            keys: vec![KeyKind::Record, KeyKind::Sequential],
            threads: vec![1],
            peers: OF_TARGETS.to_vec(),
            ..plan
        };
        records.extend(ordered.run(|_| {}).records(self.n));
        results::Report {
            environment,
            results: records,
        }
    }

    /// Growth of Untorn's memtable.
    pub fn growth(&self) -> growth::Report {
        let plan = growth::Plan {
            sizes: self.sizes.clone(),
            keys: KeyKind::Random,
            rounds: 1,
            peers: vec![PeerKind::Untorn],
            cap: CAP,
            seed: self.seed,
        };
        plan.run()
    }

    /// Eight threads, however few processors there are, beside peers that latch.
    pub fn latency(&self) -> latency::Report {
        let plan = latency::Plan {
            n: self.n,
            keys: vec![KeyKind::Random, KeyKind::Sequential],
            threads: 8,
            rounds: self.rounds,
            peers: latency::USUAL.to_vec(),
            seed: self.seed,
        };
        plan.run()
    }

    /// Transactions.
    pub fn locks(&self) -> txn::Report {
        let plan = txn::Plan {
            samples: self.samples,
            seed: self.seed,
        };
        plan.run()
    }

    /// What operations cannot do without: for random keys on one thread and on two, and over the sizes of growing tables; for
    /// sequential ones on one.
    pub fn floor(&self) -> floor::Report {
        let plan = floor::Plan {
            n: self.n,
            keys: KeyKind::Random,
            threads: vec![1, 2],
            rounds: self.rounds,
            sizes: self.sizes.clone(),
            clock: TimeSource::Wall,
            seed: self.seed,
        };
        let mut report = plan.run();
        let sequential = floor::Plan {
            keys: KeyKind::Sequential,
            threads: vec![1],
            sizes: Vec::new(),
            ..plan
        };
        let sequential = sequential.run();
        report.loops.extend(sequential.loops);
        report.results.extend(sequential.results);
        report
    }
}
