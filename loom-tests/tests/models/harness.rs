//! The wrapper refuses what would look like a pass and is none, and a mended loom explores what it has to.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;
use untorn_loom_tests::{model, spawn};

const WHOLE: &str = "collector::replaced_pointer_is_read_whole";

#[test]
fn a_run_that_loom_would_cut_short_is_refused() {
    let names = [
        "LOOM_MAX_DURATION",
        "LOOM_MAX_PERMUTATIONS",
        "LOOM_MAX_PREEMPTIONS",
    ];
    for cut in names {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", WHOLE])
            .env(cut, "1")
            .output()
            .unwrap();
        assert!(!run.status.success(), "passed with {cut} set");
        let out = String::from_utf8_lossy(&run.stdout);
        assert!(out.contains("would be cut short"), "{cut}: {out}");
    }
}

#[test]
#[should_panic(expected = "1 iterations, fewer than 2")]
fn too_few_iterations_fail() {
    model("too_few_iterations_fail", 2, 2, || {});
}

#[test]
#[should_panic(expected = "is not in loom-tests/MODELS")]
fn a_model_that_nobody_listed_fails() {
    model("a_model_that_nobody_listed_fails", 2, 1, || {});
}

/// Loom 0.7.3 by itself forgets a reader once the writer has read the word, too, and explores one order alone. Every loop around a
/// compare-and-swap is such a writer. `loom-tests/run --mended` builds a loom that remembers.
#[test]
#[ignore = "loom 0.7.3 by itself fails it: loom-tests/run --mended PREEMPTIONS"]
fn a_writer_that_reads_first_is_interleaved() {
    static SEEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
    model("a_writer_that_reads_first_is_interleaved", 3, 2, || {
        let word = Arc::new(AtomicUsize::new(0));
        let there = Arc::clone(&word);
        let writer = spawn(move || {
            let old = there.load(Ordering::Acquire);
            there
                .compare_exchange(old, 1, Ordering::AcqRel, Ordering::Acquire)
                .unwrap();
        });
        let seen = word.load(Ordering::Acquire);
        SEEN.lock().unwrap().insert(seen);
        writer.join().unwrap();
    });
    assert_eq!(*SEEN.lock().unwrap(), BTreeSet::from([0, 1]));
}
