#![forbid(unsafe_code)]
//! Transactions that many threads use at once.
//!
//! A [`Transaction`] is a handle: a clone is the same transaction, and any number of threads may read, write, lock
//! and ask for its length through it, at any time. Every method takes `&self`, no lock is exported, and what is
//! returned is owned. Below it is a [`Store`]; the embedded one, [`MemStore`], comes with the crate.
//!
//! - [Usage](#usage): begin, read, write, lock, commit
//! - [Insert or update](#insert-or-update): one row that many write
//! - [Many threads, one transaction](#many-threads-one-transaction)
//! - [Async and blocking](#async-and-blocking)
//! - [Larger than memory](#larger-than-memory): writes that are flushed as the transaction goes on
//! - [Consistency](#consistency): what every operation promises
//! - [Durability](#durability)
//! - [Errors](#errors)
//! - [The parts](#the-parts), usable by themselves
//! - [Watching](#watching): spans and counters
//! - [What is not there](#what-is-not-there)
//!
//! # Usage
//!
//! ```
//! use untorn_txn::{BeginOptions, Db};
//!
//! # fn main() -> Result<(), untorn_txn::Error> {
//! let db = Db::in_memory();
//!
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! txn.insert("alice", "100")?;
//! txn.insert("bob", "50")?;
//! txn.blocking().commit()?;
//!
//! // Pessimistic, the default: lock, then read what is newest, then write.
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! let balance = txn.blocking().get_for_update("alice")?;
//! assert_eq!(balance.as_deref(), Some(&b"100"[..]));
//! txn.put("alice", "70")?;
//!
//! // Until the commit others see what was.
//! let reader = db.blocking().begin(BeginOptions::optimistic())?;
//! let info = txn.blocking().commit()?;
//! assert!(info.commit_ts > Some(reader.start_ts()));
//! assert_eq!(reader.blocking().get("alice")?.as_deref(), Some(&b"100"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Insert or update
//!
//! A row that is there is changed, one that is not is made, and rivals do the same (`INSERT .. ON CONFLICT DO UPDATE`). Lock the
//! key first: an absent key is locked like any other, so what [`get_for_update`](Transaction::get_for_update) answers stays true until the
//! commit, and rivals wait in its queue instead of failing. From then on `put` serves for both.
//!
//! ```
//! use untorn_txn::{BeginOptions, Db, Error};
//!
//! fn visit(db: &Db, page: &str) -> Result<u64, Error> {
//!     db.blocking().run(BeginOptions::default(), |txn| {
//!         let visits = match txn.blocking().get_for_update(page)? {
//!             Some(old) => old.as_ref().try_into().map_or(0, u64::from_be_bytes) + 1,
//!             None => 1,
//!         };
//!         txn.put(page, visits.to_be_bytes())?;
//!         Ok(visits)
//!     })
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let db = Db::in_memory();
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| (0..25).try_for_each(|_| visit(&db, "/").map(drop)));
//!     }
//! });
//! assert_eq!(visit(&db, "/")?, 101);
//! # Ok(())
//! # }
//! ```
//!
//! Without the lock, by `get` and `put`, one of two rivals fails at commit with [`Error::WriteConflict`] and is run again. To make
//! a row only where there is none, [`insert`](Transaction::insert) it: who comes second is told [`Error::KeyExists`], at the latest
//! when he is run again.
//!
//! [`get`](Transaction::get) of a key that is locked, but not written here, goes on answering as of the start timestamp, though
//! the lock has seen a newer value: what a transaction has read without a lock does not change under its feet. So keep what
//! `get_for_update` has answered, or ask it again, which costs no further lock.
//!
//! # Many threads, one transaction
//!
//! The branches of a union lock rows in parallel, in the same transaction; another thread watches. Keys that overlap
//! are locked once; a call that fails gives back what it took and nothing else.
//!
//! ```
//! use untorn_txn::{BeginOptions, Db, LockOptions};
//!
//! # fn main() -> Result<(), untorn_txn::Error> {
//! let db = Db::in_memory();
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! std::thread::scope(|scope| {
//!     for branch in [["a", "b"], ["b", "c"], ["c", "d"]] {
//!         let txn = &txn;
//!         scope.spawn(move || txn.blocking().lock_keys(branch, LockOptions::default()));
//!     }
//!     // Never torn: each of these keys has one byte.
//!     let stats = txn.stats();
//!     assert_eq!(stats.len, stats.size);
//! });
//! assert_eq!(txn.len(), 4);
//! txn.blocking().rollback()?;
//! # Ok(())
//! # }
//! ```
//!
//! The example `union_for_update` does this on a table of customers, with a rival transaction, and checks every reading
//! and the outcome.
//!
//! Stages and savepoints are the transaction's, not a thread's: what any thread writes belongs to the innermost stage, and goes with it. So
//! branches of one statement may run at once, in one stage; statements of which one may fail while the other stays may not.
//!
//! # Async and blocking
//!
//! Methods that may wait are `async`; [`Transaction::blocking`] has the same names for threads that park instead, and so
//! have [`Db::blocking`], [`DbSnapshot::blocking`] and [`StatementView::blocking`]. No
//! runtime is needed or named: a waiting future is woken by whoever releases the lock, or by a thread of this crate
//! when its time is up. With the embedded store nothing but a lock ever waits, and a commit for its log where there is one,
//! so every other future is ready at its first poll. Futures may be dropped at any time: a lock call withdraws, a commit or rollback that was begun runs to its
//! end on the database's own thread, which also keeps locks alive and tells a store what it did not answer.
//!
//! # Larger than memory
//!
//! A [`PipelinedTransaction`] puts its writes down in the store in the background, generation after generation, and commits
//! all of them at one instant. It holds two generations in memory, however much it writes; a write waits where the store does not keep up.
//!
//! ```
//! use untorn_txn::{Db, PipelinedOptions};
//!
//! # fn main() -> Result<(), untorn_txn::Error> {
//! let db = Db::in_memory();
//! let options = PipelinedOptions { min_keys: 500, min_bytes: 4_096, ..Default::default() };
//! let txn = db.blocking().begin_pipelined(options)?;
//! for row in 0..5_000_u32 {
//!     txn.blocking().put(format!("row/{row:06}"), row.to_string())?;
//! }
//! let info = txn.blocking().commit()?;
//! assert_eq!(info.keys, 5_000);
//! assert!(info.generations >= 9);
//! # Ok(())
//! # }
//! ```
//!
//! # Consistency
//!
//! Isolation is snapshot isolation: reads see the store as of [`Transaction::start_ts`], locking reads see the newest
//! committed value. Write skew is possible unless what was read is locked too; there are no range locks.
//!
//! | operation | promise |
//! |---|---|
//! | `get`, `batch_get` | own write, else the snapshot; own writes key by key; what the snapshot says of a key may come from [what was read before](Transaction::read_cache), which is the same |
//! | `range` | the store's part is the snapshot; own writes are asked for each item as it is yielded; strict order, no key twice |
//! | `put`, `delete`, their `.._with_flags` | linearizable, of one key, value and flags as one |
//! | `insert`, `insert_with_flags` | linearizable beside `put`, `insert` and `delete` of the transaction |
//! | `lock_keys` | all keys or none; each locked once among siblings; flags appear after the last answer |
//! | `unlock_keys` | flag and lock go in one step for siblings; a lock that one of them asks for meanwhile is theirs |
//! | `get_for_update` | own write, else the newest committed value, under the lock |
//! | `range_for_update` | the same for each row that is in the range when its page is read; rows that others add behind that are not seen and not kept out |
//! | `len`, `size`, `stats`, `is_dirty` | linearizable; `stats` is a pair of one instant |
//! | `commit` | one instant for all readers; whoever begins after it returned sees all of it |
//! | `commit`, `rollback` | of several that race exactly one wins; the others get `TransactionClosed` at once |
//! | `Db::begin`, reads | never wait for a transaction |
//!
//! # Durability
//!
//! [`Db::in_memory`] and [`MemStore::new`] keep data in memory alone. [`Db::open`] and [`MemStore::open`] keep them in memory
//! and a write-ahead log in a directory:
//!
//! - A commit is on the disk before anybody can see it or is told of it; commits of the same time share a sync. What a
//!   crash leaves is a prefix of the commits, each whole, with every one that was answered.
//!   [`SyncMode`](store::mem::SyncMode) promises less and is faster.
//! - Locks, pessimistic ones too, and whatever a transaction had not committed end with the process. So do old versions:
//!   after a restart nothing can be read as of a timestamp before it.
//! - Timestamps rise over restarts, whatever the clock does.
//! - A torn end of the log is cut off, any other damage is an error with file and place
//!   ([`OpenError`](store::mem::OpenError)).
//! - After a write or sync that failed nothing is committed any more ([`Error::LogFailed`]), what was under way is
//!   [`Error::Undetermined`], and reads go on. [`Store::status`] tells after the next opening how it ended.
//! - One store at a time has a directory open.
//!
//! A checkpoint replaces the log from time to time. All data must fit into memory. How it works:
//! [`store::mem::log`].
//!
//! # Beyond one machine
//!
//! With the feature `tikv`, `store::tikv::TikvStore` is a store like the embedded one, on a TiKV cluster: one line changes.
//!
//! ```ignore
//! let store = TikvStore::connect_blocking(["127.0.0.1:2379"], TikvOptions::default())?;
//! let db = Db::new(Arc::new(store));
//! ```
//!
//! A point read is a round trip there, so a transaction keeps what its point reads found at its start timestamp, absent keys too: up
//! to 16 MiB ([`Store::read_cache`] and [`Transaction::read_cache`]; the embedded store is asked each time). A read that is
//! answered from there is right also once the cluster's collector has passed the timestamp, where another one is
//! [`Error::SnapshotTooOld`]. Locking reads and ranges always ask.
//!
//! It speaks the cluster's protocol itself, on a small runtime of its own. What a cluster cannot promise as one process does, its
//! module tells: there time to live alone keeps a lock, and an open transaction does not hold the collector back.
//!
//! # Errors
//!
//! Whatever a caller can cause is an [`Error`]; one that is [retryable](Error::is_retryable) may go away in a new
//! transaction, which is what [`Db::run`] tries, and [`Db::run_with`] by a [`RetryPolicy`] of one's own. A call that fails has
//! changed nothing, but for `commit`, which has rolled back.
//!
//! [`Error::LockWaitTimeout`] is retryable, too. Each of the ten attempts of [`Db::run`] may wait out the whole
//! [`lock_wait`](BeginOptions::lock_wait), which is 50 seconds: minutes in all, behind one lock that is not given back. Where
//! somebody waits for the answer, make `lock_wait` as short as he has patience and end the attempts by
//! [`RetryPolicy::deadline`].
//!
//! # The parts
//!
//! - [`buffer`]: the write buffer with flags and stages, and the [pipelined](buffer::pipelined) one for transactions larger
//!   than memory, with a [`FlushTarget`](buffer::FlushTarget) of one's own; [`flags`]: what is known of a key.
//! - [`lock`]: the lock table with queues, deadlines and deadlock detection.
//! - [`store`]: the seam, the embedded multi-version store with its commit protocol, the store on TiKV, and the
//!   [conformance suite](store::conformance) and the [faults](store::faults) for stores of your own.
//! - [`transaction`]: how calls of one transaction go together.
//!
//! # Watching
//!
//! `tracing` spans of begin, attempt, lock call, flush, commit and rollback; events of deadlocks, lost locks, retries and drops. With the feature
//! `metrics`, counters for the recorder of the [`metrics`](https://docs.rs/metrics) facade: `untorn_txn_begun_total`,
//! `.._committed_total`, `.._commit_failed_total`, `.._rolled_back_total`, `.._retried_total`, `.._keys_locked_total`,
//! `.._lock_calls_failed_total`, `.._deadlocks_total`, `.._locks_lost_total`, `.._reads_kept_total`, `.._reads_asked_total`,
//! `.._flushed_total`, `.._flushes_failed_total`, and the histogram
//! `untorn_txn_lock_wait_seconds`.
//!
//! The embedded store tells what it [holds](MemStore::stats), [who waits for whom](MemStore::locks), and
//! [collects](MemStore::collect) at once if it is told to. [`Db::open`] and [`Db::in_memory`] keep the store to themselves: to ask it,
//! make the store first, and the database on a handle of it.
//!
//! ```
//! use std::sync::Arc;
//! use untorn_txn::{BeginOptions, Db, MemStore};
//!
//! # fn main() -> Result<(), untorn_txn::Error> {
//! let store = Arc::new(MemStore::new()); // or MemStore::open(directory, ..)
//! let db = Db::new(store.clone());
//! let txn = db.blocking().begin(BeginOptions::default())?;
//! txn.put("k", "v")?;
//! txn.blocking().get_for_update("k")?;
//! assert_eq!(store.locks().held()[0].holders[0].owner, txn.start_ts());
//! txn.blocking().commit()?;
//! store.collect();
//! let stats = store.stats();
//! assert_eq!((stats.keys, stats.old_versions, stats.open), (1, 0, 0));
//! assert!(store.locks().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # What is not there
//!
//! No prepared transactions for a coordinator outside, no locks on ranges, no serializable isolation and no
//! read committed, no hooks between prewrite and decision, no column families, merges or deletions of ranges. A
//! [`PipelinedTransaction`] is optimistic, and has no savepoints, ranges, locks or flags.

pub mod buffer;
mod db;
mod error;
pub mod flags;
mod key_display;
pub mod lock;
mod metrics;
mod mutant;
mod spin;
pub mod store;
mod sync;
pub mod transaction;
mod wake;
mod worker;

#[cfg(untorn_loom)]
#[doc(hidden)]
#[path = "model.rs"]
pub mod __model;

pub use buffer::{Entry, MemBuffer};
pub use db::{
    BlockingDb, BlockingSnapshot, Cause, Closed, Db, DbSnapshot, RetryPolicy, SnapshotRange,
};
pub use error::{ConflictReason, Error, Loss, TxnState};
pub use flags::{Assertion, FlagOp, KeyFlags};
pub use key_display::{DisplayKey, MAX_PRINTED};
pub use lock::{LockError, LockTable};
pub use store::{AssertionLevel, ForUpdate, MemStore, SafePoint, Store, Timestamp};
pub use transaction::{
    BeginOptions, CancelToken, CommitInfo, CommitOptions, Keep, LockOptions, LockOutcome, Mode,
    MutationFilter, OnDrop, PipelinedOptions, PipelinedTransaction, RangeLockOptions,
    StatementView, Transaction, UnlockedWrites,
};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
