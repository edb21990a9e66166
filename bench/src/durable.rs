//! Commits a second of a store that writes a log, over the number of threads that commit at once.
//!
//! Every thread puts one key of its own again and again, in a transaction each, and waits for its commit. How far the
//! figure rises with the threads is what group commit is worth: they share the syncs. Beside it stand the same store
//! without syncs, without a log, and the bare sync of a file that grows by as much.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use untorn_txn::store::mem::{LogOptions, OpenError, SyncMode};
use untorn_txn::{BeginOptions, Db, Error, MemStore};

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// A sync of the log.
    ForTheDisk,
    /// A write of the log.
    ForTheLog,
    /// Nothing: there is no log.
    ForNothing,
}

impl Waits {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ForTheDisk, Self::ForTheLog, Self::ForNothing];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForTheDisk => "log, synced",
            Self::ForTheLog => "log, not synced",
            Self::ForNothing => "memory",
        }
    }
}

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// What a commit waits for.
    pub waits: Waits,
    /// Threads that commit.
    pub threads: usize,
    /// Commits of all of them.
    pub per_second: f64,
}

/// A store could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It refused a commit.
    #[error(transparent)]
    Commit(#[from] Error),
    /// The bare file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Commits by so many threads for so long, in a store of its own under `directory`.
///
/// # Errors
///
/// [`Failure`].
pub fn commits(
    directory: &Path,
    waits: Waits,
    threads: usize,
    span: Duration,
) -> Result<Throughput, Failure> {
    let path = directory.join(format!("{waits:?}-{threads}"));
    let logged = |sync| MemStore::open(&path, LogOptions::default().sync(sync));
    let store = match waits {
        Waits::ForTheDisk => logged(SyncMode::Always)?,
        Waits::ForTheLog => logged(SyncMode::Never)?,
        Waits::ForNothing => MemStore::new(),
    };
    let db = Db::new(Arc::new(store));
    let began = Instant::now();
    let counts: Result<Vec<u64>, Error> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || commit_until(db, thread, began + span))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread only commits"))
            .collect()
    });
    Ok(Throughput {
        waits,
        threads,
        per_second: counts?.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64(),
    })
}

fn commit_until(db: &Db, thread: usize, end: Instant) -> Result<u64, Error> {
    let key = (thread as u64).to_be_bytes();
    let mut count = 0;
    loop {
        let txn = db.blocking().begin(BeginOptions::default())?;
        txn.put(key, [1; 64])?;
        txn.blocking().commit()?;
        count += 1;
        if Instant::now() >= end {
            return Ok(count);
        }
    }
}

/// What one sync of a file takes that has grown by a small commit: the median of `times`.
///
/// # Errors
///
/// Those of the file.
pub fn bare_sync(directory: &Path, times: usize) -> io::Result<Duration> {
    let mut file = File::create(directory.join("bare"))?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let start = Instant::now();
        file.write_all(&[1; 150])?;
        file.sync_data()?;
        taken.push(start.elapsed());
    }
    taken.sort_unstable();
    Ok(taken[taken.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_store_commits() {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        for waits in Waits::ALL {
            let figure = commits(directory.path(), waits, 2, Duration::from_millis(20));
            assert!(figure.expect("nothing fails").per_second > 0.0);
        }
    }
}
