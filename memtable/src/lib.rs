//! A sharded, lock-free, epoch-reclaimed concurrent skiplist memtable: ordered byte-string keys, versions, snapshots in O(1),
//! stages that roll back in O(1), and counters that never tear.
//!
//! # Usage
//!
//! [`Memtable`] is the part of a storage engine that takes the writes: an ordered map that any number of threads read and
//! write through `&self`. There is nothing to lock and no lock to hold.
//!
//! ```
//! use untorn_memtable::Memtable;
//!
//! let table = Memtable::new();
//! std::thread::scope(|scope| {
//!     for worker in 0..4u32 {
//!         let table = &table;
//!         scope.spawn(move || {
//!             for n in 0..100u32 {
//!                 let key = format!("row{:03}", n * 4 + worker);
//!                 table.insert(key, n.to_be_bytes()).expect("short keys and values");
//!             }
//!         });
//!     }
//!     // Meanwhile, from any thread: both numbers are of one instant.
//!     let stats = table.stats();
//!     assert_eq!(stats.size, stats.len * (6 + 4));
//! });
//! assert_eq!(table.len(), 400);
//!
//! let pinned = table.pin(); // borrowed reads, nothing is copied
//! let first: Vec<&[u8]> = pinned.range("row010".."row013").map(|(key, _)| key).collect();
//! assert_eq!(first, [b"row010", b"row011", b"row012"]);
//! let last = pinned.range::<&str>(..).next_back();
//! assert_eq!(last.map(|(key, _)| key), Some(&b"row399"[..]));
//! ```
//!
//! There are many ways to read: [`Memtable::get`] and [`get_many`](Memtable::get_many), which asks for many keys side by side; ranges
//! from both ends without copying ([`Pinned::range`]); [`scan`](Memtable::scan), which lets garbage go as it goes; a [`Cursor`] that
//! is moved at will and sent anywhere; [`shards`](Memtable::shards) for parallel scans; [`Snapshot::pin`] and [`SetSnapshot::pin`] for ranges of one instant, also without
//! copying; [`SequencedMemtable::pin`] and [`SequencedView::pin`] at a number. And to change what one read:
//! [`compute`](Memtable::compute), [`get_or_insert_with`](Memtable::get_or_insert_with),
//! [`compare_and_set`](Memtable::compare_and_set).
//!
//! Writes of several keys that belong together are one [`WriteBatch`]: [`apply`](Memtable::apply) makes them visible at one instant. A log
//! gets them from [`iter`](WriteBatch::iter).
//!
//! An engine that numbers its writes itself takes a [`SequencedMemtable`]: writes and reads are at its numbers, in any order; or a
//! [`SequencedSet`] of such tables, which rotates.
//!
//! A key holds a value, a tombstone (a deletion that hides older tables), or a tag alone ([`Kind`]); with each goes a 32-bit tag
//! that means nothing to the table. [`Memtable::update`] is the atomic read-modify-write of all of it.
//!
//! # Consistency
//!
//! | operation | promise |
//! |---|---|
//! | [`insert`](Memtable::insert), [`delete`](Memtable::delete), [`remove`](Memtable::remove), [`update`](Memtable::update) | linearizable; the key is never absent for a moment on the way from an old to a new value |
//! | [`get`](Memtable::get), [`entry`](Memtable::entry), [`contains`](Memtable::contains), and those of [`Pinned`] | linearizable |
//! | [`stats`](Memtable::stats), [`len`](Memtable::len), [`size`](Memtable::size) | linearizable, also against stages: exactly what the table held at an instant of the call |
//! | [`Pinned::range`], [`Pinned::range_all`] | strictly ordered, no key twice, every key that is there for the whole scan is yielded; each key is read when it is yielded |
//! | [`apply`](Memtable::apply), [`apply_at`](SequencedMemtable::apply_at) | linearizable: a whole batch at one instant, for every reader, snapshot and count |
//! | [`compute`](Memtable::compute), [`get_or_insert_with`](Memtable::get_or_insert_with), [`compare_and_set`](Memtable::compare_and_set) | linearizable; closures may run again |
//! | [`get_many`](Memtable::get_many), [`scan`](Memtable::scan), a [`Cursor`] over the table | each key is read at an instant of its own |
//! | [`MemtableSet`]: writes, batches and point reads | linearizable over all its tables |
//! | [`SequencedMemtable`] | what a number sees is constant once the writes up to it are done; what is below what was pruned is neither read nor written |
//! | [`SequencedSet`] | the same over all its tables, whichever of them has a version, until a flushed table leaves |
//! | [`SequencedView`] | the same for as long as it lives |
//! | [`Snapshot`], [`SetSnapshot`] | all keys at one instant; constant for as long as it lives |
//! | [`freeze`](Memtable::freeze) | one instant: what took effect before is in for ever, whatever comes after is refused |
//! | [`open_stage`](Memtable::open_stage), [`release_stage`](Memtable::release_stage), [`cleanup_stage`](Memtable::cleanup_stage) | each takes effect at one instant for every observer |
//! | [`history`](Memtable::history) | linearizable |
//! | [`stage_writes`](Memtable::stage_writes) | each key is read at an instant of its own |
//! | [`savepoint`](Memtable::savepoint), [`Savepoint::roll_back`] | each takes effect at one instant for every observer |
//!
//! Everything but [`freeze`](Memtable::freeze) is lock-free, save for the allocator: no operation waits for another thread, whatever that
//! one is doing. Freezing waits for the writes that are being published at that moment, and so does a write to a set that fills its
//! table; [`compact`](Memtable::compact) waits for a writer that is just paying his share. Who lets go of a set's flushed table last, a reader
//! perhaps, takes a mutex for a moment. Of more than 4,096 writers in a table at one moment those beyond wait.
//!
//! # Cost
//!
//! A lookup descends through lanes that stay in the processor's caches, then costs about two memory latencies: one for the leaf's
//! run, one for the entry, in which key and a first value up to 128 bytes lie side by side. An insert of a new key copies
//! its leaf's run, at most 64 pairs of words; an overwrite allocates one version and copies nothing else. A batch costs the same for each
//! key, but for the descents that sorted neighbours save. An entry costs 24
//! bytes beside its key and value, and some 14 in the run, whose leaves are not full. A key that is overwritten keeps its first value,
//! if that lies in the entry, beside the newest one. A batch of one key is a
//! single write; one of two keys costs half as much again as they cost one by one, one of ten a fifth, since it is sorted, described and
//! announced as one. An empty table owns no heap.
//!
//! # Memory
//!
//! What is overwritten, removed or rolled back is freed through an epoch ([`crossbeam_epoch`]) once no thread can still look at
//! it, and as long as no snapshot, no savepoint and no open stage needs it. A [`Pinned`] handle holds back all freeing while it lives, a
//! [`Snapshot`] only what it shows. A rollback takes back any number of writes at once; their space comes back with later
//! writes, each of which clears away two. [`garbage_bytes`] tells how much waits to be freed, [`oldest_guard_age`] for how long a handle may have stood in the way, [`Memtable::memory`] by kind what a
//! table holds; [`Memtable::teardown`] drops a large one in steps or in the background.
//!
//! A key or value for which the allocator has no memory is [refused](Error::OutOfMemory); the small allocations of fixed size beside it
//! (a leaf's copy, a view of the clock) and those of a batch abort the process, as Rust's collections do. Huge pages are the allocator's affair: mimalloc
//! takes them with `MIMALLOC_ALLOW_LARGE_OS_PAGES=1`, glibc with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`.
//!
//! # In an LSM
//!
//! A [`MemtableSet`] is one table that takes writes and those that were frozen before it, read as one. A table that took its share of
//! the [`Limits`] is frozen and another takes its place; threads that flush take the frozen ones, write their
//! [`shards`](Memtable::shards) in parallel and [complete](Flush::complete) them, whereupon they leave the set in order of age. Bytes
//! are reserved before they are allocated, so the hard limit is one: over it writes are refused, or wait for room. Each write
//! answers the number of the table that took it, so that a log is kept only for what is not in files.
//! The tables should be small against the limits, a quarter or less, so that one can be flushed while the next is filled; the
//! soft limit should leave as much room as is written while a table is flushed. A table that is too small costs more files. The
//! example `lsm_flush` is all of that; `leaderboard` and `snapshot_backup` show a table alone. A [`SequencedSet`] is the same under an
//! engine's own numbers, but that one thread writes a table.
//!
//! # How it works
//!
//! The keys lie in a chain of leaves. Each leaf owns a range of keys and is one atomic pointer to an immutable sorted run; a new key
//! is one compare-and-swap of that pointer to a copy, a split is one, too (a B-link step: Lehman and Yao, 1981). An entry
//! never moves, and an overwrite is one compare-and-swap in it. Above lie lanes of the same make, which are only hints. The
//! stamps that make snapshots and stages follow versioned compare-and-swap (Wei et al., PPoPP 2021), the counters
//! "Concurrent Size" (Sela and Petrank, OOPSLA 2022), the batches the multi-word operations of Harris, Fraser and Pratt (DISC 2002). Each module opens with its protocol; `docs/INVARIANTS.md` holds what
//! must be true between them. Pointers of 64 bits are needed.

