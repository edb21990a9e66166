//! How an LSM engine uses a set of tables: writers fill it, full tables are flushed to sorted files while all is read, and
//! the memory stays bounded.
//!
//! `cargo run --release -p untorn-memtable --example lsm_flush -- --rows 2000000`

mod check;
mod rows;
mod sorted_file;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rows::Row;
use sorted_file::SortedFile;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use untorn_memtable::{Kind, Limits, MemtableSet};

#[derive(Parser)]
#[command(
    about = "Fills a set of memtables, flushes full ones to sorted files, and checks the merged files against the input"
)]
struct Options {
    /// Rows to write. Each tenth is overwritten later, each sixteenth deleted.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Threads that write.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    writers: u64,
    /// Files that are written at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    flushers: u64,
    /// A table is flushed when it has taken so many MiB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    table_mib: u64,
    /// Writers wait when all tables together have taken so many MiB.
    #[arg(long, default_value_t = 128)]
    limit_mib: u64,
    /// Where the files go; a temporary folder, if it is not given.
    #[arg(long)]
    folder: Option<PathBuf>,
}

type Failure = Box<dyn Error + Send + Sync>;

/// How long a thread waits before it looks whether the others are done.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long a writer waits for room before it gives up.
const LONGEST_STALL: Duration = Duration::from_secs(60);

struct Job {
    set: MemtableSet,
    rows: u64,
    value: usize,
    written: AtomicU64,
    /// Writers wait for room this often.
    stalls: AtomicU64,
    most_reserved: AtomicU64,
    writing: AtomicBool,
    files: Mutex<Vec<SortedFile>>,
    progress: ProgressBar,
}

impl Job {
    /// Writes every row whose number is `first` modulo `step`, and the changes that come later.
    fn write(&self, first: u64, step: u64) -> Result<(), Failure> {
        for change in rows::changes(self.rows, first, step) {
            let row = Row::new(change.number);
            loop {
                let written = match change.version {
                    Some(version) => self.set.insert(row.key(), row.value(version, self.value)),
                    None => self.set.delete(row.key()),
                };
                match written {
                    Ok(_) => break,
                    Err(untorn_memtable::Error::MemoryLimit { .. }) => {
                        self.stalls.fetch_add(1, Ordering::Relaxed);
                        let need = row.key().len() + self.value;
                        self.set
                            .wait_for_room(need, Instant::now() + LONGEST_STALL)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.most_reserved
                .fetch_max(self.set.reserved_bytes(), Ordering::Relaxed);
            let written = self.written.fetch_add(1, Ordering::Relaxed);
            if written.is_multiple_of(4096) {
                self.show_progress(written);
            }
        }
        Ok(())
    }

    fn show_progress(&self, written: u64) {
        self.progress.set_position(written);
        self.progress.set_message(format!(
            "{} MiB reserved, {} tables to flush",
            self.set.reserved_bytes() >> 20,
            self.set.frozen_tables()
        ));
    }

    /// Writes frozen tables to files until the writers are done and none is left.
    fn flush(&self, folder: &Path) -> Result<(), Failure> {
        loop {
            // Asked first: what was frozen before the writers were done is found below.
            let writing = self.writing.load(Ordering::Acquire);
            let Some(flush) = self.set.wait_flush(Instant::now() + PATIENCE) else {
                match writing {
                    true => continue,
                    false => return Ok(()),
                }
            };
            let name = format!("{:06}.rows", flush.number());
            let file = SortedFile::write(&folder.join(name), &flush)?;
            let mut files = self.files.lock().map_err(|_| "a flusher panicked")?;
            files.push(file);
            drop(files);
            flush.complete();
        }
    }

    /// Reads single rows and short ranges while all of that goes on. Answers how many were still in memory.
    fn read(&self) -> Result<u64, Failure> {
        let mut found = 0;
        for number in (0..self.rows).cycle() {
            if !self.writing.load(Ordering::Acquire) {
                break;
            }
            let row = Row::new(number);
            if let Some(entry) = self.set.entry(row.key()) {
                let valid = entry.kind == Kind::Tombstone || row.version_of(&entry.value).is_some();
                if !valid {
                    return Err(format!("row {number} holds what nobody wrote").into());
                }
                found += 1;
            }
            if number % 1024 == 0 {
                let ahead = self.set.snapshot();
                let keys = ahead.range(row.key()..).take(100).map(|entry| entry.key);
                if !keys.collect::<Vec<_>>().is_sorted_by(|a, b| a < b) {
                    return Err("a range is out of order".into());
                }
            }
        }
        Ok(found)
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let temporary = tempfile::tempdir()?;
    let folder = match &options.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.as_path()
        }
        None => temporary.path(),
    };
    let limits = Limits {
        table: options.table_mib << 20,
        soft: (options.limit_mib << 20) / 4 * 3,
        hard: options.limit_mib << 20,
    };
    let job = Job {
        set: MemtableSet::new(limits),
        rows: options.rows,
        value: options.value,
        written: AtomicU64::new(0),
        stalls: AtomicU64::new(0),
        most_reserved: AtomicU64::new(0),
        writing: AtomicBool::new(true),
        files: Mutex::new(Vec::new()),
        progress: progress_bar(rows::count(options.rows)),
    };
    let started = Instant::now();
    let writers = options.writers;
    let found = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..writers)
            .map(|writer| {
                scope.spawn({
                    let job = &job;
                    move || job.write(writer, writers)
                })
            })
            .collect();
        let flushers: Vec<_> = (0..options.flushers)
            .map(|_| scope.spawn(|| job.flush(folder)))
            .collect();
        let reader = scope.spawn(|| job.read());
        let join = |result: std::thread::Result<Result<(), Failure>>| {
            result.map_err(|_| "a thread panicked")?
        };
        let written: Result<(), Failure> = writers
            .into_iter()
            .try_for_each(|writer| join(writer.join()));
        job.set.rotate();
        job.writing.store(false, Ordering::Release);
        flushers
            .into_iter()
            .try_for_each(|flusher| join(flusher.join()))?;
        written?;
        reader.join().map_err(|_| "the reader panicked")?
    })?;
    let took = started.elapsed();
    job.progress.finish_and_clear();

    let written = job.written.into_inner();
    let most = job.most_reserved.into_inner();
    let files = job.files.into_inner().map_err(|_| "a flusher panicked")?;
    println!(
        "{written} writes of {} rows in {took:.1?}, {} files",
        options.rows,
        files.len()
    );
    println!(
        "{found} rows read from memory meanwhile; writers waited for room {} times",
        job.stalls.into_inner()
    );
    println!("most bytes reserved: {most} of {} allowed", limits.hard);
    if most > limits.hard {
        return Err("the hard limit was passed".into());
    }
    let rows = check::merged_equals_input(&files, options.rows, options.value)?;
    println!("the merged files hold the {rows} rows that are left, and nothing else");
    Ok(())
}

fn progress_bar(writes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} writes, {per_sec}, {msg}");
    ProgressBar::new(writes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
