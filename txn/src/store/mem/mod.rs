//! The embedded store: many versions of every key, on the memtable.
//!
//! # What there is
//!
//! Three tables and one map:
//!
//! - `newest`: user key -> the newest record of the key, committed or an *intent* (put down by a
//!   transaction that is not resolved yet). A read of recent data is one lookup, a scan of recent data is a
//!   scan of this table alone.
//! - `history`: encoded user key and inverted commit timestamp -> the committed records that a newer one
//!   replaced, newest first. One seek finds the version for an older timestamp.
//! - `touched`: user key -> commit and start timestamp of the newest committed `Lock`. Conflict checks see
//!   it, readers do not.
//! - `transactions`: start timestamp -> the open transaction, with its decision word.
//!
//! How the last tens of thousands of transactions ended is remembered besides, for requests that come twice or late.
//!
//! The lock table makes writers of one key exclude each other: who changes `newest`, `history` or
//! `touched` for a key holds its lock (the collector too, where it removes what somebody could write).
//! Readers take no lock.
//!
//! # How a transaction T commits
//!
//! 1. *Lock.* T gets the lock on every key of its mutations that it does not hold yet.
//! 2. *Check.* While it holds the lock no intent of another is there, so the newest commit of the key is
//!    the larger of `newest` and `touched`. Newer than T's start: `WriteConflict`.
//! 3. *Put down.* The committed record is copied into `history`, and only then replaced in `newest` by T's
//!    intent, in place, by one compare-and-swap. The key is in `newest` throughout.
//! 4. *Decide.* T draws a timestamp C and sets its decision word from undecided to *committed at C* by one
//!    compare-and-swap. This is the commit, for all keys at once.
//! 5. *Resolve.* Each intent is replaced in place by the record *committed at C*. `Lock`s enter C into
//!    `touched`. Then T leaves `transactions`, and its locks are released.
//!
//! A rollback decides *rolled back* instead, and puts each record back before it takes the copy out of
//! `history`.
//!
//! A pipelined transaction does steps 1 to 3 for each of its generations, as long as it goes on: an intent of its own is
//! replaced in place, and what was committed below it stays in `history`. Steps 4 and 5 are the same.
//!
//! # How a reader at S reads
//!
//! It looks the key up in `newest`. A record committed at or before S is the answer; for one after S the
//! answer is in `history`. If it meets an intent it asks the writer's decision word, and if that is still
//! open, raises its minimum above S in the same word: the writer's compare-and-swap in step 4 fails if its
//! C is not above that, and it draws another. So nobody waits, and the intent is not visible at S, now and
//! forever. An intent whose writer is gone was resolved meanwhile: the reader looks again. After it went to
//! `history` because of an undecided or rolled back intent it looks whether that intent still stands, since a
//! rollback takes the copy out.
//!
//! # Why it is atomic
//!
//! Let T commit at C and a reader read at S, both drawn from the one oracle word. If S > C, then S was drawn
//! after C, which was drawn after all intents were put down; drawing is acquire and release, so the reader
//! finds in every key T's intent or what came after it, and the word says *committed* or is raised above S,
//! which would contradict C < S. It sees all of T. If S < C, whatever form it meets says C, or is
//! undecided, and it sees nothing of T. What the reader's scan cannot know of, because the key came after
//! the scan loaded a part of the table, was put down after S was drawn: its C is above S.
//!
//! A transaction begun after `commit` returned draws above C, and sees T whole.
//!
//! # What is forgotten
//!
//! The *safe point* is the oldest timestamp at which an open transaction may still read. A commit
//! that replaces, deletes or touches a key enters the key into a queue; once the safe point reached
//! the commit, everything of the key that is older can go: it is *ripe*. Every commit takes twice as many keys out of
//! the queue as it put in, as far as they are ripe, so that what is kept is bounded by what open
//! transactions can see. Once a long snapshot is gone more may be ripe than commits take along, and a store that is
//! only read has none: then a thread is started, which takes the rest in steps and ends.
//! [`MemStore::collect`] takes all at once. A deleted or touched key is taken out under its lock.
//!
//! With a [largest age](MemStoreOptions::max_snapshot_age) the safe point does not wait for older ones: their reads
//! are refused from then on, and so is a commit that would have to look for conflicts since then.
//!
//! # What lasts
//!
//! Nothing, unless the store is [opened](MemStore::open) in a directory: then what was put down is in a write-ahead
//! [log] there before step 4, which the log's thread makes.

