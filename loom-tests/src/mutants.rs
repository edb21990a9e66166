//! Runs one model in a process of its own with a bug planted in the code.
//!
//! A process of its own, because a planted bug may really read freed memory: a crash is then as good an answer as a
//! failed assertion.

use std::process::{Command, Stdio};

use crate::model::MUTANT;

/// What came of a model with a bug in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It failed, and how.
    Caught(String),
    /// It passed, or did not run at all.
    Survived(String),
}

/// Runs the test `test` of the current test binary with `mutant` planted.
///
/// # Panics
///
/// If the process cannot be started.
pub fn run_planted(mutant: &str, test: &str) -> Outcome {
    let binary = std::env::current_exe().expect("a running test has a binary");
    let run = Command::new(binary)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MUTANT, mutant)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("a test binary can be started again");
    let out = String::from_utf8_lossy(&run.stdout);
    let err = String::from_utf8_lossy(&run.stderr);
    let ran = out.contains("running 1 test");
    let finished = out.contains("MODEL ");
    if !ran || finished || run.status.success() {
        let why = if !ran {
            "no such test"
        } else {
            "the model passed"
        };
        return Outcome::Survived(why.to_owned());
    }
    let reason = err
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .nth(1)
        .map(str::trim);
    Outcome::Caught(match reason {
        Some(reason) => reason.to_owned(),
        None => run.status.to_string(),
    })
}
