//! One statement, one transaction, many workers: threads of rayon and tasks of tokio at the same time.
//!
//! `UPDATE account SET balance = balance + 1 WHERE region = r`, as an engine would run it in parallel: the rows of even
//! regions are split among rayon's threads, which call the blocking methods; those of odd regions among tokio's tasks,
//! which await the same methods without the prefix. All of them lock, read and write through one [`Transaction`], within
//! one stage. A statement that fails halfway (a row that may not be touched) is rolled back with its stage, and its locks
//! stay. A bystander reads length and size all the while.
//!
//! ```text
//! cargo run --release --example parallel_statement -- --rows 20000 --statements 20
//! ```
//!
//! Exit code 0: every row bears exactly the statements that succeeded. 1: not so. 2: an option is wrong.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use untorn_txn::{BeginOptions, Db, Error, Transaction};

/// Statements whose rows are locked and written by rayon's threads and tokio's tasks in one transaction.
#[derive(Debug, Parser)]
struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(4..=10_000_000))]
    rows: u32,
    /// Statements, one after another, each over all rows. Every third fails halfway.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    statements: u32,
    /// Tasks among which tokio's part of a statement is split.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks: u32,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn row(number: u32) -> String {
    format!("row/{number:08}")
}

fn count(value: Option<&[u8]>) -> Result<u64, Failure> {
    let value = value.ok_or("a row is gone")?;
    Ok(u64::from_be_bytes(value.try_into()?))
}

/// The row at which a statement that is to fail does.
fn is_refused(number: u32, rows: u32, fails: bool) -> bool {
    fails && number == rows / 2
}

/// One row, on a thread that may block.
fn touch_blocking(txn: &Transaction, number: u32) -> Result<(), Failure> {
    let value = txn.blocking().get_for_update(row(number))?;
    txn.put(row(number), (count(value.as_deref())? + 1).to_be_bytes())?;
    Ok(())
}

/// The same in a task.
async fn touch(txn: &Transaction, number: u32) -> Result<(), Failure> {
    let value = txn.get_for_update(row(number)).await?;
    txn.put(row(number), (count(value.as_deref())? + 1).to_be_bytes())?;
    Ok(())
}

/// Even rows on rayon's threads.
fn even_rows(txn: &Transaction, rows: u32, fails: bool) -> Result<(), Failure> {
    (0..rows.div_ceil(2)).into_par_iter().try_for_each(|half| {
        let number = 2 * half;
        if is_refused(number, rows, fails) {
            return Err("a row must not be touched".into());
        }
        touch_blocking(txn, number)
    })
}

/// Odd rows in tokio's tasks.
async fn odd_rows(txn: &Transaction, options: &Options, fails: bool) -> Result<(), Failure> {
    let (rows, tasks) = (options.rows, options.tasks);
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let txn = txn.clone();
        running.spawn(async move {
            for half in (task..rows / 2).step_by(tasks as usize) {
                let number = 2 * half + 1;
                if is_refused(number, rows, fails) {
                    return Err("a row must not be touched".into());
                }
                touch(&txn, number).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    let mut result = Ok(());
    while let Some(task) = running.join_next().await {
        // All of them end before the stage does, also after a failure.
        result = result.and(task?);
    }
    result
}

/// Runs one statement within a stage. Says whether it succeeded.
fn statement(
    txn: &Transaction,
    runtime: &tokio::runtime::Runtime,
    options: &Options,
    fails: bool,
) -> Result<bool, Failure> {
    let stage = txn.stage()?;
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| runtime.block_on(odd_rows(txn, options, fails)));
        let even = even_rows(txn, options.rows, fails);
        (even, odd.join())
    });
    let odd = odd.map_err(|_| "a task panicked")?;
    match even.and(odd) {
        Ok(()) => {
            stage.release().map_err(Error::from)?;
            Ok(true)
        }
        Err(_) if fails => {
            stage.cleanup().map_err(Error::from)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Reads length and size while the statements run: never above what the table has, the size always the rows'.
fn watch(
    txn: &Transaction,
    rows: u32,
    done: &AtomicBool,
    readings: &AtomicU64,
) -> Result<(), Failure> {
    let (key, value) = (row(0).len(), size_of::<u64>());
    while !done.load(Relaxed) {
        let stats = txn.stats();
        let is_possible = stats.len <= rows as usize
            && stats.size >= stats.len * key
            && stats.size <= stats.len * (key + value);
        if !is_possible {
            return Err(format!("torn: {stats:?}").into());
        }
        readings.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// Ends the watch, also when a statement fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let db = Db::in_memory();
    let filling = db.blocking().begin(BeginOptions::default())?;
    for number in 0..options.rows {
        filling.put(row(number), 0_u64.to_be_bytes())?;
    }
    filling.blocking().commit()?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} statements")?;
    let bar = ProgressBar::new(options.statements.into()).with_style(style);
    let txn = db.blocking().begin(BeginOptions::default())?;
    let (done, readings) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let succeeded = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&txn, options.rows, &done, &readings));
        let succeeded = {
            let _done = Done(&done);
            (0..options.statements).try_fold(0_u64, |succeeded, number| {
                let is_done = statement(&txn, &runtime, options, number % 3 == 2)?;
                bar.inc(1);
                Ok::<_, Failure>(succeeded + u64::from(is_done))
            })
        };
        watch.join().map_err(|_| "the watch panicked")??;
        succeeded
    })?;
    let info = txn.blocking().commit()?;
    bar.finish_and_clear();

    let touched = u64::from(options.statements) * u64::from(options.rows);
    println!(
        "{succeeded} of {} statements, {:.0} rows a second, {} readings, {} keys committed",
        options.statements,
        touched as f64 / began.elapsed().as_secs_f64(),
        readings.load(Relaxed),
        info.keys,
    );
    let rows = options.rows as usize;
    let all = db.blocking().snapshot()?;
    let all = all.blocking().range::<&[u8]>(..);
    let all = all.collect::<Result<Vec<_>, _>>()?;
    if all.len() != rows {
        return Err(format!("{} rows of {rows}", all.len()).into());
    }
    for (key, value) in &all {
        let seen = count(Some(value))?;
        if seen != succeeded {
            return Err(format!("{key:?} bears {seen} statements, {succeeded} succeeded").into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