#![cfg_attr(not(untorn_loom), warn(missing_debug_implementations))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("untorn-memtable needs pointers of 64 bits");

mod account;
mod batch;
mod cells;
mod chain;
mod clock;
mod compact;
mod compute;
mod cursor;
mod debt;
mod entry;
mod error;
mod fence;
mod frozen;
mod garbage;
mod held;
mod holes;
mod inspect;
mod instants;
mod item;
mod lanes;
mod marks;
mod memory;
mod memtable;
mod mutant;
mod pinned;
mod prefetch;
mod reclaim;
mod run;
mod savepoint;
mod scan;
mod sequenced;
mod set;
mod shards;
mod snapshot;
mod stack;
mod stage;
mod stamp;
mod sync;
mod table;
mod teardown;
mod trim;
mod version;
mod visible;
mod walk;
mod write;

#[cfg(untorn_loom)]
#[doc(hidden)]
#[path = "model.rs"]
pub mod __model;

#[cfg(feature = "measure")]
#[doc(hidden)]
#[path = "measure.rs"]
pub mod __measure;

pub use account::Stats;
pub use batch::{BatchWrite, BatchWrites, WriteBatch};
pub use compute::Exchange;
pub use cursor::Cursor;
pub use error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
pub use frozen::{FreezeError, Frozen};
#[cfg(not(untorn_loom))]
pub use garbage::oldest_guard_age;
pub use garbage::{garbage_bytes, reclaim_garbage};
pub use item::{Entry, Item, Kind, Update, Written};
pub use memory::Memory;
pub use memtable::Memtable;
pub use pinned::{Pinned, Range, RangeAll};
pub use savepoint::{RollbackError, Savepoint};
pub use sequenced::{
    MAX_SEQUENCED_KEY_LEN, PinnedSequenced, PinnedSequencedRange, PinnedSequencedView,
    PinnedSequencedViewRange, PinnedSequencedViewVersions, PinnedVersions, Pruner, SequencedFlush,
    SequencedMemtable, SequencedRange, SequencedSet, SequencedView, SequencedViewRange, Version,
    VersionItem,
};
pub use set::{
    Flush, Limits, MemtableSet, PinnedSet, PinnedSetRange, Room, SetRange, SetSnapshot, SetWritten,
};
pub use shards::Shard;
pub use snapshot::{PinnedSnapshot, PinnedSnapshotRange, Snapshot, SnapshotRange};
pub use stage::{Released, StageId};
pub use teardown::Teardown;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
