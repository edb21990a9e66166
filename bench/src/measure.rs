//! One pass over one peer: a table is filled, read, overwritten and dropped, and each step is timed.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Moment, TimeSource};
use crate::keys::{KeyKind, KeyList, Keys, mark_of, value_of};
use crate::peer::{Peer, Room};
use crate::run::{Outcome, Stream};
use crate::workload::{KEYS_A_CALL, SCAN_LEN, TINY_KEYS, Workload};

/// The setting of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'k> {
    /// The keys of the table.
    pub keys: &'k Keys,
    /// Threads in every workload.
    pub threads: usize,
    /// How long one workload may take.
    pub cap: Duration,
    /// The clock that counts.
    pub clock: TimeSource,
}

/// Whoever follows a pass: says what to run and hears what came of it.
pub trait Observer {
    /// Is this workload to be run?
    fn wants(&mut self, workload: Workload) -> bool;
    /// It was.
    fn heard(&mut self, workload: Workload, outcome: Outcome);
}

impl Setting<'_> {
    fn points(&self, ops: usize) -> Stream {
        Stream {
            ops,
            threads: self.threads,
            look_every: 1024,
            cap: self.cap,
            clock: self.clock,
        }
    }

    fn scans(&self, ops: usize) -> Stream {
        Stream {
            look_every: 4,
            ..self.points(ops)
        }
    }

    /// How many scans [`seek`](Self::seek) makes.
    pub fn scans_of(keys: &Keys) -> usize {
        (keys.len() / 20).max(1000).min(keys.len())
    }

    /// How many tables [`tiny`](Self::tiny) makes.
    pub fn tiny_tables_of(keys: &Keys) -> usize {
        (keys.len() / TINY_KEYS).clamp(1, 100_000)
    }

    /// Inserts all of `list`.
    pub fn fill<P: Peer>(&self, table: &P, list: &KeyList) -> Outcome {
        self.points(list.len()).run(|at| {
            let key = list.get(at);
            table.insert(key, &value_of(key, at));
            true
        })
    }

    /// Writes all of `list`, [`KEYS_A_CALL`] at a time; the figure is per key.
    pub fn write_many<P: Peer>(&self, table: &P, list: &KeyList) -> Outcome {
        self.many(list, |keys, from| {
            let values = (from..).zip(keys).map(|(at, key)| value_of(key, at));
            let values: Vec<_> = values.collect();
            let writes = keys.iter().zip(&values);
            let writes: Vec<_> = writes.map(|(&key, value)| (key, &value[..])).collect();
            table.write_many(&writes);
            true
        })
    }

    /// Shows [`KEYS_A_CALL`] keys of `list` at a time, and the number of the first; the figure is per key.
    fn many(&self, list: &KeyList, call: impl Fn(&[&[u8]], usize) -> bool + Sync) -> Outcome {
        let calls = list.len().div_ceil(KEYS_A_CALL);
        let outcome = self.points(calls).run(|nth| {
            let from = nth * KEYS_A_CALL;
            let keys = (from..list.len().min(from + KEYS_A_CALL)).map(|at| list.get(at));
            call(&keys.collect::<Vec<_>>(), from)
        });
        match outcome {
            Outcome::Timed { ns, wrong } => Outcome::Timed {
                ns: ns * calls as f64 / list.len().max(1) as f64,
                wrong,
            },
            over => over,
        }
    }

    /// Gets all of `list`, of which every key is there.
    pub fn read<P: Peer>(&self, table: &P, list: &KeyList) -> Outcome {
        self.points(list.len())
            .run(|at| reads_right(table, list.get(at)))
    }

    /// Gets all queries, which key is next according to the value before; the figure is per key.
    pub fn read_dependent<P: Peer>(&self, table: &P) -> Outcome {
        self.many(&self.keys.queries, |keys, _| {
            let (mut off, mut wrong) = (0, 0);
            for nth in 0..keys.len() {
                let key = keys[(nth + off).min(keys.len() - 1)];
                let mark = table.get(key, |value| value[0]);
                // Nothing, if the value is the right one: but that has to be there for it.
                off = mark.map_or(1, |mark| usize::from(mark ^ mark_of(key)));
                wrong |= off;
            }
            wrong == 0
        })
    }

    /// Gets all queries, [`KEYS_A_CALL`] at a time; the figure is per key.
    pub fn read_many<P: Peer>(&self, table: &P) -> Outcome {
        self.many(&self.keys.queries, |keys, _| {
            let mut expected = keys.iter().map(|key| mark_of(key));
            let mut right = 0;
            table.get_many(keys, |value| {
                right += usize::from(expected.next() == Some(value[0]));
            });
            right == keys.len()
        })
    }

    /// Gets the missing keys.
    pub fn read_missing<P: Peer>(&self, table: &P) -> Outcome {
        let list = &self.keys.missing;
        self.points(list.len())
            .run(|at| table.get(list.get(at), |value| value[0]).is_none())
    }

    /// Overwrites every key once.
    pub fn overwrite<P: Peer>(&self, table: &P) -> Outcome {
        let list = &self.keys.queries;
        self.points(list.len()).run(|at| {
            let key = list.get(at);
            table.overwrite(key, &value_of(key, at));
            true
        })
    }

    /// Gets, and one overwrite in `every` operations.
    pub fn mixed<P: Peer>(&self, table: &P, every: usize) -> Outcome {
        let list = &self.keys.queries;
        self.points(list.len()).run(|at| {
            let key = list.get(at);
            if (at / self.threads).is_multiple_of(every) {
                table.overwrite(key, &value_of(key, at));
                true
            } else {
                reads_right(table, key)
            }
        })
    }

    /// Scans of 50 entries from random keys: one for every 20 keys, but a thousand at least.
    pub fn seek<P: Peer>(&self, table: &P) -> Outcome {
        let list = &self.keys.queries;
        let scans = Self::scans_of(self.keys);
        let last = self.keys.ascending.len().saturating_sub(SCAN_LEN);
        let ends = self.keys.ascending.get(last);
        self.scans(scans).run(|at| {
            let from = list.get(at);
            let (mut touched, mut first) = (0u8, None);
            let seen = table.scan(from, SCAN_LEN, |key, value| {
                touched = touched.wrapping_add(mark_of(key)) ^ value[0];
                first.get_or_insert(key == from);
            });
            black_box(touched);
            first == Some(true) && (seen == SCAN_LEN || from > ends)
        })
    }

    /// The whole table in order, once per thread; the figure is per entry.
    pub fn read_all<P: Peer>(&self, table: &P) -> Outcome {
        let entries = self.keys.len();
        let outcome = self.scans(self.threads).run(|_| {
            let mut touched = 0u8;
            let seen = table.scan_all(|key, value| {
                touched = touched.wrapping_add(mark_of(key)) ^ value[0];
            });
            black_box(touched);
            seen == entries
        });
        self.per(entries, outcome)
    }

    fn per(&self, parts: usize, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Timed { ns, .. } if Duration::from_nanos(ns as u64) > self.cap => {
                Outcome::OverCap {
                    done: 1,
                    planned: 1,
                }
            }
            Outcome::Timed { ns, wrong } => Outcome::Timed {
                ns: ns / parts.max(1) as f64,
                wrong,
            },
            over => over,
        }
    }

    /// Gets, while one thread more overwrites until the last of them is done.
    pub fn read_while_writing<P: Peer>(&self, table: &P) -> Outcome {
        let list = &self.keys.queries;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in (0..list.len()).rev().cycle() {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = list.get(at);
                    table.overwrite(key, &value_of(key, at));
                }
            });
            let outcome = self.read(table, list);
            done.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// Drops the table; per entry.
    pub fn drop_table<P: Peer>(&self, table: P) -> Outcome {
        let start = Moment::now();
        drop(table);
        let elapsed = Moment::now().since(&start, self.clock);
        Outcome::Timed {
            ns: elapsed.as_nanos() as f64 / self.keys.len().max(1) as f64,
            wrong: 0,
        }
    }

    /// Tables of ten keys, made and dropped.
    pub fn tiny<P: Peer>(&self) -> Outcome {
        let list = &self.keys.insertion;
        let tables = Self::tiny_tables_of(self.keys);
        let keys = TINY_KEYS.min(list.len());
        let stream = Stream {
            look_every: 64,
            ..self.points(tables)
        };
        stream.run(|at| {
            let table = P::new(Room::once(keys));
            for nth in 0..keys {
                let key = list.get((at * keys + nth) % list.len());
                table.insert(key, &value_of(key, nth));
            }
            black_box(&table);
            true
        })
    }

    /// Does every workload that the observer wants, in an order that lets them share one table.
    pub fn pass<P: Peer>(&self, observer: &mut impl Observer) {
        use Workload as W;
        let mut step = |workload: W, run: &dyn Fn() -> Outcome| {
            if observer.wants(workload) {
                observer.heard(workload, run());
                settle();
            }
        };
        let sequential = self.keys.kind == KeyKind::Sequential;
        if !sequential {
            step(W::FillSeq, &|| {
                let table = P::new(Room::once(self.keys.len()));
                self.fill(&table, &self.keys.ascending)
            });
        }
        step(W::FillBatch, &|| {
            let table = P::new(Room::once(self.keys.len()));
            self.write_many(&table, &self.keys.insertion)
        });
        let table = P::new(Room::for_a_round(self.keys.len()));
        let filled = self.fill(&table, &self.keys.insertion);
        let whole = matches!(filled, Outcome::Timed { .. });
        let fill = if sequential {
            W::FillSeq
        } else {
            W::FillRandom
        };
        step(fill, &|| filled.clone());
        settle();
        if whole {
            step(W::ReadRandom, &|| self.read(&table, &self.keys.queries));
            step(W::ReadDependent, &|| self.read_dependent(&table));
            step(W::MultiReadRandom, &|| self.read_many(&table));
            step(W::ReadMissing, &|| self.read_missing(&table));
            step(W::Zipf, &|| self.read(&table, &self.keys.skewed));
            step(W::ReadSeq, &|| self.read_all(&table));
            step(W::SeekRandom, &|| self.seek(&table));
            step(W::Overwrite, &|| self.overwrite(&table));
            step(W::OverwriteBatch, &|| {
                self.write_many(&table, &self.keys.queries)
            });
            step(W::Mixed95, &|| self.mixed(&table, 20));
            step(W::Mixed50, &|| self.mixed(&table, 2));
            step(W::ReadWhileWriting, &|| self.read_while_writing(&table));
            let dropped = self.drop_table(table);
            step(W::Drop, &|| dropped.clone());
        }
        settle();
        step(W::Tiny, &|| self.tiny::<P>());
    }
}

