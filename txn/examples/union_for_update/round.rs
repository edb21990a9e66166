//! The rounds: load the table, run the union, count again.

use super::branch::{self, Done};
use super::monitor::{self, Seen, Sizes};
use super::options::Options;
use super::report::Summary;
use super::table::Row;
use super::{Failure, competitor};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use untorn_txn::{BeginOptions, Db, MemStore, Transaction};

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
pub fn run_all(options: &Options, table: &[Row], out: &mut dyn Write) -> Result<Summary, Failure> {
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
    let sizes = Sizes::of(table);
    let mut summary = Summary::new(table.len(), branches);
    let end = options
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let bar = ProgressBar::new(table.len() as u64).with_style(ProgressStyle::with_template(
        "{prefix} [{bar:40}] {pos}/{len} rows locked, {msg}",
    )?);
    loop {
        one(branches, table, &sizes, &bar, &mut summary)?;
        if summary.failures.len() > 20 || end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    bar.finish_and_clear();
    summary.rows_per_second = summary.rows_locked as f64 / summary.lock_time.max(f64::MIN_POSITIVE);
    Ok(summary)
}

fn load(db: &Db, table: &[Row]) -> Result<(), Failure> {
    for rows in table.chunks(1_000) {
        let txn = db.blocking().begin(BeginOptions::default())?;
        for (key, value) in rows {
            txn.insert(key, value)?;
        }
        txn.blocking().commit()?;
    }
    Ok(())
}

/// One round, on a store of its own.
fn one(
    branches: usize,
    table: &[Row],
    sizes: &Sizes,
    bar: &ProgressBar,
    summary: &mut Summary,
) -> Result<(), Failure> {
    summary.rounds += 1;
    bar.set_prefix(format!("round {}", summary.rounds));
    let store = Arc::new(MemStore::new());
    let db = Db::new(Arc::clone(&store) as _);
    load(&db, table)?;

    let progress = Progress {
        mark: format!("round {}", summary.rounds),
        held: competitor::rows_of(table.len()).collect(),
        ..Progress::default()
    };
    let rival = competitor::begin(&db, table, &progress.mark)?;
    let txn = db.blocking().begin(BeginOptions {
        label: Some("union".to_owned()),
        ..BeginOptions::default()
    })?;
    let waits_before = store.locks().stats().waits;
    let begun = Instant::now();
    let (done, seen) = thread::scope(|scope| {
        let monitor = scope.spawn(|| monitor::run(&txn, table.len(), sizes, &progress));
        let threads: Vec<_> = (0..branches)
            .map(|n| {
                let (txn, progress) = (txn.clone(), &progress);
                let part = branch::rows_of(n, branches, table.len());
                scope.spawn(move || branch::run(&txn, table, part, progress))
            })
            .collect();
        // The rival holds its rows until a branch really waits for one, so that every round has a wait.
        while store.locks().waiting().is_empty()
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
    summary.waits += store.locks().stats().waits - waits_before;
    summary.lock_time += elapsed.as_secs_f64();
    check(&db, &store, &txn, table, &branches_done, seen, summary)
}

fn show(txn: &Transaction, bar: &ProgressBar, begun: Instant) {
    let stats = txn.stats();
    bar.set_position(stats.len as u64);
    let rate = stats.len as f64 / begun.elapsed().as_secs_f64();
    bar.set_message(format!("{} bytes, {rate:.0} rows/s", stats.size));
}

/// Counts everything again, from the table and from the lock table, then commits.
fn check(
    db: &Db,
    store: &MemStore,
    txn: &Transaction,
    table: &[Row],
    branches: &[Done],
    seen: Seen,
    summary: &mut Summary,
) -> Result<(), Failure> {
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
    let held = store.locks().held();
    let held_once = held
        .iter()
        .filter(|lock| {
            lock.holders.len() == 1
                && lock.holders[0].owner == start_ts
                && lock.holders[0].attempts.len() == 1
        })
        .count();
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
    let left = store.locks().len();

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
    must(
        held.len() == expected_len && held_once == expected_len,
        format!(
            "the lock table has {} keys, {held_once} held once by the union",
            held.len()
        ),
    );
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
