//! Checkpoints: what the store held at a timestamp, so that the log before it can go.
//!
//! The log's thread turns to a new segment and draws the timestamp. This thread scans the store there, as any reader
//! does, into an *unfinished* file: frames as in a segment, with one entry each, and an empty one at the end. The file
//! is synced, gets its name, the directory is synced, and only then older files are removed. A crash before the name is
//! there leaves the segments, one after it leaves files that the next opening removes.
//!
//! A checkpoint that fails leaves things as they are: the segments stay, and the next one is written after as much log
//! again.

use super::directory::Directory;
use super::entry::Entry;
use super::segment::{FileWriter, Frame, Head, Kind, unfinished};
use crate::Error;
use crate::mutant::planted;
use crate::store::ScanRequest;
use crate::store::mem::core::Core;
use crate::store::mem::live::Held;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

/// Keys of a frame.
const PAGE: usize = 512;

/// One that is to be written.
pub(super) struct Checkpoint {
    pub(super) core: Arc<Core>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) held: Held,
    /// Of the segment that goes on where it ends.
    pub(super) number: u64,
    /// Of that segment's first frame.
    pub(super) sequence: u64,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Read(#[from] Error),
}

impl Checkpoint {
    /// Its size, if it was written.
    pub(super) fn run(self) -> Option<u64> {
        let written = self.write();
        if let Err(failure) = &written {
            tracing::warn!(number = self.number, %failure, "no checkpoint was written");
            // The next opening removes what stays.
            drop(self.directory.remove(&unfinished(self.number)));
        }
        written.ok()
    }

    fn write(&self) -> Result<u64, Failure> {
        let directory = &*self.directory;
        let bound = self.core.oracle.bound();
        let head = Head::new(Kind::Checkpoint, self.number, self.sequence, bound);
        let name = unfinished(self.number);
        let mut file = FileWriter::create(directory, name.clone(), &head, 1)?;
        let mut request = ScanRequest {
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            at: self.held.at,
            limit: PAGE,
            reverse: false,
        };
        loop {
            let pairs = self.core.read_range(&request)?;
            let mut frame = Frame::new();
            let mut entry = Entry::new(0);
            for (key, value) in &pairs {
                entry.push(key, Some(value));
            }
            if !entry.is_empty() {
                frame.push(entry.bytes());
                file.append(frame, bound)?;
            }
            match pairs.into_iter().nth(PAGE - 1) {
                Some((last, _)) => request.lower = Bound::Excluded(last),
                None => break,
            }
        }
        file.append(Frame::new(), bound)?;
        file.sync()?;
        directory.rename(&name, &Kind::Checkpoint.name(self.number))?;
        if planted("checkpoint-replaces-before-it-stays") {
            remove_older(directory, self.number);
        }
        directory.sync()?;
        remove_older(directory, self.number);
        Ok(file.length)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.core.let_go(self.held);
    }
}

/// Removes what checkpoint `number` replaces. What stays is removed another time.
pub(super) fn remove_older(directory: &dyn Directory, number: u64) {
    for name in directory.names().unwrap_or_default() {
        let found = Kind::Segment
            .number(&name)
            .or(Kind::Checkpoint.number(&name));
        if found.is_some_and(|found| found < number)
            && let Err(error) = directory.remove(&name)
        {
            tracing::warn!(name, %error, "an old file of the log stays");
        }
    }
}
