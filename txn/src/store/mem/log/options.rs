//! What may be chosen for a store that writes a log.

use crate::store::mem::MemStoreOptions;
use std::time::Duration;

/// What may be chosen for a [`MemStore`](crate::MemStore) that is [opened](crate::MemStore::open) in a directory.
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::store::mem::{LogOptions, SyncMode};
///
/// let options = LogOptions::default()
///     .sync(SyncMode::Every(Duration::from_millis(10)))
///     .checkpoint_after(256 << 20);
/// assert_eq!(options.checkpoint_after, 1 << 28);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// What may be chosen for every embedded store.
    pub store: MemStoreOptions,
    /// When a commit is on the disk. By default before it is answered.
    pub sync: SyncMode,
    /// Bytes of log after which a checkpoint is written and the log before it removed; after a checkpoint that was
    /// larger, as many as that had. By default 64 MiB. Opening reads the checkpoint and the log since. (A checkpoint
    /// reads a snapshot: one that takes longer than
    /// [`max_snapshot_age`](MemStoreOptions::max_snapshot_age) fails, and the log stays.)
    pub checkpoint_after: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            store: MemStoreOptions::default(),
            sync: SyncMode::Always,
            checkpoint_after: 64 << 20,
        }
    }
}

impl LogOptions {
    /// Sets [`Self::store`].
    #[must_use]
    pub fn store(mut self, options: MemStoreOptions) -> Self {
        self.store = options;
        self
    }

    /// Sets [`Self::sync`].
    #[must_use]
    pub fn sync(mut self, mode: SyncMode) -> Self {
        self.sync = mode;
        self
    }

    /// Sets [`Self::checkpoint_after`].
    #[must_use]
    pub fn checkpoint_after(mut self, bytes: u64) -> Self {
        self.checkpoint_after = bytes;
        self
    }
}

/// When a commit is on the disk, and so what a crash may take back.
///
/// In every mode the death of the process alone takes nothing back that was answered: the operating system has it. What
/// a failure of the machine takes back is always the end of the log: if a commit is gone, so are all after it, and none
/// is there by half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncMode {
    /// Before it is visible or answered. Nothing answered is ever lost.
    Always,
    /// At most this long after it was answered. A failure of the machine takes back what was answered since; so does a
    /// sync that fails, after which nothing is committed any more.
    Every(Duration),
    /// When the operating system sees to it, when a checkpoint begins, and when the store is closed. A failure of the
    /// machine may take back everything since.
    Never,
}
