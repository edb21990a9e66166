//! What memory alone costs: loops that miss the caches as an operation on a large table must, and do nothing else.
//!
//! A table of random keys is a few megabytes of index, leaves, and entries that lie in the order of their insertion. The loops
//! know where everything is, so they search nothing, compare nothing and protect nothing: what they take is the least for a map laid
//! out like Untorn's, whose lookups wait for a leaf, then for its slot, then for the entry. One that waits fewer times may be
//! faster. Beside each stands what Untorn and artmap take in the same process.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::clock::{Moment, TimeSource};
use crate::compare;
use crate::keys::KeyKind;
use crate::roster::PeerKind;
use crate::run::{Outcome, Stream};
use crate::workload::{KEYS_A_CALL, Workload};

/// Words of an entry: 16 bytes of key, 64 of value, 24 of what a version needs.
const ENTRY_WORDS: usize = 13;

/// The first word of the value, on another line than the key.
const VALUE: usize = 9;

/// Entries of a leaf that is full on average: of 48 at most, two thirds.
const LEAF_ENTRIES: usize = 32;

/// Words of a leaf: a head and a slot for each entry, and a line for what they have in common.
const LEAF_WORDS: usize = 8 + 2 * LEAF_ENTRIES;

type Entry = [u64; ENTRY_WORDS];
type Leaf = [u64; LEAF_WORDS];

/// An entry in memory of its own.
type Placed = Box<[u64]>;

/// What has a loop.
pub const WORKLOADS: [Workload; 5] = [
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::MultiReadRandom,
    Workload::ReadSeq,
    Workload::Drop,
];

/// Who stands beside the loops.
const PEERS: [PeerKind; 2] = [PeerKind::Untorn, PeerKind::Artmap];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Entries.
    pub n: usize,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Rounds.
    pub rounds: usize,
    /// The clock that counts.
    pub clock: TimeSource,
    /// Seed of all orders.
    pub seed: u64,
}

/// A loop beside the operation, in nanoseconds; the smallest of the rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The operation.
    pub workload: Workload,
    /// Threads.
    pub threads: usize,
    /// The loop alone.
    pub floor: f64,
    /// Untorn.
    pub untorn: Option<f64>,
    /// artmap.
    pub artmap: Option<f64>,
}

/// A table without its code.
struct Ground {
    leaves: Vec<Leaf>,
    entries: Vec<Entry>,
    /// Entries in the order of their keys.
    ascending: Vec<u32>,
    /// Entries in the order in which they are asked for: for each the place of its slot among all.
    queries: Vec<u32>,
}

impl Ground {
    fn new(n: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ascending: Vec<u32> = (0..u32::try_from(n).unwrap_or(u32::MAX)).collect();
        ascending.shuffle(&mut rng);
        let mut queries = ascending.clone();
        queries.shuffle(&mut rng);
        let leaf = |entries: &[u32]| {
            let mut leaf = [0; LEAF_WORDS];
            for (slot, entry) in leaf[8 + LEAF_ENTRIES..].iter_mut().zip(entries) {
                *slot = u64::from(*entry);
            }
            leaf
        };
        Self {
            leaves: ascending.chunks(LEAF_ENTRIES).map(leaf).collect(),
            entries: vec![[0; ENTRY_WORDS]; n],
            ascending,
            queries,
        }
    }

    /// A line of heads, then the slot, then the entry, each of which has to be there to know the next.
    fn get(&self, place: u64) -> u64 {
        let place = place as usize;
        let leaf = &self.leaves[place / LEAF_ENTRIES];
        let nth = place % LEAF_ENTRIES;
        let head = leaf[8 + nth];
        let slot = leaf[8 + LEAF_ENTRIES + nth + head as usize];
        let entry = &self.entries[slot as usize];
        entry[0] | entry[VALUE]
    }

    fn calls(&self) -> usize {
        self.queries.len().div_ceil(KEYS_A_CALL)
    }

    fn call(&self, call: usize) -> &[u32] {
        let from = call * KEYS_A_CALL;
        &self.queries[from..self.queries.len().min(from + KEYS_A_CALL)]
    }

    /// Gets one after the other: where the next one looks depends on what this one found. (It is zero.)
    fn one_by_one(&self, call: usize) -> bool {
        let places = self.call(call).iter();
        places.fold(0, |found, place| self.get(u64::from(*place) + found)) == 0
    }

    /// Gets that do not wait for one another.
    fn all_at_once(&self, call: usize) -> bool {
        let places = self.call(call).iter();
        places.fold(0, |found, place| found | self.get(u64::from(*place))) == 0
    }

    fn scan(&self) -> bool {
        let entry = |at: &u32| &self.entries[*at as usize];
        let entries = self.ascending.iter().map(entry);
        entries.fold(0, |found, entry| found | entry[0] | entry[VALUE]) == 0
    }

    /// New entries, and for each a copy of the leaf that it belongs to: one after the other, as with
    /// [`one_by_one`](Self::one_by_one).
    fn insert(&self, call: usize) -> Vec<Placed> {
        let mut found = 0;
        let insert = |place: &u32| {
            let place = u64::from(*place) + found;
            let entry = Placed::from([place; ENTRY_WORDS]);
            found = black_box(self.leaves[place as usize / LEAF_ENTRIES])[0];
            entry
        };
        self.call(call).iter().map(insert).collect()
    }
}

/// Frees entries in the order of their keys.
fn free(mut entries: Vec<Placed>, clock: TimeSource) -> f64 {
    entries.sort_unstable_by_key(|entry| entry[0]);
    let count = entries.len().max(1);
    let start = Moment::now();
    drop(entries);
    Moment::now().since(&start, clock).as_nanos() as f64 / count as f64
}

