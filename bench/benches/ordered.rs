//! The workloads at a small size under criterion: `cargo bench -p untorn-bench`.
//!
//! For ratios that hold, use `compare`: criterion runs one peer after another, so a slow minute falls on one of them.
//! One iteration is one pass over the keys; the throughput is in operations.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::ValueEnum;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use mimalloc::MiMalloc;
use untorn_bench::clock::TimeSource;
use untorn_bench::keys::{KeyKind, Keys};
use untorn_bench::measure::Setting;
use untorn_bench::peer::{Peer, Room};
use untorn_bench::roster::{Family, PeerKind, WithPeer};
use untorn_bench::workload::Workload;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

/// Keys in a table: it fits the caches, so these figures show instructions, not memory.
const KEYS: usize = 10_000;

struct One<'b, 'c> {
    group: &'b mut BenchmarkGroup<'c, WallTime>,
    setting: Setting<'b>,
    workload: Workload,
    name: &'static str,
}

impl WithPeer for One<'_, '_> {
    type Out = ();
    fn with<P: Peer>(self) {
        let (setting, keys) = (self.setting, self.setting.keys);
        let empty = || P::new(Room::once(keys.len()));
        let filled = || {
            let table = P::new(Room::for_a_round(keys.len()));
            setting.fill(&table, &keys.insertion);
            table
        };
        let each = BatchSize::PerIteration;
        self.group
            .bench_function(self.name, |bencher| match self.workload {
                Workload::FillSeq => {
                    bencher.iter_batched_ref(
                        empty,
                        |table| setting.fill(table, &keys.ascending),
                        each,
                    );
                }
                Workload::FillRandom => {
                    bencher.iter_batched_ref(
                        empty,
                        |table| setting.fill(table, &keys.insertion),
                        each,
                    );
                }
                Workload::FillBatch => {
                    bencher.iter_batched_ref(
                        empty,
                        |table| setting.write_many(table, &keys.insertion),
                        each,
                    );
                }
                Workload::Overwrite => {
                    bencher.iter_batched_ref(filled, |table| setting.overwrite(table), each);
                }
                Workload::OverwriteBatch => {
                    bencher.iter_batched_ref(
                        filled,
                        |table| setting.write_many(table, &keys.queries),
                        each,
                    );
                }
                Workload::Mixed95 => {
                    bencher.iter_batched_ref(filled, |table| setting.mixed(table, 20), each);
                }
                Workload::Mixed50 => {
                    bencher.iter_batched_ref(filled, |table| setting.mixed(table, 2), each);
                }
                Workload::Drop => bencher.iter_batched(filled, drop, each),
                Workload::ReadRandom => {
                    let table = filled();
                    bencher.iter(|| setting.read(&table, &keys.queries));
                }
                Workload::ReadDependent => {
                    let table = filled();
                    bencher.iter(|| setting.read_dependent(&table));
                }
                Workload::MultiReadRandom => {
                    let table = filled();
                    bencher.iter(|| setting.read_many(&table));
                }
                Workload::ReadMissing => {
                    let table = filled();
                    bencher.iter(|| setting.read_missing(&table));
                }
                Workload::Zipf => {
                    let table = filled();
                    bencher.iter(|| setting.read(&table, &keys.skewed));
                }
                Workload::ReadSeq => {
                    let table = filled();
                    bencher.iter(|| setting.read_all(&table));
                }
                Workload::SeekRandom => {
                    let table = filled();
                    bencher.iter(|| setting.seek(&table));
                }
                Workload::ReadWhileWriting => {
                    let table = filled();
                    bencher.iter(|| setting.read_while_writing(&table));
                }
                Workload::Tiny => bencher.iter(|| setting.tiny::<P>()),
                // A size, not a time: `compare` tells it.
                Workload::Memory | Workload::Empty => {}
            });
    }
}

fn operations(workload: Workload, keys: &Keys) -> usize {
    match workload {
        Workload::SeekRandom => Setting::scans_of(keys),
        Workload::Tiny => Setting::tiny_tables_of(keys),
        _ => keys.len(),
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    let keys = Keys::new(KeyKind::Random, KEYS, 42);
    let setting = Setting {
        keys: &keys,
        threads: 1,
        cap: Duration::from_secs(60),
        clock: TimeSource::Wall,
    };
    let timed = Workload::value_variants()
        .iter()
        .filter(|workload| !workload.is_size());
    for workload in timed {
        for (family, prefix) in [(Family::Memtable, ""), (Family::Buffer, "buffer/")] {
            let name = format!("{prefix}{}", workload.name());
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(operations(*workload, &keys) as u64));
            let peers = PeerKind::value_variants().iter().filter(|peer| {
                peer.family() == family && peer.cannot(*workload, keys.kind).is_none()
            });
            for peer in peers {
                peer.dispatch(One {
                    group: &mut group,
                    setting,
                    workload: *workload,
                    name: peer.name(),
                });
            }
            group.finish();
        }
    }
    criterion.final_summary();
}
