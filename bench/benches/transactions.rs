//! Transactions under criterion: stage, lock, commit, hand-off, deadlock. `untorn-bench locks` shows whole distributions.

#![forbid(unsafe_code)]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use mimalloc::MiMalloc;
use untorn_bench::txn::{
    AtRest, Commit, Contended, Deadlock, HandOff, LockBatch, LockOne, Part, Stage, Timed, Unpark,
    UntornEngine, WakeTask,
};
use untorn_memtable::Memtable;
use untorn_txn::MemBuffer;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

/// Samples of one call of a routine at most. What prepares a sample is not timed, so criterion, which plans by what it
/// has timed, would ask for more of them than there is time for.
const SAMPLES: u64 = 64;

fn bench<T: Timed>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut timed: T) {
    group.throughput(Throughput::Elements(T::OPERATIONS.into()));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let samples = iterations.min(SAMPLES);
            let taken: Duration = (0..samples).map(|_| timed.time()).sum();
            taken.mul_f64(iterations as f64 / samples as f64)
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();

    let mut group = criterion.benchmark_group("stats");
    bench(&mut group, "memtable", AtRest::new());
    group.finish();

    let mut group = criterion.benchmark_group("stage");
    for (name, part) in [("open", Part::Open), ("cleanup", Part::Cleanup)] {
        let (memtable, buffer) = (format!("{name}/memtable"), format!("{name}/buffer"));
        bench(&mut group, &memtable, Stage::<Memtable>::new(part));
        bench(&mut group, &buffer, Stage::<MemBuffer>::new(part));
    }
    group.finish();

    let mut group = criterion.benchmark_group("lock");
    bench(&mut group, "one", LockOne::<UntornEngine>::new());
    bench(&mut group, "batch", LockBatch::<UntornEngine>::new());
    bench(&mut group, "contended", Contended::new());
    group.finish();

    let mut group = criterion.benchmark_group("commit");
    bench(&mut group, "ten-writes", Commit::<UntornEngine>::new());
    group.finish();

    let mut group = criterion.benchmark_group("hand-off");
    bench(&mut group, "thread", HandOff::<UntornEngine>::new());
    bench(&mut group, "task", WakeTask::new());
    bench(&mut group, "bare-unpark", Unpark::new());
    group.finish();

    let mut group = criterion.benchmark_group("deadlock");
    bench(&mut group, "of-two", Deadlock::<UntornEngine>::of(2));
    group.finish();

    criterion.final_summary();
}
