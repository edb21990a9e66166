//! The rounds: load the table, run the union, count again.

use super::branch::{self, Done};
use super::ground::{Field, Ground, Stall};
use super::monitor::{self, Seen, Sizes};
use super::options::Options;
use super::report::Summary;
use super::table::Row;
use super::{Failure, competitor};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untorn_txn::{BeginOptions, Transaction};

/// What branches, monitor and competitor know of each other.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows named in lock calls so far, before the call.
    pub asked: AtomicU64,
    /// Rows locked, counted after the call and once each.
    pub locked: AtomicU64,
    done: AtomicBool,
    mark: String,
    held: BTreeSet<usize>,
}

impl Progress {
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// Whether this is the newest value of the row at `at`: the competitor's, where it changed the row.
    pub fn is_expected(&self, at: usize, value: &[u8], row: &Row) -> bool {
        if self.held.contains(&at) {
            value == competitor::changed(&row.1, &self.mark).as_bytes()
        } else {
            value == row.1.as_bytes()
        }
    }
}

/// Rounds until the time is over, at least one.
pub fn run_all(
    options: &Options,
    ground: &Ground,
    table: &[Row],
    out: &mut dyn Write,
) -> Result<Summary, Failure> {
    let branches = usize::from(options.branches);
    writeln!(
        out,
        "{} rows, {branches} branches, each {} to {} rows wide",
        table.len(),
        (0..branches)
            .map(|n| branch::rows_of(n, branches, table.len()).len())
            .min()
            .unwrap_or(0),
        (0..branches)
            .map(|n| branch::rows_of(n, branches, table.len()).len())
            .max()
            .unwrap_or(0),
    )?;
    let mut summary = Summary::new(table.len(), branches);
    let end = options
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let bar = ProgressBar::new(table.len() as u64).with_style(ProgressStyle::with_template(
        "{prefix} [{bar:40}] {pos}/{len} rows locked, {msg}",
    )?);
    loop {
        summary.rounds += 1;
        let field = ground.of_round(table, summary.rounds)?;
        one(branches, &field, &bar, &mut summary)?;
        field.clear()?;
        if summary.failures.len() > 20 || end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    bar.finish_and_clear();
    summary.rows_per_second = summary.rows_locked as f64 / summary.lock_time.max(f64::MIN_POSITIVE);
    Ok(summary)
}

/// One round, on a store of its own.
fn one(
    branches: usize,
    field: &Field<'_>,
    bar: &ProgressBar,
    summary: &mut Summary,
) -> Result<(), Failure> {
    bar.set_prefix(format!("round {}", summary.rounds));
    field.load()?;
    let (db, table) = (&field.db, &field.table[..]);
    let sizes = Sizes::of(table);

    let progress = Progress {
        mark: format!("round {}", summary.rounds),
        held: competitor::rows_of(table.len()).collect(),
        ..Progress::default()
    };
    let rival = competitor::begin(db, table, &progress.mark)?;
    let txn = db.blocking().begin(BeginOptions {
        label: Some("union".to_owned()),
        ..BeginOptions::default()
    })?;
    let waits_before = field.waits();
    let begun = Instant::now();
    let (done, seen) = thread::scope(|scope| {
        let monitor = scope.spawn(|| monitor::run(&txn, table.len(), &sizes, &progress));
        let threads: Vec<_> = (0..branches)
            .map(|n| {
                let (txn, progress) = (txn.clone(), &progress);
                let part = branch::rows_of(n, branches, table.len());
                scope.spawn(move || branch::run(&txn, table, part, progress))
            })
            .collect();
        // The rival holds its rows until a branch really waits for one, so that every round has a wait.
        let mut stall = Stall::new();
        while !field.is_waited_for(&progress, &mut stall)
            && !threads.iter().all(|thread| thread.is_finished())
        {
            thread::yield_now();
        }
        let rival = rival.blocking().commit();
        while !threads.iter().all(|thread| thread.is_finished()) {
            show(&txn, bar, begun);
            thread::park_timeout(Duration::from_millis(20));
        }
        show(&txn, bar, begun);
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        progress.done.store(true, Ordering::SeqCst);
        (rival.map(|_| done), monitor.join())
    });
    let elapsed = begun.elapsed();
    let seen = seen.map_err(|_| "the monitor panicked")?;
    let mut branches_done = Vec::new();
    for branch in done? {
        branches_done.push(branch.map_err(|_| "a branch panicked")??);
    }
    summary.waits += field.waits().unwrap_or(0) - waits_before.unwrap_or(0);
    summary.lock_time += elapsed.as_secs_f64();
    check(field, &txn, &branches_done, seen, summary)
}

fn show(txn: &Transaction, bar: &ProgressBar, begun: Instant) {
    let stats = txn.stats();
    bar.set_position(stats.len as u64);
    let rate = stats.len as f64 / begun.elapsed().as_secs_f64();
    bar.set_message(format!("{} bytes, {rate:.0} rows/s", stats.size));
}

/// Counts everything again, from the table and from the lock table, then commits.
fn check(
    field: &Field<'_>,
    txn: &Transaction,
    branches: &[Done],
    seen: Seen,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let (db, table) = (&field.db, &field.table[..]);
    let covered: BTreeSet<usize> = (0..branches.len())
        .flat_map(|n| branch::rows_of(n, branches.len(), table.len()))
        .collect();
    let expected_len = covered.len();
    let expected_size = covered.iter().map(|&at| table[at].0.len()).sum::<usize>();
    let mut times_locked = vec![0_u32; table.len()];
    for at in branches.iter().flat_map(|branch| &branch.locked) {
        times_locked[*at] += 1;
    }
    let stats = txn.stats();
    let start_ts = txn.start_ts();
    let held = field.held_by(start_ts);
    summary.calls += branches.iter().map(|branch| branch.calls).sum::<u64>();
    summary.rows_locked += expected_len as u64;
    summary.found_locked += branches
        .iter()
        .map(|branch| branch.found_locked)
        .sum::<u64>();
    summary.final_len = stats.len;
    summary.final_size = stats.size;
    summary.expected_len = expected_len;
    summary.expected_size = expected_size;

    let refused = competitor::is_refused(db, &table[table.len() / 2])?;
    let info = txn.blocking().commit()?;
    let left = field.locked().unwrap_or(0);

    let round = summary.rounds;
    let mut must = |holds: bool, what: String| {
        if !holds {
            summary.failures.push(format!("round {round}: {what}"));
        }
    };
    must(
        expected_len == table.len(),
        format!("the branches cover {expected_len} of {} rows", table.len()),
    );
    must(
        (stats.len, stats.size) == (expected_len, expected_size),
        format!(
            "the buffer ends with {stats:?}, counted were {expected_len} keys of {expected_size} bytes"
        ),
    );
    must(
        (txn.len(), txn.size()) == (expected_len, expected_size),
        format!("len and size end with {} and {}", txn.len(), txn.size()),
    );
    must(
        times_locked.iter().all(|&times| times == 1),
        format!(
            "{} rows were not locked exactly once",
            times_locked.iter().filter(|&&times| times != 1).count()
        ),
    );
    if let Some(held) = held {
        must(
            (held.keys, held.once) == (expected_len, expected_len),
            format!(
                "the lock table has {} keys, {} held once by the union",
                held.keys, held.once
            ),
        );
    }
    must(
        branches.iter().all(|branch| branch.wrong_values == 0),
        "a locking read did not see the newest value".to_owned(),
    );
    must(
        branches.iter().all(|branch| branch.short_lengths == 0),
        "a branch read a length below the number of its own locks".to_owned(),
    );
    must(
        refused,
        "a row held by the union was given to another".to_owned(),
    );
    must(
        info.keys == expected_len && info.commit_ts > Some(start_ts),
        format!("the commit carried {info:?}"),
    );
    must(
        left == 0,
        format!("{left} keys are still locked after the commit"),
    );
    must(
        seen.torn == 0,
        format!(
            "{} torn readings; the first: {}",
            seen.torn,
            seen.first_torn.as_deref().unwrap_or_default()
        ),
    );
    summary.monitor.add(seen);
    Ok(())
}
