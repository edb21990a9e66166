//! The transaction buffer: a transaction's writes, before they are committed.
//!
//! [`MemBuffer`] is an ordered map from keys to values, tombstones and [flags](crate::flags), with
//! nested [stages](Stage) that can be taken back, limits, snapshots, and a merged view over a store.
//! A clone is the same buffer; every method takes `&self` and may be called from any thread at any
//! time. Whatever is returned is owned: bytes never change, iterators, snapshots and stages are
//! `Send + 'static` and pin nothing between two steps.
//!
//! ```
//! use untorn_txn::{Entry, FlagOp, MemBuffer};
//!
//! # fn main() -> Result<(), untorn_txn::Error> {
//! let buffer = MemBuffer::new();
//! buffer.set("apple", "red")?;
//!
//! let stage = buffer.stage();
//! std::thread::scope(|scope| {
//!     scope.spawn(|| buffer.delete("apple"));
//!     scope.spawn(|| buffer.update_flags("pear", [FlagOp::SetLocked]));
//! });
//! assert_eq!(buffer.get("apple"), Some(Entry::Tombstone));
//! assert_eq!(buffer.stats().len, 2);
//!
//! stage.cleanup()?;
//! assert_eq!(buffer.get("apple"), Some(Entry::Value("red".into())));
//! assert!(buffer.get_flags("pear").is_some(), "a lock outlives the rollback");
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! A key is *absent*, or *live*: a *value*, a *tombstone* (deleted here, hides what lies below) or
//! *flags only*. `len` counts live keys, `size` adds up their key and current value lengths.
//!
//! # How it works
//!
//! The content is one [`Memtable`]; a write is one atomic read-modify-write of value and flags of
//! one key. What decides *how* to write (open stages, limits, the freeze at commit) are the *rules*
//! behind a gate, which writers pass together, without meeting each other. What changes the rules,
//! or closes a stage, shuts it: then no write is under way, so a write knows for its whole course
//! which stage it belongs to, what is charged against the limit is what is there, and the dirty
//! mark belongs to the writes that can be seen. Reads never pass it. No caller's code runs inside,
//! so it cannot be held for long or deadlock.
//!
//! | word | changed by | read by |
//! |---|---|---|
//! | table | writers (inside the gate), closing stages (gate shut) | everybody, no gate |
//! | which table | `reset` (shut) | everybody, no gate |
//! | rules | stage, savepoint, close, limits, `reset`, freeze (shut) | writers (inside) |
//! | charged bytes | writers (inside), recounted by rollbacks and limits (shut) | writers |
//! | presumes | the first writer of a presumption, before that can be seen | lock calls: where none was written no key is looked up |
//! | dirty | writers (inside), outermost release (shut) | everybody; a "no" is asked again with the gate shut |
//!
//! # Consistency and cost
//!
//! *Linearizable*: takes effect at one instant between call and return.
//!
//! | operation | consistency | cost, waiting |
//! |---|---|---|
//! | `set`, `delete`, `update_flags`, `.._with_flags` | linearizable; value and flags as one; belongs to the stage that is innermost then | one lookup and one update of the table; waits for a stage operation under way, never for another write. A write that would pass the buffer limit is decided with other writers shut out |
//! | `get`, `get_flags` | linearizable | one lookup; `get` copies the value; never waits |
//! | `batch_get` | each key for itself | one lookup a key |
//! | `range`, `range_with_flags`, `union` | each step for itself, newest at that instant; strict order, no key twice, settled keys exactly once | one descent a step; never waits |
//! | `len`, `size`, `stats` | linearizable; `stats` gives both of one instant | a few loads for each stripe of the table's counters; never waits |
//! | `is_dirty` | linearizable | one load once true; before that waits for the writes under way |
//! | `stage`, `release`, `cleanup` | linearizable; a rollback is one instant for every reader, `stats` included | O(1), whatever was written; waits for the writes under way. With a buffer limit, `cleanup` counts anew by `stats` |
//! | `savepoint`, `rollback_to` | linearizable; a rollback is one instant for every reader, `stats` included | O(1) in what was written, a step for each savepoint made since; waits for the writes under way. With a buffer limit, a rollback counts anew by `stats` |
//! | `memory` | a sum of what was there at moments of the call | a walk over the buffer; never waits |
//! | `compact` | changes nothing that can be seen | a walk over the buffer, with the writes under way |
//! | memory hook | after each operation; totals from several threads may come out of order | while one is set, one word that writers share |
//! | `history` | linearizable | one lookup, and a walk over the key's versions and the open stages and savepoints; never waits |
//! | `inspect_stage` | one instant | a read of each key written in the stage, and sorting; waits for the writes under way, and writers wait for it |
//! | `snapshot`, `snapshot_now` | every key at one instant, for ever | O(1); a step or get like those of the buffer |
//! | `reset`, `set_..._limit`, `open_stages` | linearizable | waits for the writes under way |
//! | `limits` | linearizable | waits for a stage operation under way |
//! | `has_memory_hook` | linearizable | never waits |
//! | `set_memory_hook`, `clear_memory_hook` | the swap is one instant; a hook that runs runs on | a walk over the buffer with the writers shut out; taking it away, nothing |
//!
//! # Limits
//!
//! A write is refused *before* it is applied and changes nothing then, in the order
//! [`TransactionClosed`](Error::TransactionClosed), [`EmptyValue`](Error::EmptyValue),
//! [`KeyTooLarge`](Error::KeyTooLarge), [`EntryTooLarge`](Error::EntryTooLarge),
//! [`TxnTooLarge`](Error::TxnTooLarge). The key and buffer limits bind flags-only keys too. The
//! buffer limit is strict under any number of writers. A write that does not grow its key passes
//! every limit, also one that was lowered below what the key takes. `size` stands above it in two cases only: the limit was lowered, or a rollback left
//! keys alive for their locks (no rollback ever fails), those of a lock call in flight too. Then growth is refused, all else works.
//!
//! # Coming from client-go
//!
//! | there | here | departures |
//! |---|---|---|
//! | `MemDB`, `ART` | [`MemBuffer`] | every method from any thread; no lock is exported |
//! | `Set`, `SetWithFlags` | [`set`](MemBuffer::set), [`set_with_flags`](MemBuffer::set_with_flags) | refused before it is applied; [`empty_values`](Builder::empty_values) may be switched on |
//! | `Delete`, `DeleteWithFlags` | [`delete`](MemBuffer::delete), [`delete_with_flags`](MemBuffer::delete_with_flags) | |
//! | `UpdateFlags` | [`update_flags`](MemBuffer::update_flags) | returns `Result`: limits bind flags-only keys; two at once both take effect |
//! | `Get` (`ErrNotExist`, empty for deleted) | [`get`](MemBuffer::get) | `None`, [`Entry::Tombstone`]; what it returned never changes |
//! | `GetFlags` | [`get_flags`](MemBuffer::get_flags) | `None` for an absent key |
//! | `BatchGet` | [`batch_get`](MemBuffer::batch_get) | tombstones included |
//! | `Iter`, `IterReverse` | [`range`](MemBuffer::range), `.rev()` | valid under writes and rollbacks; at its end it stays there; nothing to close |
//! | `IterWithFlags` | [`range_with_flags`](MemBuffer::range_with_flags) | from both ends |
//! | `Staging`, `Release`, `Cleanup` | [`stage`](MemBuffer::stage), [`release`](Stage::release), [`cleanup`](Stage::cleanup) | a typed handle, given back by an error; dropped, it cleans up; flags of rolled back writes go with them, but for persistent ones |
//! | `Checkpoint`, `RevertToCheckpoint` | [`savepoint`](MemBuffer::savepoint), [`rollback_to`](MemBuffer::rollback_to) | undoes overwrites of equal length too, and flags; one instant for every reader; a stale one is an error |
//! | `InspectStage` | [`inspect_stage`](MemBuffer::inspect_stage) | one instant; `f` may use the buffer in any way |
//! | `SelectValueHistory` | [`history`](MemBuffer::history) | an iterator; shows what can be rolled back to, not each value that ever was; flag updates make versions too |
//! | `SnapshotGetter`, `SnapshotIter`, `SnapshotIterReverse` | [`snapshot`](MemBuffer::snapshot) | constant for as long as it lives; [`snapshot_now`](MemBuffer::snapshot_now) shows staged writes too |
//! | `UnionStore`, `NewUnionIter` | [`union`](MemBuffer::union), [`union_rev`](MemBuffer::union_rev) | |
//! | `Len`, `Size` | [`len`](MemBuffer::len), [`size`](MemBuffer::size), [`stats`](MemBuffer::stats) | `size` counts current values only |
//! | `Dirty` | [`is_dirty`](MemBuffer::is_dirty) | an outermost release dirties only if a value or tombstone of it is left |
//! | `Mem`, `SetMemoryFootprintChangeHook`, `MemHookSet` | [`memory`](MemBuffer::memory), [`set_memory_hook`](MemBuffer::set_memory_hook), [`has_memory_hook`](MemBuffer::has_memory_hook) | by kind, 0 for a buffer never written; the hook is called with no lock held, told of shrinkage too, may be set at any time, may panic |
//! | `SetEntrySizeLimit` | [`set_entry_limit`](MemBuffer::set_entry_limit), [`set_buffer_limit`](MemBuffer::set_buffer_limit) | strict, before the write; what does not grow its key passes |
//! | `Reset`, `DiscardValues` | [`reset`](MemBuffer::reset) | open stages and iterators stay safe |
//! | `RLock`, `RUnlock`, `SetSkipMutex` | none | nothing to lock |
//! | `RemoveFromBuffer` | none | there for tests alone, and without a trace in stages; a rollback takes a key out |
//! | `GetLocal`, `GetMemDB` | [`get`](MemBuffer::get) | here all is local |
//! | `NEED_CONSTRAINT_CHECK` cleared by a write | the clear goes with the write that made it | there the older write, restored, has lost its check |
//! | `PipelinedMemDB`, `Flush`, `FlushWait` | [`PipelinedBuffer`], its [`flush`](PipelinedBuffer::flush), [`flush_wait`](PipelinedBuffer::flush_wait) | from any thread; a flush is begun by the write that makes it due; where the next one is due while one is under way, a write waits; an error of the target comes out of the write that would begin the next flush |

