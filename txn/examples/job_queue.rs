//! A queue of jobs in a table, and workers that take one each: `SELECT ... FOR UPDATE SKIP LOCKED`.
//!
//! A worker reads the jobs of its snapshot from the front and locks the first that is free, without waiting: a job that
//! another worker has locked is passed over, and so is one that was done since the snapshot (the lock is asked for as of
//! the start timestamp, so that is a conflict). It deletes the job, writes a receipt, and commits. Some workers change
//! their mind now and then and roll back: the job goes to another one. In the end every job must have exactly one receipt.
//!
//! ```text
//! cargo run --release --example job_queue -- --jobs 20000 --workers 8
//! ```
//!
//! Exit code 0: each job was done exactly once. 1: not so, or a worker failed. 2: an option is wrong.

use bytes::Bytes;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use untorn_txn::lock::Wait;
use untorn_txn::{BeginOptions, Db, Error, ForUpdate, LockOptions, Transaction};

/// Workers that take jobs from one table, each job exactly once.
#[derive(Debug, Parser)]
struct Options {
    /// Jobs in the queue.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    jobs: u32,
    /// Threads that work.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// One in so many jobs is laid back instead of done.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    lay_back_one_in: u32,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Default)]
struct Tally {
    passed_over: AtomicU64,
    laid_back: AtomicU64,
}

/// What a worker found in its snapshot.
enum Found {
    /// A job, which is now locked.
    Job(Bytes),
    /// All jobs are others'.
    NoneFree,
    /// There are no jobs left.
    Empty,
}

/// `SELECT * FROM job ORDER BY key LIMIT 1 FOR UPDATE SKIP LOCKED`.
fn take(txn: &Transaction, tally: &Tally) -> Result<Found, Error> {
    let skip_locked = || LockOptions {
        wait: Some(Wait::NoWait),
        for_update_ts: ForUpdate::At(txn.start_ts()),
        ..LockOptions::default()
    };
    let mut found = Found::Empty;
    for entry in txn.blocking().range("job/".."job0") {
        let (job, _) = entry?;
        match txn.blocking().lock_keys([&job], skip_locked()) {
            Ok(_) => return Ok(Found::Job(job)),
            Err(Error::LockNotAvailable { .. } | Error::WriteConflict { .. }) => {
                tally.passed_over.fetch_add(1, Relaxed);
                found = Found::NoneFree;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Works until there are no jobs left. Gives the number of jobs that it did.
fn worker(
    number: u16,
    db: &Db,
    options: &Options,
    tally: &Tally,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let mut rng = rand::rng();
    let mut done = 0;
    loop {
        let txn = db.blocking().begin(BeginOptions::default())?;
        let job = match take(&txn, tally)? {
            Found::Job(job) => job,
            Found::NoneFree => {
                txn.blocking().rollback()?;
                std::thread::yield_now();
                continue;
            }
            Found::Empty => {
                txn.blocking().rollback()?;
                return Ok(done);
            }
        };
        if rng.random_ratio(1, options.lay_back_one_in) {
            txn.blocking().rollback()?;
            tally.laid_back.fetch_add(1, Relaxed);
            continue;
        }
        txn.delete(&job)?;
        // Fails if there is one: no job is done twice.
        txn.insert([b"receipt/", &job[..]].concat(), number.to_be_bytes())?;
        txn.blocking().commit()?;
        done += 1;
        bar.inc(1);
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let db = Db::in_memory();
    let filling = db.blocking().begin(BeginOptions::default())?;
    for number in 0..options.jobs {
        filling.put(format!("job/{number:08}"), "to be done")?;
    }
    filling.blocking().commit()?;

    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs")?;
    let bar = ProgressBar::new(options.jobs.into()).with_style(style);
    let tally = Tally::default();
    let began = Instant::now();
    let done: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.workers)
            .map(|number| {
                let (db, tally, bar) = (&db, &tally, &bar);
                scope.spawn(move || worker(number, db, options, tally, bar))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a worker panicked")?)
            .collect::<Result<_, Failure>>()
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    bar.finish_and_clear();

    println!(
        "{} jobs in {elapsed:.1} s: {:.0} a second; {} passed over, {} laid back",
        options.jobs,
        f64::from(options.jobs) / elapsed,
        tally.passed_over.load(Relaxed),
        tally.laid_back.load(Relaxed),
    );
    println!("done by each worker: {done:?}");
    check(&db, options.jobs, &done)
}

/// One receipt for each job, no job left, and as many receipts of each worker as it says it has done.
fn check(db: &Db, jobs: u32, done: &[u64]) -> Result<(), Failure> {
    let all = db.blocking().snapshot()?;
    let all = all.blocking().range::<&[u8]>(..);
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let mut receipts: HashMap<usize, u64> = HashMap::new();
    for (at, (key, value)) in all.iter().enumerate() {
        let expected = format!("receipt/job/{at:08}");
        if *key != expected.as_bytes() {
            return Err(format!("{expected} is not there").into());
        }
        let worker = u16::from_be_bytes(value[..].try_into()?);
        *receipts.entry(worker.into()).or_default() += 1;
    }
    if all.len() != jobs as usize {
        return Err(format!("{} receipts for {jobs} jobs", all.len()).into());
    }
    for (worker, done) in done.iter().enumerate() {
        let receipts = receipts.get(&worker).copied().unwrap_or(0);
        if receipts != *done {
            return Err(
                format!("worker {worker} did {done} jobs and has {receipts} receipts").into(),
            );
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
