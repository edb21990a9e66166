//! Views of the buffer that do not change.

use super::{Entry, MemBuffer};
use std::sync::Arc;
use untorn_memtable::{Memtable, Snapshot};

/// The buffer as it was at one instant, for every key the same instant.
///
/// Answers the same for as long as it lives, whatever happens to the buffer, `reset` included.
/// Cheap to clone. While it lives, the versions that it shows are kept.
#[derive(Clone)]
pub struct BufferSnapshot {
    /// `None`: there was nothing to view.
    view: Option<Arc<View>>,
}

type View = Snapshot<Arc<Memtable>>;

impl MemBuffer {
    /// The buffer as it was when the outermost open stage began, or now if none is open: the view
    /// for a statement that must not see its own writes. O(1), but for a step for each snapshot of
    /// now that was taken since and lives.
    pub fn snapshot(&self) -> BufferSnapshot {
        self.view(Snapshot::before_stages)
    }

    /// The buffer as it is now, staged writes included: all of a stage or nothing of it. O(1).
    pub fn snapshot_now(&self) -> BufferSnapshot {
        self.view(Snapshot::new)
    }

    fn view(&self, of: impl Fn(Arc<Memtable>) -> View) -> BufferSnapshot {
        let made = self.made();
        BufferSnapshot {
            view: made.map(|inner| Arc::new(of(inner.table.load_full()))),
        }
    }
}

impl BufferSnapshot {
    /// What the key held; `None` if it was absent or had flags only.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Entry> {
        let entry = self.view()?.entry(key)?;
        Entry::of(entry.kind, entry.value)
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }
}

impl std::fmt::Debug for BufferSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferSnapshot").finish_non_exhaustive()
    }
}
