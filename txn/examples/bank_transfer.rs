//! Transfers between accounts by many threads, tried again by the retry helper, while an auditor adds everything up.
//!
//! Every transfer locks two accounts in the order in which they come, so deadlocks happen and are found; the retry
//! helper ([`Db::run`]) begins again. The auditor sums all accounts in snapshots as fast as it can: money that is under
//! way between two accounts would be missing there. In the end no account may be overdrawn, and the number of
//! transfers that the accounts bear must be the number of commits.
//!
//! ```text
//! cargo run --release --example bank_transfer -- --threads 8 --seconds 20
//! cargo run --release --example bank_transfer -- --threads 64 --seconds 20 --data /tmp/bank
//! ```
//!
//! With `--data` the accounts are in a directory and every commit is on the disk before it is answered. However the
//! program is killed: the next run on the directory finds the total and goes on from there.
//!
//! Exit code 0: the total never changed. 1: it did, or a transfer failed for good. 2: an option is wrong.

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use untorn_txn::store::mem::LogOptions;
use untorn_txn::{BeginOptions, Cause, Db, Error, Transaction};

/// Moves money between accounts and checks that none appears or gets lost.
#[derive(Debug, Parser)]
struct Options {
    /// Threads that transfer.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// How long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Accounts; the fewer, the more conflicts.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    accounts: u32,
    /// When conflicts are found.
    #[arg(long, value_enum, default_value_t = Mode::Pessimistic)]
    mode: Mode,
    /// The directory of a log; accounts that are there are used again.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    /// Accounts are locked when they are read.
    Pessimistic,
    /// They are checked at commit.
    Optimistic,
}

const INITIAL: u64 = 1_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An account: what is on it, and how many transfers it was the source of.
#[derive(Debug, Clone, Copy)]
struct Account {
    balance: u64,
    sent: u64,
}

impl Account {
    fn key(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.balance.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sent.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        let (balance, sent) = bytes
            .split_first_chunk()
            .ok_or("an account without balance")?;
        Ok(Self {
            balance: u64::from_be_bytes(*balance),
            sent: u64::from_be_bytes(sent.try_into()?),
        })
    }
}

/// What came of a transfer that was committed.
enum Transfer {
    Moved,
    /// There was not enough on the account.
    Refused,
}

fn transfer(
    txn: &Transaction,
    mode: Mode,
    from: u32,
    to: u32,
    sum: u64,
) -> Result<Transfer, Failure> {
    let read = |number| -> Result<Account, Failure> {
        let key = Account::key(number);
        let value = match mode {
            Mode::Pessimistic => txn.blocking().get_for_update(key)?,
            Mode::Optimistic => txn.blocking().get(key)?,
        };
        Account::decode(&value.ok_or("an account is gone")?)
    };
    let (mut source, mut target) = (read(from)?, read(to)?);
    if source.balance < sum {
        return Ok(Transfer::Refused);
    }
    source.balance -= sum;
    source.sent += 1;
    target.balance += sum;
    txn.put(Account::key(from), source.encode())?;
    txn.put(Account::key(to), target.encode())?;
    Ok(Transfer::Moved)
}

/// Balance and transfers of all accounts, as of one instant.
fn audit(db: &Db, accounts: u32) -> Result<(u64, u64), Failure> {
    let snapshot = db.blocking().snapshot()?;
    let all = snapshot.blocking().range::<&[u8]>(..);
    let all = all.collect::<Result<Vec<_>, _>>()?;
    if all.len() != accounts as usize {
        return Err(format!("{} accounts of {accounts}", all.len()).into());
    }
    all.iter().try_fold((0, 0), |(total, sent), (_, value)| {
        let account = Account::decode(value)?;
        Ok((total + account.balance, sent + account.sent))
    })
}

#[derive(Debug, Default)]
struct Tally {
    moved: AtomicU64,
    refused: AtomicU64,
    attempts: AtomicU64,
    given_up: AtomicU64,
    audits: AtomicU64,
    stop: AtomicBool,
}

