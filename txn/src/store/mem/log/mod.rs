//! The write-ahead log of the embedded store.
//!
//! # What a commit does
//!
//! 1. *Prewrite*, as without a log; what the transaction writes is laid out as an `entry` besides.
//! 2. *Queue.* Under the mutex under which it is also rolled back, the transaction is handed to the log. From here on it
//!    can no longer be rolled back: a rollback waits for what becomes of it.
//! 3. *Write.* The log's one thread takes all that is queued, writes it as one `frame`, and syncs. What is
//!    queued meanwhile is the next group: while one sync runs any number of commits wait for the next.
//! 4. *Decide.* The thread decides the group in its order: the entry is on the disk before anybody can see the commit,
//!    and the order of the log is that of the commit timestamps.
//! 5. *Resolve.* Who waits for the commit takes it into the tables and gives its locks back (`fate`).
//!
//! The locks are held until then, so writers of one key follow each other at the pace of the syncs. Transactions that
//! write nothing, or touch only, do not meet the log.
//!
//! # What may be found after a crash
//!
//! The frames up to the last sync, and of those after it any part. What is whole up to the first frame that is not
//! comes back, which contains all that was answered; the rest is cut off (`reader` tells it from damage, which
//! is an error). An entry comes back as a whole or not at all, because a frame does.
//!
//! A process that dies takes its open transactions with it: their locks, pessimistic ones and those of prewrites, and
//! what they had put down are gone. So is every old version: a timestamp from before cannot be read at.
//!
//! # Timestamps
//!
//! Every frame names a bound, three seconds ahead. Readings of the clock are given out up to a second below the bound
//! that is on the disk; past that the counter goes on without the clock and the thread is asked for a new bound. So a
//! store that is opened again, on a machine whose clock was set back, gives out no timestamp twice. (The second
//! holds 262 million counts. A store that gives out more while one sync runs would go on beyond it.)
//!
//! # Failure
//!
//! A write or a sync that fails is final. Who waits is told [`Error::Store`](crate::Error::Store) with the [`LogFailure`], which makes a transaction
//! [`Undetermined`](crate::Error::Undetermined): after the next opening it is committed or never was, and its
//! [status](crate::Store::status) tells by its start timestamp. Commits from then on are refused with
//! [`LogFailed`](crate::Error::LogFailed) and rolled back. Reads go on.
//!
//! # Files
//!
//! One directory, locked by an open file, so that no second store uses it. Segments hold commits, a
//! checkpoint all that the segments before it have come to; the newest checkpoint and the segments since are what is
//! read at the next opening.
//!
//! # Why its own
//!
//! The log decides commits, so it must tell what is on the disk, in which order, and what a failed sync leaves. Looked at
//! in November 2026:
//!
//! - `okaywal` 0.3.1 batches syncs, but says of itself that it is early and not for production, and after a sync that
//!   fails whoever waits for the next one waits for ever.
//! - `walcraft` 0.3.0 takes no entry larger than a page, and one mutex is held through a sync.
//! - `commitlog` 0.2.0 has one writer (`&mut self`), and leaves groups and the tail to its user.
//! - `raft-engine` 0.4.2 groups and recovers well, but panics where a sync fails, and brings more than eighty crates.
//! - `fjall` 3.1 is a good store, with a journal for its own tables: below this one everything would be written and held
//!   twice, and each commit is synced under the mutex of the journal, so that none shares a sync.

mod checkpoint;
mod directory;
mod entry;
mod error;
mod fate;
mod frame;
#[cfg(untorn_loom)]
pub mod model;
mod options;
mod queue;
mod reader;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use entry::Entry;
pub use error::{LogFailure, OpenError};
pub(super) use fate::{Fate, Waiting};
pub use options::{LogOptions, SyncMode};
pub(super) use queue::Queue;

use super::core::Core;
use crate::sync::{JoinHandle, spawn};
use directory::{Directory, OsDirectory};
use std::io;
use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// A store's tables, filled from a directory, and the thread that writes its log.
pub(super) fn open(
    path: &Path,
    options: LogOptions,
) -> Result<(Arc<Core>, JoinHandle<()>), OpenError> {
    open_in(Arc::new(OsDirectory::lock(path)?), options)
}

fn open_in(
    directory: Arc<dyn Directory>,
    options: LogOptions,
) -> Result<(Arc<Core>, JoinHandle<()>), OpenError> {
    let (core, writer) = filled(Arc::clone(&directory), options)?;
    let thread = spawn("untorn-log", move || writer.run()).map_err(failed(&*directory))?;
    Ok((core, thread))
}

/// The tables, and who is to write the log.
fn filled(
    directory: Arc<dyn Directory>,
    options: LogOptions,
) -> Result<(Arc<Core>, Writer), OpenError> {
    let core = Core::new(&options.store, Some(Queue::default()));
    let recovered = recover::recover(&*directory, &core)?;
    let writer = Writer::begin(
        Arc::clone(&core),
        Arc::clone(&directory),
        options,
        (recovered.number, recovered.sequence),
        recovered.earlier,
    );
    Ok((core, writer.map_err(failed(&*directory))?))
}

fn failed(directory: &dyn Directory) -> impl FnOnce(io::Error) -> OpenError {
    let path = directory.path("");
    move |source| OpenError::Io { path, source }
}
