//! More threads than processors: how long single operations take at worst.
//!
//! Threads get and insert in turn, all of them on one table. Whenever the system takes the processor away from one of them,
//! those that need what it holds wait for it to come back: with a latch, all who come to that node or that table. The
//! operation that was interrupted takes long on any peer, so the tails are not for nothing on a lock-free one either.
//!
//! Leave the threads under the system's usual scheduler: under a real-time one (`chrt -f`) nobody is interrupted.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{Cell, CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::environment::Machine;
use crate::keys::{KeyKind, Keys, value_of};
use crate::measure::settle;
use crate::peer::{Peer, Room};
use crate::progress;
use crate::roster::{PeerKind, WithPeer};

/// Who is measured when nobody is named: the fastest map that latches, another two, and a lock-free one.
pub const USUAL: [PeerKind; 5] = [
    PeerKind::Untorn,
    PeerKind::Crossbeam,
    PeerKind::Artmap,
    PeerKind::Masstree,
    PeerKind::Btree,
];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Keys in the table at the end; half of them are there at the beginning.
    pub n: usize,
    /// Kinds of keys. With sequential ones all inserts meet at the right edge.
    pub keys: Vec<KeyKind>,
    /// Threads.
    pub threads: usize,
    /// Rounds; their operations are put together.
    pub rounds: usize,
    /// Peers.
    pub peers: Vec<PeerKind>,
    /// Seed of keys and orders.
    pub seed: u64,
}

/// Which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Of a key that is there.
    Get,
    /// Of a new key.
    Insert,
}

impl Operation {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Insert => "insert",
        }
    }
}

/// How long one operation of one peer took, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Kind of keys.
    pub keys: KeyKind,
    /// Whose.
    pub peer: PeerKind,
    /// Of what.
    pub operation: Operation,
    /// How many there were.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 99% took no longer.
    pub p99: u64,
    /// 99.9% took no longer.
    pub p999: u64,
    /// 99.99% took no longer.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine and the build.
    pub machine: Machine,
    /// Keys in the table at the end.
    pub n: usize,
    /// Threads.
    pub threads: usize,
    /// Rounds.
    pub rounds: usize,
    /// The figures.
    pub tails: Vec<Tail>,
}

const RESIZES: &str = "a histogram without an upper bound takes every value";

/// Three digits, from a nanosecond to as long as anyone waits.
fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a histogram")
}

struct Both {
    gets: Histogram<u64>,
    inserts: Histogram<u64>,
}

impl Both {
    fn new() -> Self {
        Self {
            gets: histogram(),
            inserts: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.gets.add(&other.gets).expect(RESIZES);
        self.inserts.add(&other.inserts).expect(RESIZES);
    }
}

struct Round<'k> {
    keys: &'k Keys,
    threads: usize,
}

impl Round<'_> {
    /// One thread's share: every `threads`th of the keys that are not there yet, and before each a get.
    fn share<P: Peer>(&self, table: &P, thread: usize) -> Both {
        let (list, half) = (&self.keys.insertion, self.keys.len() / 2);
        let mut both = Both::new();
        for at in (half + thread..list.len()).step_by(self.threads) {
            // Any of those that are there from the beginning, in no order.
            let known = list.get(at.wrapping_mul(0x9e37_79b9) % half);
            let start = Instant::now();
            black_box(table.get(known, |value| value[0]));
            record(&mut both.gets, start.elapsed());
            let new = list.get(at);
            let value = value_of(new, at);
            let start = Instant::now();
            table.insert(new, &value);
            record(&mut both.inserts, start.elapsed());
        }
        both
    }
}

fn record(histogram: &mut Histogram<u64>, elapsed: Duration) {
    let ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    histogram.record(ns).expect(RESIZES);
}

impl WithPeer for Round<'_> {
    type Out = Both;
    fn with<P: Peer>(self) -> Both {
        let table = P::new(Room::once(self.keys.len()));
        for at in 0..self.keys.len() / 2 {
            let key = self.keys.insertion.get(at);
            table.insert(key, &value_of(key, at));
        }
        let barrier = Barrier::new(self.threads);
        let mut all = Both::new();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| {
                    let (this, table, barrier) = (&self, &table, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        this.share(table, thread)
                    })
                })
                .collect();
            for thread in threads {
                all.add(&thread.join().expect("peers do not panic"));
            }
        });
        drop(table);
        settle();
        all
    }
}

