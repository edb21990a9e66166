//! A process that transfers money and acknowledges each commit over a pipe is killed again and again: no acknowledged
//! commit is lost, and none is there by half.
#![allow(clippy::unwrap_used)]

mod scenario;

use rand::RngExt;
use scenario::{rng, seed};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use untorn_txn::store::mem::{LogOptions, OpenError};
use untorn_txn::{BeginOptions, Db, DbSnapshot, MemStore};

const KILLS: usize = 100;
const THREADS: usize = 4;
const ACCOUNTS: u32 = 20;
const INITIAL: i64 = 1_000;
/// Names the directory to the process that is to be killed.
const DATA: &str = "UNTORN_KILL_DATA";

/// So little log that checkpoints are killed too.
fn open(path: &Path) -> Result<Db, OpenError> {
    let options = LogOptions::default().checkpoint_after(32 << 10);
    Ok(Db::new(Arc::new(MemStore::open(path, options)?)))
}

fn number<T: std::str::FromStr>(view: &DbSnapshot, key: &str) -> Option<T> {
    let value = view.blocking().get(key).unwrap()?;
    std::str::from_utf8(&value).unwrap().parse().ok()
}

/// One transfer: both accounts, the count of the thread, and a note of what was moved.
fn transfer(db: &Db, thread: usize, count: u64, (from, to): (u32, u32)) {
    let moved = db.blocking().run(BeginOptions::pessimistic(), |txn| {
        let change = |account: u32, by: i64| -> Result<(), untorn_txn::Error> {
            let key = format!("account/{account}");
            let balance = txn.blocking().get_for_update(&key)?;
            let balance = balance.map_or(INITIAL, |balance| {
                std::str::from_utf8(&balance).unwrap().parse().unwrap()
            });
            txn.put(key, (balance + by).to_string())
        };
        change(from, -1)?;
        change(to, 1)?;
        txn.put(format!("count/{thread}"), count.to_string())?;
        txn.put(format!("moved/{thread}/{count:08}"), format!("{from} {to}"))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    });
    // Ten attempts may not be enough; then this one is tried again by the caller.
    if moved.is_ok() {
        let line = format!("\nacknowledged {thread} {count}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "transfers until it is killed"]
fn transfer_until_killed() {
    let Some(data) = std::env::var_os(DATA) else {
        return;
    };
    let db = open(Path::new(&data)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let db = &db;
            scope.spawn(move || {
                let mut rng = rng(rand::random(), thread);
                loop {
                    let view = db.blocking().snapshot().unwrap();
                    let done: Option<u64> = number(&view, &format!("count/{thread}"));
                    let from = rng.random_range(0..ACCOUNTS);
                    let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
                    transfer(db, thread, done.unwrap_or(0) + 1, (from, to));
                }
            });
        }
    });
}

fn start(data: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transfer_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DATA, data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills it a moment after so many acknowledgements. Raises `acknowledged` by all that came.
fn run_and_kill(
    data: &Path,
    (enough, moment): (usize, Duration),
    acknowledged: &mut [u64; THREADS],
) -> usize {
    let mut child = start(data);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix("acknowledged ")?.to_owned()));
    let mut all: Vec<String> = lines.by_ref().take(enough).collect();
    assert_eq!(all.len(), enough, "it ended by itself");
    // Not a wait for anything: the moment of the kill is what is random.
    std::thread::sleep(moment);
    child.kill().unwrap();
    all.extend(lines);
    child.wait().unwrap();
    for line in &all {
        let (thread, count) = line.split_once(' ').unwrap();
        let (thread, count): (usize, u64) = (thread.parse().unwrap(), count.parse().unwrap());
        assert_eq!(count, acknowledged[thread] + 1, "thread {thread}");
        acknowledged[thread] = count;
    }
    all.len()
}

/// What is there is a number of whole transfers of each thread, the acknowledged ones among them.
fn check(db: &Db, acknowledged: &mut [u64; THREADS]) {
    let view = db.blocking().snapshot().unwrap();
    let mut balances = [INITIAL; ACCOUNTS as usize];
    for (thread, acknowledged) in acknowledged.iter_mut().enumerate() {
        let count: u64 = number(&view, &format!("count/{thread}")).unwrap_or(0);
        assert!(
            count >= *acknowledged,
            "{acknowledged} were acknowledged, {count} are there"
        );
        // One at a time: only the last one may have been under way.
        assert!(
            count <= *acknowledged + 1,
            "{acknowledged} were acknowledged, {count} are there"
        );
        *acknowledged = count;
        let prefix = format!("moved/{thread}/");
        let range = prefix.clone()..format!("moved/{thread}0");
        let moved = view.blocking().range(range);
        let moved = moved.collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(moved.len() as u64, count, "thread {thread}");
        for (place, (key, value)) in moved.iter().enumerate() {
            assert_eq!(**key, *format!("{prefix}{:08}", place + 1).as_bytes());
            let value = std::str::from_utf8(value).unwrap();
            let (from, to) = value.split_once(' ').unwrap();
            balances[from.parse::<usize>().unwrap()] -= 1;
            balances[to.parse::<usize>().unwrap()] += 1;
        }
    }
    for (account, expected) in balances.into_iter().enumerate() {
        let balance = number(&view, &format!("account/{account}")).unwrap_or(INITIAL);
        assert_eq!(balance, expected, "account {account}");
    }
}

#[test]
fn a_hundred_kills_lose_no_acknowledged_commit_and_leave_none_by_half() {
    let mut rng = rng(seed("a hundred kills"), 0);
    let data = tempfile::tempdir().unwrap();
    let mut acknowledged = [0; THREADS];
    let mut lines = 0;
    for _ in 0..KILLS {
        // Some before the store is open or while it is, most in the midst of commits.
        let enough = rng.random_range(0..60_usize).saturating_sub(10);
        let moment = Duration::from_micros(rng.random_range(0..20_000));
        lines += run_and_kill(data.path(), (enough, moment), &mut acknowledged);
        check(&open(data.path()).unwrap(), &mut acknowledged);
    }
    let total: u64 = acknowledged.iter().sum();
    println!("{lines} acknowledged, {total} there");
    assert!(lines > KILLS, "only {lines} commits were acknowledged");
    let mut names = std::fs::read_dir(data.path()).unwrap();
    let is_checkpoint = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().path().extension() == Some("checkpoint".as_ref())
    };
    assert!(names.any(is_checkpoint), "no checkpoint");
}

#[test]
fn a_directory_belongs_to_one_store() {
    let data = tempfile::tempdir().unwrap();
    let first = open(data.path()).unwrap();
    for _ in 0..2 {
        let Err(OpenError::InUse { path }) = open(data.path()) else {
            panic!("it is open");
        };
        assert_eq!(path, data.path());
    }
    drop(first);
    open(data.path()).unwrap();
}