#[inline]
fn reads_right<P: Peer>(table: &P, key: &[u8]) -> bool {
    table.get(key, |value| value[0]) == Some(mark_of(key))
}

/// Lets what earlier steps retired go, so that the next one does not pay for it.
pub fn settle() {
    for _ in 0..64 {
        crossbeam_epoch::pin().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::{Observer, Setting};
    use crate::clock::TimeSource;
    use crate::keys::{KeyKind, Keys};
    use crate::peers::BTreePeer;
    use crate::run::Outcome;
    use crate::workload::Workload;
    use clap::ValueEnum;
    use std::time::Duration;

    struct All(Vec<(Workload, Outcome)>);

    impl Observer for All {
        fn wants(&mut self, _: Workload) -> bool {
            true
        }
        fn heard(&mut self, workload: Workload, outcome: Outcome) {
            self.0.push((workload, outcome));
        }
    }

    #[test]
    fn a_pass_times_every_workload_but_memory() {
        let keys = Keys::new(KeyKind::Random, 2_000, 1);
        let setting = Setting {
            keys: &keys,
            threads: 2,
            cap: Duration::from_secs(60),
            clock: TimeSource::Wall,
        };
        let mut all = All(Vec::new());
        setting.pass::<BTreePeer>(&mut all);
        let all_workloads = Workload::value_variants().iter();
        let timed = all_workloads.filter(|workload| !workload.is_size()).count();
        assert_eq!(all.0.len(), timed, "{:?}", all.0);
        for (workload, outcome) in &all.0 {
            assert!(
                matches!(outcome, Outcome::Timed { ns, wrong: 0 } if *ns > 0.0),
                "{workload:?}: {outcome:?}"
            );
        }
    }
}
