//! Each target beside what was measured of it.

use super::Bound::{self, AtLeast, AtMost};
use super::{Measured, Target};
use crate::floor::{self, Part};
use crate::keys::KeyKind;
use crate::results::Record;
use crate::roster::PeerKind;
use crate::suite::Figures;
use crate::txn::{Figure, Measure};
use crate::workload::Workload;

/// A cell of the comparison.
#[derive(Clone, Copy)]
struct At {
    keys: KeyKind,
    threads: usize,
    peer: PeerKind,
    workload: Workload,
}

struct Judge<'f> {
    figures: &'f Figures,
    targets: Vec<Target>,
}

impl Judge<'_> {
    fn record(&self, at: At) -> Option<&Record> {
        let report = self.figures.compare.as_ref()?;
        report.results.iter().find(|record| {
            record.keys == at.keys
                && record.threads == at.threads
                && record.peer == at.peer
                && record.workload == at.workload
        })
    }

    fn call(&self, measure: Measure, subject: &str) -> Option<&Figure> {
        let report = self.figures.locks.as_ref()?;
        let mut figures = report.figures.iter();
        figures.find(|figure| figure.measure == measure && figure.subject == subject)
    }

    fn push(
        &mut self,
        what: impl Into<String>,
        bound: Bound,
        (unit, of): (&'static str, &str),
        value: Option<(f64, Option<f64>)>,
    ) {
        self.targets.push(Target {
            what: what.into(),
            wanted: bound.wording(unit, of),
            measured: value.map(|(value, spread)| Measured {
                value,
                unit,
                met: bound.holds(value),
                spread,
            }),
        });
    }

    /// One figure over another.
    fn ratio(&mut self, what: &str, bound: Bound, of: &str, (upper, lower): (At, At)) {
        let figures = self.record(upper).zip(self.record(lower));
        let value = figures.and_then(|(upper, lower)| {
            let ratio = upper.figure()? / lower.figure()?;
            let spread = upper.spread.zip(lower.spread);
            Some((ratio, spread.map(|(upper, lower)| upper.max(lower))))
        });
        self.push(what, bound, ("x", of), value);
    }

    /// At most: Untorn's time over a peer's. At least: the peer's over Untorn's.
    fn against(
        &mut self,
        what: &str,
        bound: Bound,
        keys: KeyKind,
        workload: Workload,
        peer: PeerKind,
    ) {
        let theirs = At {
            keys,
            threads: 1,
            peer,
            workload,
        };
        let ours = At {
            peer: PeerKind::Untorn,
            ..theirs
        };
        let (word, figures) = match bound {
            AtMost(_) => ("", (ours, theirs)),
            AtLeast(_) => ("faster than ", (theirs, ours)),
        };
        self.ratio(what, bound, &format!(" {word}{}", peer.name()), figures);
    }

    /// Untorn's time at one workload over that at another, or on other threads.
    fn within(
        &mut self,
        what: &str,
        bound: Bound,
        of: &str,
        upper: (Workload, usize),
        lower: (Workload, usize),
    ) {
        let ours = |(workload, threads)| At {
            keys: KeyKind::Random,
            threads,
            peer: PeerKind::Untorn,
            workload,
        };
        self.ratio(what, bound, of, (ours(upper), ours(lower)));
    }

    fn size(&mut self, what: &str, bound: f64, workload: Workload) {
        let ours = At {
            keys: KeyKind::Random,
            threads: 1,
            peer: PeerKind::Untorn,
            workload,
        };
        let value = self.record(ours).and_then(Record::figure);
        self.push(
            what,
            AtMost(bound),
            (" bytes", ""),
            value.map(|value| (value, None)),
        );
    }

    fn time(
        &mut self,
        what: &str,
        bound: f64,
        measure: Measure,
        subject: &str,
        of: fn(&Figure) -> f64,
    ) {
        let value = self.call(measure, subject).map(|figure| (of(figure), None));
        self.push(what, AtMost(bound), (" ns", ""), value);
    }

    fn points_and_scans(&mut self) {
        use KeyKind::Random;
        use PeerKind::{Artmap, Btree, Crossbeam};
        use Workload as W;
        self.against("get", AtMost(1.0), Random, W::ReadRandom, Artmap);
        self.against("get", AtLeast(6.0), Random, W::ReadRandom, Crossbeam);
        #[cfg(feature = "rocksdb")]
        self.against(
            "get",
            AtLeast(6.0),
            Random,
            W::ReadRandom,
            PeerKind::Rocksdb,
        );
        self.against("get", AtMost(1.0), Random, W::ReadRandom, Btree);
        let (one, many) = ((W::ReadRandom, 1), (W::MultiReadRandom, 1));
        self.within(
            "get_many, 64 keys",
            AtLeast(3.0),
            " the throughput of get",
            one,
            many,
        );
        self.against("insert", AtMost(1.0), Random, W::FillRandom, Artmap);
        self.against("insert", AtLeast(5.0), Random, W::FillRandom, Crossbeam);
        let (over, fill) = ((W::Overwrite, 1), (W::FillRandom, 1));
        self.within("overwrite", AtMost(0.8), " insert", over, fill);
        self.against("scan of 50", AtMost(0.4), Random, W::SeekRandom, Artmap);
        self.against("scan of 50", AtMost(1.0), Random, W::SeekRandom, Btree);
        self.against("full scan", AtMost(0.25), Random, W::ReadSeq, Artmap);
    }

    fn structured_keys(&mut self) {
        use PeerKind::{Artmap, Btree};
        use Workload as W;
        for (keys, filled) in [
            (KeyKind::Record, W::FillRandom),
            (KeyKind::Record, W::FillSeq),
            (KeyKind::Sequential, W::FillSeq),
        ] {
            let of = |what: &str| format!("{} keys: {what}", keys.name());
            let order = if filled == W::FillSeq {
                "ascending insert"
            } else {
                "insert"
            };
            self.against(&of(order), AtMost(1.0), keys, filled, Artmap);
            // The table that is read was filled in random order for record keys, in ascending order for sequential ones.
            if keys == KeyKind::Record && filled == W::FillSeq {
                continue;
            }
            self.against(&of("get"), AtMost(1.0), keys, W::ReadRandom, Artmap);
            self.against(&of("scan of 50"), AtMost(0.4), keys, W::SeekRandom, Artmap);
            self.against(&of("scan of 50"), AtMost(1.0), keys, W::SeekRandom, Btree);
            self.against(&of("full scan"), AtMost(0.25), keys, W::ReadSeq, Artmap);
        }
    }

    fn memory_and_threads(&mut self) {
        use PeerKind::{Artmap, Btree};
        use Workload as W;
        let random = KeyKind::Random;
        self.against("drop", AtMost(0.1), random, W::Drop, Artmap);
        self.size("memory of an entry (80 payload)", 131.0, W::Memory);
        self.size("heap of an empty memtable", 0.0, W::Empty);
        self.against(
            "new + 10 inserts + drop",
            AtMost(1.0),
            random,
            W::Tiny,
            Btree,
        );
        for (what, workload, bound) in [
            ("1 to 2 threads: get", W::ReadRandom, 1.8),
            ("1 to 2 threads: insert", W::FillRandom, 1.8),
            ("1 to 2 threads: ascending insert", W::FillSeq, 1.0),
        ] {
            self.within(
                what,
                AtLeast(bound),
                " the throughput",
                (workload, 1),
                (workload, 2),
            );
        }
    }

    /// What the counters take alone, of an insert in the same process.
    fn counters(&mut self) {
        let share = self.figures.floor.as_ref().and_then(|report| {
            let of_one = |it: &&floor::Figure| it.of.part == Part::Counters && it.of.threads == 1;
            let counters = report.loops.iter().find(of_one)?;
            let insert = report.operation(&counters.of, PeerKind::Untorn)?;
            Some((100.0 * counters.ns / insert, None))
        });
        self.push("counters", AtMost(2.0), ("%", " of an insert"), share);
    }

    fn calls(&mut self) {
        use Measure as M;
        self.time("stats() at rest", 100.0, M::Stats, "memtable", |at| at.p50);
        for subject in ["memtable", "buffer"] {
            let open = format!("open a stage of 1,000 writes, {subject}");
            self.time(&open, 200.0, M::StageOpen, subject, |at| at.p50);
            let cleanup = format!("clean it up, {subject}");
            self.time(&cleanup, 200.0, M::StageCleanup, subject, |at| at.p50);
        }
        self.time("lock_keys, one key", 500.0, M::LockOne, "untorn", |at| {
            at.p50
        });
        let batch = "lock_keys, 100 keys, a key";
        self.time(batch, 150.0, M::LockBatch, "untorn", |at| at.p50);
        self.time("hand-off, p99", 10_000.0, M::HandOff, "untorn", |at| at.p99);
        let deadlock = "deadlock found, the slowest";
        self.time(deadlock, 2_000_000.0, M::Deadlock, "untorn", |at| at.max);
        let told = self.figures.locks.as_ref();
        let told = told.map(|report| (report.false_deadlocks.told as f64, None));
        self.push(
            "deadlocks told where there are none",
            AtMost(0.0),
            ("", ""),
            told,
        );
    }

    fn growth(&mut self) {
        let of = " for each factor 10, 10k to 10M";
        for workload in [
            Workload::ReadRandom,
            Workload::FillRandom,
            Workload::SeekRandom,
        ] {
            let curves = self.figures.growth.as_ref();
            let curves = curves.map(|report| report.curves(PeerKind::Untorn));
            let curve = curves
                .and_then(|curves| curves.into_iter().find(|curve| curve.workload == workload));
            let worst = curve.and_then(|curve| curve.per_factor_ten());
            let what = format!("growth, worst step: {}", workload.name());
            self.push(
                what,
                AtMost(1.35),
                ("x", of),
                worst.map(|(worst, _)| (worst, None)),
            );
        }
    }
}
/// All targets, with what the figures say of them.
pub fn judge(figures: &Figures) -> Vec<Target> {
    let mut judge = Judge {
        figures,
        targets: Vec::new(),
    };
    judge.points_and_scans();
    judge.structured_keys();
    judge.memory_and_threads();
    judge.counters();
    judge.calls();
    judge.growth();
    judge.targets
}
