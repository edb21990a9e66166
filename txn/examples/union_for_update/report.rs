//! What came of it, for people and as JSON.

use super::Failure;
use super::monitor::Seen;
use serde::Serialize;
use std::fmt;

/// The result of all rounds.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub rows: usize,
    pub branches: usize,
    pub rounds: u64,
    /// Lock calls of the branches.
    pub calls: u64,
    /// Rows locked, each counted once a round.
    pub rows_locked: u64,
    /// Rows that a call found locked by a sibling.
    pub found_locked: u64,
    /// Requests that had to queue behind the competing transaction.
    pub waits: u64,
    /// Seconds from the first lock call to the last.
    pub lock_time: f64,
    pub rows_per_second: f64,
    pub monitor: Seen,
    pub final_len: usize,
    pub final_size: usize,
    pub expected_len: usize,
    pub expected_size: usize,
    /// The checks that failed; none is what should be.
    pub failures: Vec<String>,
}

impl Summary {
    pub fn new(rows: usize, branches: usize) -> Self {
        Self {
            rows,
            branches,
            rounds: 0,
            calls: 0,
            rows_locked: 0,
            found_locked: 0,
            waits: 0,
            lock_time: 0.0,
            rows_per_second: 0.0,
            monitor: Seen::default(),
            final_len: 0,
            final_size: 0,
            expected_len: 0,
            expected_size: 0,
            failures: Vec::new(),
        }
    }

    /// An error if a check failed.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.failures.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{} checks failed\n  {}",
                self.failures.len(),
                self.failures.join("\n  ")
            )
            .into())
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.monitor;
        writeln!(f, "rounds              {}", self.rounds)?;
        writeln!(
            f,
            "rows locked         {} in {} calls, {:.0} per second",
            self.rows_locked, self.calls, self.rows_per_second
        )?;
        writeln!(f, "found locked        {}", self.found_locked)?;
        writeln!(f, "lock waits          {}", self.waits)?;
        writeln!(
            f,
            "monitor             {} readings ({} while growing), length {} to {}, size {} to {}",
            seen.readings,
            seen.halfway,
            seen.smallest_len,
            seen.largest_len,
            seen.smallest_size,
            seen.largest_size
        )?;
        writeln!(f, "torn readings       {}", seen.torn)?;
        writeln!(
            f,
            "final length        {} (counted: {})",
            self.final_len, self.expected_len
        )?;
        writeln!(
            f,
            "final size          {} (counted: {})",
            self.final_size, self.expected_size
        )?;
        writeln!(
            f,
            "checks              {}",
            if self.failures.is_empty() {
                "all passed".to_owned()
            } else {
                format!("{} FAILED", self.failures.len())
            }
        )
    }
}
