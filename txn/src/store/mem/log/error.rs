//! What may go wrong with a log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a store could not be opened. What was committed is still there. Changed were at most a torn end of the log, which was cut off, and
/// files that were never in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has the directory open, of this process or of another.
    #[error("{} is in use", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is not what was written to it, and that is no matter of a write that was cut off.
    #[error("{} is corrupt at byte {offset}: {what}", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where the first thing lies that is wrong.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file is gone that must be there, since there are later ones.
    #[error("{} is missing", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
}

/// A log that takes nothing more: a write or a sync failed, so nobody knows what is on the disk. Reads go on;
/// the store has to be opened again for new commits.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log {} has failed: {source}", .file.display())]
#[non_exhaustive]
pub struct LogFailure {
    /// The file that was written.
    pub file: PathBuf,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}
