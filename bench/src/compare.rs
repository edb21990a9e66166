//! The comparison: for each kind of keys and number of threads, round by round, peer by peer.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::clock::TimeSource;
use crate::footprint::Scales;
use crate::freed_memory;
use crate::keys::{KeyKind, Keys};
use crate::measure::{Observer, Setting};
use crate::peer::Peer;
use crate::progress;
use crate::results::{Cell, Results};
use crate::roster::{PeerKind, WithPeer};
use crate::run::Outcome;
use crate::workload::Workload;

/// More than an entry takes in most peers, with what is freed while a table is filled.
const BYTES_AN_ENTRY: usize = 512;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Keys in a table.
    pub n: usize,
    /// Kinds of keys.
    pub keys: Vec<KeyKind>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Rounds.
    pub rounds: usize,
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Peers.
    pub peers: Vec<PeerKind>,
    /// Longest time for one workload of one peer in one round.
    pub cap: Duration,
    /// The clock that counts.
    pub clock: TimeSource,
    /// Seed of keys and orders.
    pub seed: u64,
}

struct Round<'r> {
    cell: Cell,
    plan: &'r Plan,
    results: &'r mut Results,
    bar: &'r ProgressBar,
    round: usize,
}

impl Observer for Round<'_> {
    fn wants(&mut self, workload: Workload) -> bool {
        let cell = Cell {
            workload,
            ..self.cell
        };
        if !self.plan.workloads.contains(&workload) {
            return false;
        }
        self.bar.inc(1);
        if self.results.skipped(cell).is_some() {
            return false;
        }
        if let Some(reason) = cell.peer.cannot(workload, cell.keys) {
            self.results.skip(cell, reason);
            return false;
        }
        self.bar.set_message(format!(
            "{} keys, {} threads, round {}: {} {}",
            cell.keys.name(),
            cell.threads,
            self.round + 1,
            cell.peer.name(),
            workload.name()
        ));
        true
    }

    fn heard(&mut self, workload: Workload, outcome: Outcome) {
        let cell = Cell {
            workload,
            ..self.cell
        };
        let (done, planned) = match outcome {
            Outcome::Timed { ns, wrong } => {
                self.results.add(cell, ns);
                return self.results.add_wrong(cell, wrong);
            }
            Outcome::OverCap { done, planned } => (done, planned),
        };
        let cap = self.plan.cap.as_secs();
        let reason = format!("over {cap} s after {done} of {planned} operations");
        self.bar.println(format!(
            "{} {}: {reason}; left out from here on",
            cell.peer.name(),
            workload.name()
        ));
        self.results.skip(cell, reason);
    }
}

struct Pass<'p, 'r> {
    setting: Setting<'p>,
    observer: Round<'r>,
}

impl WithPeer for Pass<'_, '_> {
    type Out = ();
    fn with<P: Peer>(mut self) {
        self.setting.pass::<P>(&mut self.observer);
    }
}

impl Plan {
    fn timed_workloads(&self, kind: KeyKind) -> impl Iterator<Item = Workload> + '_ {
        let timed = move |workload: &Workload| match workload {
            Workload::Memory | Workload::Empty => false,
            Workload::FillRandom => kind != KeyKind::Sequential,
            _ => true,
        };
        self.workloads.iter().copied().filter(timed)
    }

    fn steps(&self, kind: KeyKind) -> usize {
        let timed = self.timed_workloads(kind).count();
        timed * self.threads.len() * self.rounds * self.peers.len()
    }

    /// Runs the plan, and calls `after` each round with what there is so far.
    pub fn run(&self, mut after: impl FnMut(&Results)) -> Results {
        let mut results = Results::default();
        let steps: usize = self.keys.iter().map(|kind| self.steps(*kind)).sum();
        let bar = progress::bar(steps as u64);
        for kind in &self.keys {
            if self.workloads.iter().any(|workload| workload.is_size()) {
                self.weigh(*kind, &bar, &mut results);
            }
            if self.timed_workloads(*kind).next().is_none() {
                continue;
            }
            let keys = Keys::new(*kind, self.n, self.seed);
            freed_memory::provide(self.n * BYTES_AN_ENTRY);
            for threads in &self.threads {
                for round in 0..self.rounds {
                    self.round(&keys, *threads, round, &bar, &mut results);
                    after(&results);
                }
            }
        }
        bar.finish_and_clear();
        results
    }

    fn round(
        &self,
        keys: &Keys,
        threads: usize,
        round: usize,
        bar: &ProgressBar,
        results: &mut Results,
    ) {
        let setting = Setting {
            keys,
            threads,
            cap: self.cap,
            clock: self.clock,
        };
        for peer in &self.peers {
            let start = Instant::now();
            let cell = Cell {
                keys: keys.kind,
                threads,
                workload: Workload::FillRandom,
                peer: *peer,
            };
            let mut observer = Round {
                cell,
                plan: self,
                results: &mut *results,
                bar,
                round,
            };
            if peer.cannot(Workload::FillSeq, keys.kind).is_some() {
                for workload in self.timed_workloads(keys.kind) {
                    observer.wants(workload);
                }
                continue;
            }
            peer.dispatch(Pass { setting, observer });
            bar.println(format!(
                "{} keys, {threads} threads, round {}: {} done in {:.1} s",
                keys.kind.name(),
                round + 1,
                peer.name(),
                start.elapsed().as_secs_f64()
            ));
        }
    }

    fn weigh(&self, kind: KeyKind, bar: &ProgressBar, results: &mut Results) {
        bar.set_message("weighing");
        let scales = Scales::find().map_err(|error| error.to_string());
        for peer in &self.peers {
            let footprint = match peer.cannot(Workload::Memory, kind) {
                Some(reason) => Err(reason.to_owned()),
                None => scales.clone().and_then(|scales| {
                    let footprint = scales.weigh(*peer, kind, self.n, self.seed);
                    footprint.map_err(|error| error.to_string())
                }),
            };
            let sizes = self.workloads.iter().filter(|workload| workload.is_size());
            for workload in sizes {
                let cell = Cell {
                    keys: kind,
                    threads: self.threads.first().copied().unwrap_or(1),
                    workload: *workload,
                    peer: *peer,
                };
                match &footprint {
                    Ok(footprint) if *workload == Workload::Empty => {
                        results.add(cell, footprint.empty_bytes as f64);
                    }
                    Ok(footprint) => results.add(cell, footprint.bytes_per_entry),
                    Err(reason) => results.skip(cell, reason),
                }
            }
        }
    }
}