mod builder;
mod entry;
pub(crate) mod gate;
mod hook;
mod inspect;
mod layer;
mod limits;
mod memory;
mod notes;
pub mod pipelined;
mod range;
mod read;
mod reserve;
mod rules;
mod savepoint;
mod seam;
mod snapshot;
mod stage;
mod table;
mod tag;
mod union;
mod write;

pub use builder::Builder;
pub use entry::Entry;
pub use hook::MEMORY_BLOCK;
pub use inspect::{History, Version};
pub(crate) use layer::{End, Layer};
pub use limits::{Limits, MAX_KEY_LEN};
pub use pipelined::{FlushTarget, Generation, PipelinedBuffer};
pub use range::{Range, RangeWithFlags};
pub(crate) use reserve::Reservation;
pub use savepoint::Savepoint;
pub use snapshot::BufferSnapshot;
pub use stage::{Stage, StageOrder};
pub use union::Union;
pub use untorn_memtable::{Memory, Stats};
pub(crate) use write::Content;

use crate::error::{Error, TxnState};
use crate::sync::{AtomicBool, Ordering};
use builder::Options;
use gate::Gate;
use hook::HookSlot;
use limits::Room;
use rules::Rules;
use seam::{Moment, Seam};
use stage::Stages;
use std::sync::{Arc, OnceLock};
use table::Table;
use tag::Tag;
use untorn_memtable::Memtable;

