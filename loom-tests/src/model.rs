//! The one way to run a model, made so that a run which was cut short cannot look like one that passed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use loom::model::Builder;
use loom::thread::JoinHandle;
use untorn_memtable::__model as internals;

/// The committed list: one model a line, `name threads preemptions`.
pub const MODELS: &str = include_str!("../MODELS");

/// Says that loom is a mended one (`loom-tests/run --mended`), which explores so much more that its bound has to be lower: this one.
const MENDED: &str = "UNTORN_MENDED_LOOM";

/// Names the bug to plant; set for the child processes of the mutant test alone.
pub(crate) const MUTANT: &str = "UNTORN_MUTANT";

/// What loom reads from the environment that would leave a run incomplete or change its bound.
const CUTS: [&str; 4] = [
    "LOOM_MAX_DURATION",
    "LOOM_MAX_PERMUTATIONS",
    "LOOM_MAX_PREEMPTIONS",
    "LOOM_CHECKPOINT_FILE",
];

/// Steps of one interleaving, far above what a model takes that makes progress.
const MAX_BRANCHES: usize = 20_000;

std::thread_local! {
    static THREADS: std::cell::Cell<usize> = const { std::cell::Cell::new(1) };
}

/// Starts a thread of a model. Threads are counted, so models use this one only. The model has to join it.
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    THREADS.set(THREADS.get() + 1);
    loom::thread::spawn(f)
}

/// Runs `f` in every interleaving with at most `preemptions` preemptions and prints what was explored.
///
/// After each interleaving every record that carries a marker must have been freed. All tables of the model have to
/// be gone when `f` returns, and all threads joined.
///
/// # Panics
///
/// If `f` panics in an interleaving or leaks; if fewer than `min_iterations` were explored; if the model, its
/// number of threads and its bound are not what `MODELS` says; if the environment tells loom to stop early. On a mended loom the
/// bound is lower, and neither the iterations nor the list are looked at.
pub fn model<F>(name: &'static str, preemptions: usize, min_iterations: usize, f: F)
where
    F: Fn() + Send + Sync + 'static,
{
    for cut in CUTS {
        assert!(
            std::env::var_os(cut).is_none(),
            "{cut} is set: the run would be cut short and still pass"
        );
    }
    let planted = plant_once();
    let mended: Option<usize> = std::env::var(MENDED)
        .ok()
        .map(|bound| bound.parse().expect("a number of preemptions"));
    let explored = preemptions.min(mended.unwrap_or(preemptions));

    let iterations = Arc::new(AtomicUsize::new(0));
    let threads = Arc::new(AtomicUsize::new(0));
    let mut builder = Builder::new();
    builder.preemption_bound = Some(explored);
    builder.max_branches = MAX_BRANCHES;
    let repetition = {
        let (iterations, threads) = (Arc::clone(&iterations), Arc::clone(&threads));
        move || {
            iterations.fetch_add(1, Ordering::Relaxed);
            THREADS.set(1);
            internals::reset_live_records();
            internals::prepare();
            f();
            threads.fetch_max(THREADS.get(), Ordering::Relaxed);
            assert_eq!(internals::live_records(), 0, "records leaked");
        }
    };
    // What loom says of each step, for LOOM_LOG=trace (and LOOM_LOCATION=1 for the places in the code).
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("LOOM_LOG"))
        .with_test_writer()
        .without_time()
        .finish();
    tracing::subscriber::with_default(log, || builder.check(repetition));

    let iterations = iterations.load(Ordering::Relaxed);
    let threads = threads.load(Ordering::Relaxed);
    let bounds = format!("{name} {threads} {preemptions}");
    if mended.is_some() {
        println!(
            "MENDED {name} threads={threads} preemptions={explored} iterations={iterations} complete=true"
        );
        return;
    }
    if !planted {
        assert!(
            iterations >= min_iterations,
            "{name}: {iterations} iterations, fewer than {min_iterations}"
        );
        assert!(
            MODELS.lines().any(|listed| listed == bounds),
            "`{bounds}` is not in loom-tests/MODELS"
        );
    }
    println!(
        "MODEL {name} threads={threads} preemptions={preemptions} iterations={iterations} complete=true"
    );
}

/// Plants the bug that the environment names, if any.
fn plant_once() -> bool {
    static PLANTED: OnceLock<bool> = OnceLock::new();
    *PLANTED.get_or_init(|| match std::env::var(MUTANT) {
        Ok(mutant) => {
            internals::plant(&mutant);
            true
        }
        Err(_) => false,
    })
}