impl Plan {
    /// Measures, round by round, peer by peer.
    pub fn run(&self) -> Report {
        let steps = self.keys.len() * self.rounds * self.peers.len();
        let bar = progress::bar(steps as u64);
        let mut tails = Vec::new();
        for kind in &self.keys {
            let keys = Keys::new(*kind, self.n, self.seed);
            let mut all: Vec<Both> = self.peers.iter().map(|_| Both::new()).collect();
            for _ in 0..self.rounds {
                for (peer, both) in self.peers.iter().zip(&mut all) {
                    bar.set_message(format!("{} keys, {}", kind.name(), peer.name()));
                    let round = Round {
                        keys: &keys,
                        threads: self.threads,
                    };
                    both.add(&peer.dispatch(round));
                    bar.inc(1);
                }
            }
            for (peer, both) in self.peers.iter().zip(&all) {
                let of = |operation, histogram| tail(*kind, *peer, operation, histogram);
                tails.push(of(Operation::Get, &both.gets));
                tails.push(of(Operation::Insert, &both.inserts));
            }
        }
        bar.finish_and_clear();
        Report {
            machine: Machine::here(),
            n: self.n,
            threads: self.threads,
            rounds: self.rounds,
            tails,
        }
    }
}

fn tail(keys: KeyKind, peer: PeerKind, operation: Operation, histogram: &Histogram<u64>) -> Tail {
    let at = |share| histogram.value_at_quantile(share);
    Tail {
        keys,
        peer,
        operation,
        count: histogram.len(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        p9999: at(0.9999),
        max: histogram.max(),
    }
}

fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1000.0)
}

/// A row for each kind of keys, operation and peer, in microseconds.
pub fn render(report: &Report) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "us",
        "",
        "peer",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "max",
        "operations",
    ]);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut tails: Vec<&Tail> = report.tails.iter().collect();
    tails.sort_by_key(|tail| (tail.keys, tail.operation.name()));
    for tail in tails {
        let mut row = vec![
            Cell::new(tail.keys.name()),
            Cell::new(tail.operation.name()),
            Cell::new(tail.peer.name()),
        ];
        let figures = [tail.p50, tail.p99, tail.p999, tail.p9999, tail.max];
        row.extend(figures.map(|ns| right(micros(ns))));
        row.push(right(tail.count.to_string()));
        table.add_row(row);
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{table}\n\n{} threads on {} processors, {} keys, {} rounds",
        report.threads, report.machine.cpus, report.n, report.rounds
    );
    out
}

#[cfg(test)]
mod tests {
    use super::{Operation, Plan, histogram, record};
    use crate::keys::KeyKind;
    use crate::roster::PeerKind;
    use std::time::Duration;

    #[test]
    fn long_operations_are_told_at_their_length() {
        let mut times = histogram();
        record(&mut times, Duration::from_nanos(300));
        record(&mut times, Duration::from_millis(20));
        let max = times.max() as f64;
        assert!((max / 20e6 - 1.0).abs() < 0.001, "{max}");
        assert_eq!(times.value_at_quantile(0.5), 300);
    }

    #[test]
    fn every_operation_is_counted_once_and_tails_are_ordered() {
        let plan = Plan {
            n: 2_000,
            keys: vec![KeyKind::Random, KeyKind::Sequential],
            threads: 3,
            rounds: 2,
            peers: vec![PeerKind::Untorn, PeerKind::Btree],
            seed: 1,
        };
        let report = plan.run();
        assert_eq!(report.tails.len(), 8);
        for tail in &report.tails {
            assert_eq!(tail.count, 2_000, "{tail:?}");
            assert!(tail.p50 <= tail.p99 && tail.p99 <= tail.p999, "{tail:?}");
            assert!(tail.p9999 <= tail.max, "{tail:?}");
        }
        assert_eq!(report.tails[1].operation, Operation::Insert);
    }
}
