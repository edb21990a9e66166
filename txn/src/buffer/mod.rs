//! The transaction buffer.

mod entry;
mod layer;
mod limits;
mod range;
mod read;
mod snapshot;
mod stage;
mod tag;
mod union;
mod write;

pub use entry::Entry;
pub use limits::{Limits, MAX_KEY_LEN};
pub use range::{Range, RangeWithFlags};
pub use snapshot::BufferSnapshot;
pub use stage::{Stage, StageOrder};
pub use union::Union;
pub use untorn_memtable::Stats;

use crate::error::{Error, TxnState};
use arc_swap::ArcSwap;
use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use limits::Room;
use stage::Stages;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use tag::Tag;
use untorn_memtable::Memtable;

/// A transaction's writes, for any number of threads. See the [module](self).
#[derive(Clone)]
pub struct MemBuffer {
    inner: Arc<Inner>,
}

struct Inner {
    /// The content; `reset` puts a fresh one here. Changed with the gate held exclusively.
    table: ArcSwap<Memtable>,
    /// Writers pass shared, what changes their rules passes exclusively. Made by the first of them.
    gate: OnceLock<ShardedLock<Rules>>,
    room: Room,
    dirty: AtomicBool,
    options: Options,
}

/// What a writer has to know and may not change while it writes.
#[derive(Debug)]
struct Rules {
    limits: Limits,
    stages: Stages,
    closed: Option<TxnState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    limits: Limits,
    empty_values: bool,
    keep: bool,
}

/// Builds a [`MemBuffer`].
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// Longest key in bytes; at most [`MAX_KEY_LEN`], which is the default.
    pub fn key_limit(mut self, bytes: usize) -> Self {
        self.options.limits.key = bytes.min(MAX_KEY_LEN);
        self
    }

    /// Largest key and value together; no limit by default.
    pub fn entry_limit(mut self, bytes: usize) -> Self {
        self.options.limits.entry = bytes;
        self
    }

    /// Largest [`MemBuffer::size`]; no limit by default.
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.options.limits.buffer = bytes;
        self
    }

    /// Whether values may be empty, for embedders that use keys as a set. Off by default.
    pub fn empty_values(mut self, allowed: bool) -> Self {
        self.options.empty_values = allowed;
        self
    }

    /// The buffer belongs to a transaction: `reset` is refused.
    #[allow(dead_code)] // for `Transaction`
    pub(crate) fn without_reset(mut self) -> Self {
        self.options.keep = true;
        self
    }

    /// The buffer, empty.
    pub fn build(self) -> MemBuffer {
        MemBuffer {
            inner: Arc::new(Inner {
                table: ArcSwap::from_pointee(empty_table()),
                gate: OnceLock::new(),
                room: Room::default(),
                dirty: AtomicBool::new(false),
                options: self.options,
            }),
        }
    }
}

fn empty_table() -> Memtable {
    Memtable::with_persistent_tag(Tag::PERSISTENT)
}

impl Default for MemBuffer {
    fn default() -> Self {
        MemBuffer::new()
    }
}

impl MemBuffer {
    /// An empty buffer without limits, but for the longest key.
    pub fn new() -> MemBuffer {
        MemBuffer::builder().build()
    }

    /// Sets limits and switches before the buffer is made.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.inner.shared().limits
    }

    /// Sets the longest key, for writes that begin afterwards; at most [`MAX_KEY_LEN`].
    pub fn set_key_limit(&self, bytes: usize) {
        self.inner.exclusive().limits.key = bytes.min(MAX_KEY_LEN);
    }

    /// Sets the largest entry, for writes that begin afterwards.
    pub fn set_entry_limit(&self, bytes: usize) {
        self.inner.exclusive().limits.entry = bytes;
    }

    /// Sets the largest size, for writes that begin afterwards. Below the present size growth is
    /// refused and all else works.
    pub fn set_buffer_limit(&self, bytes: usize) {
        let mut rules = self.inner.exclusive();
        rules.limits.buffer = bytes;
        self.inner.recount(&rules);
    }

    /// Empties the buffer at one instant; limits stay. Every open stage is closed by it: its
    /// handle answers [`StageOrder`] from then on, its drop does nothing. Snapshots go on showing
    /// what they showed.
    ///
    /// # Errors
    /// [`Error::OptionConflict`] for the buffer of a transaction.
    pub fn reset(&self) -> Result<(), Error> {
        if self.inner.options.keep {
            return Err(Error::OptionConflict {
                reason: "the buffer of a transaction cannot be reset",
            });
        }
        let mut rules = self.inner.exclusive();
        rules.stages.clear();
        self.inner.table.store(Arc::new(empty_table()));
        self.inner.dirty.store(false, Ordering::SeqCst);
        self.inner.recount(&rules);
        Ok(())
    }

    /// Ends writing: from the return on every write is [`Error::TransactionClosed`], and no write
    /// is under way. Reads go on. Called again, it changes the state that the error names.
    ///
    /// # Errors
    /// [`Error::StageOrder`], and nothing changes, if a stage is open and `end_stages` is false;
    /// with `end_stages` every stage is closed as by `reset`, the content stays.
    #[allow(dead_code)] // for `Transaction`
    pub(crate) fn close(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        let mut rules = self.inner.exclusive();
        if end_stages {
            rules.stages.clear();
        } else if rules.stages.top().is_some() {
            return Err(Error::StageOrder);
        }
        rules.closed = Some(state);
        Ok(())
    }
}

impl std::fmt::Debug for MemBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { len, size, .. } = self.stats();
        f.debug_struct("MemBuffer")
            .field("len", &len)
            .field("size", &size)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn gate(&self) -> &ShardedLock<Rules> {
        self.gate.get_or_init(|| {
            ShardedLock::new(Rules {
                limits: self.options.limits,
                stages: Stages::default(),
                closed: None,
            })
        })
    }

    /// Rules as they are, unchanged while the guard lives. Never taken twice by one thread.
    fn shared(&self) -> ShardedLockReadGuard<'_, Rules> {
        self.gate().read().unwrap_or_else(PoisonError::into_inner)
    }

    /// No write is under way while the guard lives.
    fn exclusive(&self) -> ShardedLockWriteGuard<'_, Rules> {
        self.gate().write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the room anew; only with writers shut out, which the rules' exclusive guard shows.
    fn recount(&self, rules: &ShardedLockWriteGuard<'_, Rules>) {
        if rules.limits.bounded() {
            self.room.recount(self.table.load().stats().size);
        }
    }
}
