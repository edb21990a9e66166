//! One branch of the union: `SELECT * FROM customer WHERE key BETWEEN .. FOR UPDATE`.

use super::round::Progress;
use super::table::Row;
use std::ops::Range;
use std::sync::atomic::Ordering;
use untorn_txn::{Error, LockOptions, Transaction};

/// Rows that the executor locks with one call.
const CHUNK: usize = 32;

/// What a branch did.
#[derive(Debug, Default)]
pub struct Done {
    pub calls: u64,
    /// Positions of the rows that its calls locked first.
    pub locked: Vec<usize>,
    /// Rows that a sibling had locked.
    pub found_locked: u64,
    /// Rows whose value was not the one expected.
    pub wrong_values: u64,
    /// Readings of the length, after a call, that were too small for what the branch had locked itself.
    pub short_lengths: u64,
}

/// The rows of branch `n` of `branches`: its part of the table, and half a part more at either end.
pub fn rows_of(n: usize, branches: usize, rows: usize) -> Range<usize> {
    let half = rows / (2 * branches);
    let from = (n * rows / branches).saturating_sub(half);
    let to = ((n + 1) * rows / branches + half).min(rows);
    from..to
}

/// Reads the range at the snapshot, row by row, and locks what it read, chunk by chunk.
pub fn run(
    txn: &Transaction,
    table: &[Row],
    part: Range<usize>,
    progress: &Progress,
) -> Result<Done, Error> {
    let mut done = Done::default();
    if part.is_empty() {
        return Ok(done);
    }
    let bounds = table[part.start].0.as_bytes()..=table[part.end - 1].0.as_bytes();
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut next = part.start;
    let mut own = 0;
    for row in txn.blocking().range(bounds) {
        chunk.push(row?.0);
        if chunk.len() == CHUNK || next + chunk.len() == part.end {
            progress
                .asked
                .fetch_add(chunk.len() as u64, Ordering::SeqCst);
            let options = LockOptions {
                return_values: true,
                ..LockOptions::default()
            };
            let outcomes = txn.blocking().lock_keys(&chunk, options)?;
            let mut fresh = 0;
            for (at, outcome) in (next..).zip(&outcomes) {
                let value = outcome.value.as_deref().unwrap_or_default();
                if !progress.is_expected(at, value, &table[at]) {
                    done.wrong_values += 1;
                }
                if outcome.already_locked {
                    done.found_locked += 1;
                } else {
                    done.locked.push(at);
                    fresh += 1;
                }
            }
            own += outcomes.len();
            done.calls += 1;
            progress.locked.fetch_add(fresh, Ordering::SeqCst);
            // What a session does after each lock call, and what raced.
            if txn.len() < own {
                done.short_lengths += 1;
            }
            next += chunk.len();
            chunk.clear();
        }
    }
    Ok(done)
}