mod asked;
mod collect;
mod collector;
mod commit;
mod core;
mod decision;
mod ended;
mod flush;
mod lease;
mod live;
mod locks;
pub mod log;
mod options;
mod prewrite_locks;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod transactions;
use self::core::Core;
use super::oracle::COUNTER_BITS;
use super::{
    Answer, Begin, Flush, LockAnswers, LockKey, LockTerms, Pairs, Prewrite, Prewritten, SafePoint,
    ScanRequest, Store, Timestamp, TxnStatus,
};
use crate::Entry;
use crate::lock::LockTable;
use crate::sync::JoinHandle;
use bytes::Bytes;
use ended::End;
pub use ended::Forgotten;
use live::Held;
pub use log::{LogFailure, LogOptions, OpenError, SyncMode};
pub use options::{MemStoreOptions, MemStoreStats};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The embedded store. See the [module](self) for how it works.
///
/// Reads and [`begin`](Store::begin) never wait for a transaction; they share short mutexes and the shards of
/// a map with others. Data lives as long as the store; of one that is [opened](Self::open) in a directory it is in a
/// log there besides, from which the next opening has it again.
///
/// Dropping a store that has a log waits for the last sync, and for a checkpoint that is being written.
pub struct MemStore {
    core: Arc<Core>,
    /// The thread that writes the log.
    log: Option<JoinHandle<()>>,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_options(MemStoreOptions::default())
    }

    /// An empty store.
    pub fn with_options(options: MemStoreOptions) -> Self {
        Self {
            core: Core::new(&options, None),
            log: None,
        }
    }

    /// A store whose commits are in a write-ahead log in the directory `path` before they are visible: what was
    /// committed there before is in it. The directory is made where there is none. See [`log`] for what is promised, and
    /// [`SyncMode`] for what is promised less.
    ///
    /// All data must fit into memory. Opening reads the last checkpoint and the log since, in one thread. A commit
    /// takes a sync of the disk, which commits of the same time share.
    ///
    /// The directory is free again once the store is dropped. A [`Db`](crate::Db) may hold it for work in the background:
    /// [`Db::close`](crate::Db::close) ends that.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use untorn_txn::store::mem::LogOptions;
    /// use untorn_txn::{BeginOptions, Db, MemStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("accounts");
    /// let db = Db::new(Arc::new(MemStore::open(&path, LogOptions::default())?));
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// txn.put("alice", "100")?;
    /// txn.blocking().commit()?;
    /// drop((txn, db));
    ///
    /// let db = Db::new(Arc::new(MemStore::open(&path, LogOptions::default())?));
    /// let reader = db.blocking().snapshot()?;
    /// assert_eq!(reader.blocking().get("alice")?.as_deref(), Some(&b"100"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<Self, OpenError> {
        let (core, thread) = log::open(path.as_ref(), options)?;
        Ok(Self {
            core,
            log: Some(thread),
        })
    }

    /// The locks, to look at: who holds, who waits, counters.
    pub fn locks(&self) -> &LockTable {
        &self.core.locks
    }

    /// What is held at the moment. The numbers are read one after another.
    pub fn stats(&self) -> MemStoreStats {
        self.core.stats()
    }

    /// Drops everything that no open transaction and no snapshot can see; says how many records. The store does the same by
    /// itself, bit by bit; this is for who wants it done by now. What another thread has in hand it leaves to that.
    pub fn collect(&self) -> usize {
        self.core.collect_some(usize::MAX).dropped
    }
}

impl Drop for MemStore {
    fn drop(&mut self) {
        if let Some(thread) = self.log.take() {
            if let Some(queue) = &self.core.log {
                queue.end();
            }
            // A waker that the log's thread drops may own the last handle: it cannot join itself.
            if !thread.is_current() {
                drop(thread.join());
            }
        }
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemStore {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        Answer::ready(self.core.enter(begin))
    }

    fn timestamp(&self) -> Answer<'_, Timestamp> {
        Answer::ready(Ok(self.core.oracle.next()))
    }

    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        Answer::ready(self.core.hold_view(at))
    }

    fn let_go(&self, at: Timestamp) {
        self.core.let_go(Held::given(at));
    }

    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        Answer::ready(self.core.read(key, at))
    }

    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        Answer::ready(keys.iter().map(|key| self.core.read(key, at)).collect())
    }

    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        Answer::ready(self.core.read_range(request))
    }

    fn first_batch(&self) -> usize {
        16
    }

    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        self.core.lock_keys(start, keys, terms)
    }

    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        self.core.give_back(start, &locks);
        Answer::ready(Ok(()))
    }

    fn stop_locking(&self, start: Timestamp) {
        if let Ok(open) = self.core.open(start) {
            self.core.stop_asking(&open);
        }
    }

    fn heartbeat(&self, start: Timestamp, _: Bytes, ttl: Duration) -> Answer<'_, ()> {
        Answer::ready(
            self.core
                .open(start)
                .map(|open| self.core.renew(&open, ttl)),
        )
    }

    fn status(&self, start: Timestamp, _: Bytes) -> Answer<'_, TxnStatus> {
        Answer::ready(self.core.status_of(start))
    }

    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        Answer::waiting(async move {
            let open = self.core.open(start)?;
            self.core.renew(&open, request.ttl);
            self.core.lock_all(&open, request).await?;
            self.core.put_down(&open, request)?;
            Ok(Prewritten::Undecided)
        })
    }

    fn takes_flushes(&self) -> bool {
        true
    }

    fn flush<'a>(&'a self, start: Timestamp, request: &'a Flush) -> Answer<'a, ()> {
        Answer::waiting(async move {
            let open = self.core.open(start)?;
            self.core.renew(&open, request.prewrite.ttl);
            self.core.lock_all(&open, &request.prewrite).await?;
            self.core.put_generation_down(&open, request)
        })
    }

    fn flushed<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [Bytes],
    ) -> Answer<'a, Vec<Option<Entry>>> {
        Answer::ready(self.core.flushed(start, keys))
    }

    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        self.core.decide(start)
    }

    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        match self.core.take_back(start) {
            Ok(None) => Answer::ready(Ok(())),
            Ok(Some(waiting)) => Answer::waiting(async move {
                let time = waiting.await?;
                Err(End::Committed(time).closed())
            }),
            Err(error) => Answer::ready(Err(error)),
        }
    }

    fn safe_point(&self) -> Answer<'_, SafePoint> {
        // Drawn first: where nothing is open, the safe point is now.
        let now = self.core.oracle.next();
        self.core.live.advance(&self.core.oracle);
        let at = self.core.live.safe_point();
        let age = (now >> COUNTER_BITS).saturating_sub(at >> COUNTER_BITS);
        Answer::ready(Ok(SafePoint {
            at,
            age: Duration::from_millis(age),
        }))
    }
}

impl fmt::Debug for MemStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemStore").field(&self.stats()).finish()
    }
}
