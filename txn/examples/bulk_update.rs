//! `UPDATE account SET balance = balance + 1` over a table, in one transaction that is larger than the memory it may take.
//!
//! Writers share one pipelined transaction and go through the rows, each through its part. What they write is flushed to the store
//! while they go on. An auditor adds the whole table up meanwhile, in snapshots: every sum must be that of before or that of
//! after the commit. In the end every row must have been raised once.
//!
//! ```text
//! cargo run --release --example bulk_update -- --rows 500000 --writers 4 --flush-keys 5000
//! ```
//!
//! Exit code 0: all of it holds. 1: not so, or a thread failed. 2: an option is wrong.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use untorn_txn::{BeginOptions, Db, PipelinedOptions, PipelinedTransaction};

/// One update of a whole table, flushed as it goes on.
#[derive(Debug, Parser)]
struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rows: u32,
    /// Threads that write.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    writers: u16,
    /// Keys of one flush.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    flush_keys: u32,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn row(number: u32) -> [u8; 11] {
    let mut key = *b"account0000";
    key[7..].copy_from_slice(&number.to_be_bytes());
    key
}

fn balance(value: &[u8]) -> Result<u64, Failure> {
    Ok(u64::from_be_bytes(value.try_into()?))
}

/// The sum over the table in one snapshot, and its rows.
fn sum(db: &Db) -> Result<(u64, usize), Failure> {
    let all = db.blocking().snapshot()?;
    let mut rows = all.blocking().range::<&[u8]>(..);
    rows.try_fold((0, 0), |(sum, rows), row| {
        Ok((sum + balance(&row?.1)?, rows + 1))
    })
}

/// Raises every `writers`th row, beginning with the `first`.
fn raise(
    txn: &PipelinedTransaction,
    first: u32,
    options: &Options,
    most: &AtomicU64,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    for number in (first..options.rows).step_by(options.writers.into()) {
        let key = row(number);
        let old = txn.blocking().get(key)?.ok_or("a row is missing")?;
        txn.blocking()
            .put(key, (balance(&old)? + 1).to_be_bytes())?;
        if number % 1_000 == 0 {
            most.fetch_max(txn.memory(), Ordering::Relaxed);
            bar.set_position(txn.len() as u64);
        }
    }
    Ok(())
}

fn run(options: &Options) -> Result<(), Failure> {
    let db = Db::in_memory();
    let pipelined = || PipelinedOptions {
        min_keys: options.flush_keys as usize,
        min_bytes: 1,
        ..PipelinedOptions::default()
    };
    let filling = db.blocking().begin_pipelined(pipelined())?;
    for number in 0..options.rows {
        filling.blocking().put(row(number), 100_u64.to_be_bytes())?;
    }
    filling.blocking().commit()?;
    let before = u64::from(options.rows) * 100;
    let after = before + u64::from(options.rows);

    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows")?;
    let bar = ProgressBar::new(options.rows.into()).with_style(style);
    let (most, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let txn = db.blocking().begin_pipelined(pipelined())?;
    let (info, audits) = std::thread::scope(|scope| {
        let auditor = scope.spawn(|| -> Result<u64, Failure> {
            let mut audits = 0;
            while !is_done.load(Ordering::Acquire) {
                let (sum, _) = sum(&db)?;
                if sum != before && sum != after {
                    return Err(format!("{sum} in a snapshot: neither {before} nor {after}").into());
                }
                audits += 1;
            }
            Ok(audits)
        });
        let writers: Vec<_> = (0..options.writers)
            .map(|first| {
                let (txn, most, bar) = (&txn, &most, &bar);
                scope.spawn(move || raise(txn, first.into(), options, most, bar))
            })
            .collect();
        let written = writers
            .into_iter()
            .map(|writer| writer.join().map_err(|_| "a writer panicked")?)
            .collect::<Result<Vec<()>, Failure>>();
        let info = written.and_then(|_| Ok(txn.blocking().commit()?));
        is_done.store(true, Ordering::Release);
        let audits = auditor.join().map_err(|_| "the auditor panicked")?;
        Ok::<_, Failure>((info?, audits?))
    })?;
    bar.finish_and_clear();
    println!(
        "{} rows in {:.2?}: {} generations, at most {} KiB of writes in memory, {audits} sums in between",
        info.keys,
        began.elapsed(),
        info.generations,
        most.into_inner() >> 10,
    );
    if sum(&db)? != (after, options.rows as usize) {
        return Err("not every row was raised once".into());
    }
    // And nothing is in the way of the next.
    let next = db.blocking().begin(BeginOptions::default())?;
    next.put(row(0), 0_u64.to_be_bytes())?;
    next.blocking().commit()?;
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
