//! Backups of a table while it is written: each is the table at one instant, though writing it to a file takes a while.
//!
//! Writers append to streams of numbered records. So a backup is consistent if no stream has a gap.
//!
//! `cargo run --release -p untorn-memtable --example snapshot_backup`

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use untorn_memtable::{Memtable, Snapshot};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const STREAMS: u32 = 3;
/// Most records of a stream.
const RECORDS: u64 = 300_000;
const BACKUPS: usize = 5;
const ROWS_BETWEEN: usize = 100_000;

/// Writes keys and values, each with its length before it, and answers how many.
fn back_up(snapshot: &Snapshot<Arc<Memtable>>, to: File) -> Result<usize, Failure> {
    let mut file = BufWriter::new(to);
    let mut rows = 0;
    for entry in snapshot.range::<&[u8]>(..) {
        for bytes in [&entry.key, &entry.value] {
            file.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
            file.write_all(bytes)?;
        }
        rows += 1;
    }
    file.flush()?;
    Ok(rows)
}

fn restore(from: File, rows: usize) -> Result<Memtable, Failure> {
    let mut file = BufReader::new(from);
    let mut next = || -> Result<Vec<u8>, Failure> {
        let mut len = [0; 4];
        file.read_exact(&mut len)?;
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let table = Memtable::new();
    for _ in 0..rows {
        table.insert(next()?, next()?)?;
    }
    Ok(table)
}

/// The number of records in a stream, if none is missing.
fn gapless(table: &Memtable, stream: u32) -> Result<u64, Failure> {
    let pinned = table.pin();
    let from = stream.to_be_bytes();
    let to = (stream + 1).to_be_bytes();
    let mut expected = 0u64;
    for (key, _) in pinned.range(from..to) {
        if key.get(4..) != Some(&expected.to_be_bytes()[..]) {
            return Err(format!("stream {stream} has no record {expected}").into());
        }
        expected += 1;
    }
    Ok(expected)
}

fn main() -> Result<(), Failure> {
    let table = Arc::new(Memtable::new());
    let writing = AtomicBool::new(true);
    let folder = tempfile::tempdir()?;
    thread::scope(|scope| {
        for stream in 0..STREAMS {
            let (table, writing) = (&table, &writing);
            scope.spawn(move || {
                for number in (0..RECORDS).map(u64::to_be_bytes) {
                    if !writing.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = [&stream.to_be_bytes()[..], &number].concat();
                    table.insert(key, number).expect("it is short");
                }
            });
        }
        let backups = (0..BACKUPS).try_for_each(|backup| {
            while table.len() < backup * ROWS_BETWEEN {
                thread::yield_now();
            }
            let snapshot = Snapshot::new(table.clone());
            let path = folder.path().join(format!("{backup}.rows"));
            let rows = back_up(&snapshot, File::create(&path)?)?;
            let since = table.len() - rows;
            let restored = restore(File::open(&path)?, rows)?;
            // The snapshot still shows what it showed.
            let same = restored
                .snapshot()
                .range::<&[u8]>(..)
                .eq(snapshot.range::<&[u8]>(..));
            if !same {
                return Err("what was restored is not the snapshot".into());
            }
            let records: Result<Vec<u64>, Failure> = (0..STREAMS)
                .map(|stream| gapless(&restored, stream))
                .collect();
            println!(
                "backup {backup}: {rows} rows, streams of {:?}; {since} rows came meanwhile",
                records?
            );
            Ok(())
        });
        writing.store(false, Ordering::Relaxed);
        backups
    })
}