/// A transaction's writes, for any number of threads. See the [module](self).
///
/// One that was never used owns no heap, and neither do reads of it, scans and snapshots included,
/// nor writes that it refuses. A clone, a stage, a savepoint, a union, a limit or a hook makes what the
/// handles share from then on, once: two allocations, 1.1 KB together.
pub struct MemBuffer {
    /// Made by the first call that has something to keep, and by whatever is to see what it will
    /// keep: a clone, a stage, a savepoint, a union. Until then the buffer owns no heap.
    inner: OnceLock<Arc<Inner>>,
    options: Options,
}

impl Clone for MemBuffer {
    fn clone(&self) -> Self {
        MemBuffer {
            inner: OnceLock::from(self.inner().clone()),
            options: self.options,
        }
    }
}

struct Inner {
    table: Table,
    gate: Gate<Rules, Stages>,
    room: Room,
    seam: Seam,
    dirty: AtomicBool,
    /// Whether any key was ever presumed absent; said before the write.
    presumes: AtomicBool,
    hook: HookSlot,
    options: Options,
}

/// A writer is inside, or the buffer's rules are being changed.
type Inside<'b> = gate::Inside<'b, Rules, Stages>;
type Shut<'b> = gate::Shut<'b, Rules, Stages>;

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

    fn inner(&self) -> &Arc<Inner> {
        self.inner
            .get_or_init(|| Arc::new(Inner::new(self.options)))
    }

    /// Where nothing was made there is nothing to read.
    fn made(&self) -> Option<&Inner> {
        self.inner.get().map(|inner| &**inner)
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        let made = self.made();
        made.map_or(self.options.limits, |inner| inner.inside().limits())
    }

    /// Sets the longest key, for writes that begin afterwards; at most [`MAX_KEY_LEN`].
    pub fn set_key_limit(&self, bytes: usize) {
        self.change_limits(|limits| limits.key = bytes.min(MAX_KEY_LEN));
    }

    /// Sets the largest entry, for writes that begin afterwards.
    pub fn set_entry_limit(&self, bytes: usize) {
        self.change_limits(|limits| limits.entry = bytes);
    }

    /// Sets the largest size, for writes that begin afterwards. Below the present size growth is
    /// refused and all else works.
    pub fn set_buffer_limit(&self, bytes: usize) {
        self.change_limits(|limits| limits.buffer = bytes);
    }

    fn change_limits(&self, change: impl FnOnce(&mut Limits)) {
        let shut = self.inner().shut();
        let mut limits = shut.rules().limits();
        change(&mut limits);
        shut.rules().set_limits(limits);
        self.inner().recount(&shut);
    }

    /// Empties the buffer at one instant; limits stay. Every open stage is closed by it: its
    /// handle answers [`StageOrder`] from then on, its drop does nothing. Savepoints are stale.
    /// Snapshots go on showing what they showed.
    ///
    /// # Errors
    /// [`Error::OptionConflict`] for the buffer of a transaction.
    pub fn reset(&self) -> Result<(), Error> {
        if self.options.keep {
            return Err(Error::OptionConflict {
                reason: "the buffer of a transaction cannot be reset",
            });
        }
        let Some(inner) = self.made() else {
            return Ok(());
        };
        let replaced = {
            let mut shut = inner.shut();
            stage::end_all(&mut shut);
            let table = empty_table();
            if inner.hook.is_set() {
                table.count_held_bytes();
            }
            let replaced = inner.table.replace(table);
            inner.dirty.store(false, Ordering::SeqCst);
            inner.recount(&shut);
            replaced
        };
        inner.seam.reached(Moment::Emptied);
        // Nobody waits at the gate for a million keys to be freed.
        drop(replaced);
        inner.report_memory();
        Ok(())
    }

    /// Ends writing: from the return on every write is [`Error::TransactionClosed`], and no write
    /// is under way. Reads go on. Called again, it changes the state that the error names.
    ///
    /// # Errors
    /// [`Error::StageOpen`], and nothing changes, if a stage is open and `end_stages` is false;
    /// with `end_stages` every stage is closed as by `reset`, the content stays.
    pub(crate) fn close(&self, state: TxnState, end_stages: bool) -> Result<(), Error> {
        let mut shut = self.inner().shut();
        if end_stages {
            stage::end_all(&mut shut);
        } else if shut.rules().staged() {
            return Err(Error::StageOpen);
        }
        shut.rules().close(state);
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
    fn new(options: Options) -> Inner {
        Inner {
            table: Table::new(empty_table(), options.keep),
            gate: Gate::new(Rules::new(options.limits), Stages::default()),
            room: Room::default(),
            seam: Seam::default(),
            dirty: AtomicBool::new(false),
            presumes: AtomicBool::new(false),
            hook: HookSlot::default(),
            options,
        }
    }

    /// Comes in to write: the rules stand still while the answer lives. Never twice by one thread.
    #[inline]
    fn inside(&self) -> Inside<'_> {
        self.gate.enter()
    }

    /// No write is under way while the answer lives.
    fn shut(&self) -> Shut<'_> {
        self.gate.shut()
    }

    /// Counts the room anew.
    fn recount(&self, shut: &Shut<'_>) {
        if shut.rules().limits().bounded() {
            self.room.recount(self.table.load().stats().size);
        }
    }
}
