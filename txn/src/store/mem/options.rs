//! What may be chosen for the embedded store, and what it says of itself.

use crate::store::Timestamp;
use std::time::Duration;

/// What may be chosen for a [`MemStore`](crate::MemStore).
///
/// ```
/// use std::time::Duration;
/// use untorn_txn::store::mem::{MemStore, MemStoreOptions};
///
/// let options = MemStoreOptions::default().max_snapshot_age(Duration::from_secs(600));
/// assert_eq!(MemStore::with_options(options).stats().open, 0);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MemStoreOptions {
    /// How far an open transaction or snapshot may hold the safe point back. By default without end. Older ones are
    /// [refused](crate::Error::SnapshotTooOld) reads, and commits of keys that they did not lock.
    pub max_snapshot_age: Option<Duration>,
}

impl MemStoreOptions {
    /// Sets [`Self::max_snapshot_age`].
    #[must_use]
    pub fn max_snapshot_age(mut self, age: Duration) -> Self {
        self.max_snapshot_age = Some(age);
        self
    }
}

/// What the store holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemStoreStats {
    /// Keys that have a newest record, deleted ones that are not collected yet included.
    pub keys: usize,
    /// Older versions.
    pub old_versions: usize,
    /// Keys that bear the timestamp of a committed lock.
    pub touched: usize,
    /// Length of the keys and values in all of these, with the timestamps beside them.
    pub bytes: usize,
    /// Open transactions and snapshots.
    pub open: usize,
    /// Replaced versions, deletions and touches that wait to be collected.
    pub uncollected: usize,
    /// Reads below it are refused.
    pub safe_point: Timestamp,
}