/// Longest time for a loop, and for one workload of a peer.
const CAP: Duration = Duration::from_secs(60);

/// The smallest figure of each loop.
#[derive(Default)]
struct Floors(BTreeMap<(Workload, usize), f64>);

impl Floors {
    fn add(&mut self, workload: Workload, threads: usize, ns: f64) {
        let smallest = self.0.entry((workload, threads)).or_insert(f64::INFINITY);
        *smallest = smallest.min(ns);
    }

    /// Adds a loop over the calls of `ground`; the figure is per key.
    fn add_calls(
        &mut self,
        workload: Workload,
        ground: &Ground,
        stream: Stream,
        op: impl Fn(usize) -> bool + Sync,
    ) {
        if let Outcome::Timed { ns, .. } = stream.run(op) {
            let keys = ground.queries.len() as f64 / stream.ops as f64;
            self.add(workload, stream.threads, ns / keys);
        }
    }
}

impl Plan {
    fn stream(&self, ops: usize, threads: usize) -> Stream {
        Stream {
            ops,
            threads,
            look_every: 64,
            cap: CAP,
            clock: self.clock,
        }
    }

    fn round(&self, ground: &Ground, threads: usize, floors: &mut Floors) {
        use Workload as W;
        let calls = self.stream(ground.calls(), threads);
        floors.add_calls(W::ReadRandom, ground, calls, |call| ground.one_by_one(call));
        floors.add_calls(W::MultiReadRandom, ground, calls, |call| {
            ground.all_at_once(call)
        });
        let scans = self.stream(threads, threads);
        if let Outcome::Timed { ns, .. } = scans.run(|_| ground.scan()) {
            floors.add(W::ReadSeq, threads, ns / self.n as f64);
        }
        let inserted: Vec<OnceLock<Vec<Placed>>> =
            (0..ground.calls()).map(|_| OnceLock::new()).collect();
        floors.add_calls(W::FillRandom, ground, calls, |call| {
            inserted[call].set(ground.insert(call)).is_ok()
        });
        let inserted = inserted.into_iter().filter_map(OnceLock::into_inner);
        let freed = free(inserted.flatten().collect(), self.clock);
        floors.add(W::Drop, threads, freed);
    }

    /// Loops and peers, on each number of threads.
    pub fn run(&self) -> Vec<Row> {
        let mut floors = Floors::default();
        let ground = Ground::new(self.n, self.seed);
        for threads in &self.threads {
            for _ in 0..self.rounds {
                self.round(&ground, *threads, &mut floors);
            }
        }
        drop(ground);
        let plan = compare::Plan {
            n: self.n,
            keys: vec![KeyKind::Random],
            threads: self.threads.clone(),
            rounds: self.rounds,
            workloads: WORKLOADS.to_vec(),
            peers: PEERS.to_vec(),
            cap: CAP,
            clock: self.clock,
            seed: self.seed,
        };
        let records = plan.run(|_| {}).records(self.n);
        let of = |peer: PeerKind, workload: Workload, threads: usize| {
            let mut records = records.iter();
            let record = records.find(|record| {
                (record.peer, record.workload, record.threads) == (peer, workload, threads)
            });
            record.and_then(|record| record.ns_per_op)
        };
        let row = |((workload, threads), floor)| Row {
            workload,
            threads,
            floor,
            untorn: of(PeerKind::Untorn, workload, threads),
            artmap: of(PeerKind::Artmap, workload, threads),
        };
        floors.0.into_iter().map(row).collect()
    }
}

/// The table for people; valid Markdown.
pub fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["workload", "threads", "the loop", "untorn", "artmap"]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for row in rows {
        let beside = |ns: Option<f64>| {
            ns.map_or_else(
                || "-".into(),
                |ns| format!("{ns:.1} x{:.2}", ns / row.floor),
            )
        };
        table.add_row([
            Cell::new(format!("{} {}", row.workload.name(), row.workload.unit())),
            right(row.threads.to_string()),
            right(format!("{:.1}", row.floor)),
            right(beside(row.untorn)),
            right(beside(row.artmap)),
        ]);
    }
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::{Ground, Placed, Plan, WORKLOADS, free};
    use crate::clock::TimeSource;

    #[test]
    fn a_loop_visits_every_entry_once() {
        let ground = Ground::new(1_000, 7);
        let mut visited: Vec<u64> = (0..ground.calls())
            .flat_map(|call| ground.insert(call))
            .map(|entry| entry[0])
            .collect();
        visited.sort_unstable();
        assert!(visited.into_iter().eq(0..1_000));
        let slots = ground.leaves.iter().flat_map(|leaf| &leaf[40..]);
        let mut slots: Vec<u64> = slots.copied().take(1_000).collect();
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..1_000));
    }

    #[test]
    fn every_loop_has_a_figure_beside_those_of_the_peers() {
        let plan = Plan {
            n: 2_000,
            threads: vec![1, 2],
            rounds: 1,
            clock: TimeSource::Wall,
            seed: 1,
        };
        let rows = plan.run();
        assert_eq!(rows.len(), 2 * WORKLOADS.len(), "{rows:?}");
        for row in rows {
            let whole = row.floor > 0.0 && row.untorn.is_some() && row.artmap.is_some();
            assert!(whole, "{row:?}");
        }
    }

    #[test]
    fn freeing_takes_time() {
        assert!(free(vec![Placed::from([0; 13]); 10_000], TimeSource::Wall) > 0.0);
    }
}