/// Transfers until it is told to stop.
fn teller(db: &Db, options: &Options, tally: &Tally) -> Result<(), Failure> {
    let begin = match options.mode {
        Mode::Pessimistic => BeginOptions::pessimistic(),
        Mode::Optimistic => BeginOptions::optimistic(),
    };
    let mut rng = rand::rng();
    while !tally.stop.load(Relaxed) {
        let from = rng.random_range(0..options.accounts);
        let to = (from + rng.random_range(1..options.accounts)) % options.accounts;
        let sum = rng.random_range(1..=100);
        let moved = db.blocking().run(begin.clone(), |txn| {
            tally.attempts.fetch_add(1, Relaxed);
            transfer(txn, options.mode, from, to, sum)
        });
        match moved {
            Ok(Transfer::Moved) => tally.moved.fetch_add(1, Relaxed),
            Ok(Transfer::Refused) => tally.refused.fetch_add(1, Relaxed),
            // Ten attempts were not enough; it was rolled back.
            Err(error) if error.cause().is_some_and(Error::is_retryable) => {
                tally.given_up.fetch_add(1, Relaxed)
            }
            Err(error) => {
                tally.stop.store(true, Relaxed);
                return Err(error);
            }
        };
    }
    Ok(())
}

fn auditor(db: &Db, accounts: u32, tally: &Tally) -> Result<(), Failure> {
    let expected = u64::from(accounts) * INITIAL;
    while !tally.stop.load(Relaxed) {
        let (total, _) = audit(db, accounts)?;
        tally.audits.fetch_add(1, Relaxed);
        if total != expected {
            tally.stop.store(true, Relaxed);
            return Err(format!("the total was {total} for a moment, not {expected}").into());
        }
    }
    Ok(())
}

fn open(options: &Options) -> Result<Db, Failure> {
    let db = match &options.data {
        Some(path) => Db::open(path, LogOptions::default())?,
        None => Db::in_memory(),
    };
    let opening = db.blocking().begin(BeginOptions::default())?;
    if opening.blocking().get(Account::key(0))?.is_none() {
        for number in 0..options.accounts {
            let account = Account {
                balance: INITIAL,
                sent: 0,
            };
            opening.put(Account::key(number), account.encode())?;
        }
    }
    opening.blocking().commit()?;
    Ok(db)
}

fn run(options: &Options) -> Result<(), Failure> {
    let db = open(options)?;
    let expected = u64::from(options.accounts) * INITIAL;
    let (total, sent_before) = audit(&db, options.accounts)?;
    if total != expected {
        return Err(format!("the total was {total} at the start, not {expected}").into());
    }
    if sent_before > 0 {
        println!("{sent_before} transfers found, total {total}");
    }

    let tally = Tally::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let tellers: Vec<_> = (0..options.threads)
            .map(|_| scope.spawn(|| teller(&db, options, &tally)))
            .collect();
        let auditor = scope.spawn(|| auditor(&db, options.accounts, &tally));
        show_progress(options.seconds, &tally);
        tally.stop.store(true, Relaxed);
        tellers
            .into_iter()
            .chain([auditor])
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let elapsed = began.elapsed().as_secs_f64();

    let moved = tally.moved.load(Relaxed);
    let (total, sent) = audit(&db, options.accounts)?;
    println!(
        "{moved} transfers in {elapsed:.1} s: {:.0} a second, {:.2} attempts each, {} refused, {} given up",
        moved as f64 / elapsed,
        tally.attempts.load(Relaxed) as f64 / (moved + tally.refused.load(Relaxed)).max(1) as f64,
        tally.refused.load(Relaxed),
        tally.given_up.load(Relaxed),
    );
    println!("{} audits, total {total}", tally.audits.load(Relaxed));
    if total != expected {
        return Err(format!("the total is {total}, not {expected}").into());
    }
    let sent = sent - sent_before;
    if sent != moved {
        return Err(format!("the accounts bear {sent} transfers, {moved} were committed").into());
    }
    Ok(())
}

fn show_progress(seconds: u64, tally: &Tally) {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s, {msg} transfers")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(seconds).with_style(style);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until && !tally.stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        bar.set_position(bar.elapsed().as_secs());
        bar.set_message(tally.moved.load(Relaxed).to_string());
    }
    bar.finish_and_clear();
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
