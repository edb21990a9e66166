//! The wrapper refuses what would look like a pass and is none.

use std::process::Command;
use untorn_loom_tests::model;

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
