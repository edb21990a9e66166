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
//! the commit, everything of the key that is older can go. Every commit takes twice as many keys out of
//! the queue as it put in, as far as they are ripe, so that what is kept is bounded by what open
//! transactions can see; [`MemStore::collect`] takes all that are. A deleted or touched key is taken out
//! under its lock.
//!
//! With a [largest age](MemStoreOptions::max_snapshot_age) the safe point does not wait for older ones: their reads
//! are refused from then on, and so is a commit that would have to look for conflicts since then.

mod collect;
mod commit;
mod decision;
mod ended;
mod lease;
mod live;
mod locks;
mod read;
mod record;
#[cfg(test)]
mod tests;

use super::oracle::{COUNTER_BITS, LARGEST, Oracle};
use super::{
    Answer, Begin, ForUpdate, LockKey, Locked, Pairs, Prewrite, Prewritten, SafePoint, ScanRequest,
    Store, Timestamp, TxnStatus,
};
use crate::error::Error;
use crate::lock::{LockTable, OwnerId};
use bytes::Bytes;
use collect::Garbage;
use commit::PutDown;
use dashmap::DashMap;
use decision::{Decision, Verdict};
pub use ended::Forgotten;
use ended::{End, Ended};
use lease::Lease;
use live::{Held, Live};
use locks::Asked;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use untorn_memtable::Memtable;

/// The collector's name in the lock table: older than every transaction.
const COLLECTOR: OwnerId = 0;

/// The embedded store. See the [module](self) for how it works.
///
/// Reads and [`begin`](Store::begin) never wait for a transaction; they share short mutexes and the shards of
/// a map with others. Data lives as long as the store: nothing is written to disk.
pub struct MemStore {
    oracle: Oracle,
    live: Live,
    newest: Memtable,
    history: Memtable,
    touched: Memtable,
    transactions: DashMap<Timestamp, Arc<Open>>,
    ended: Ended,
    locks: LockTable,
    garbage: Garbage,
    made: Instant,
}

/// What may be chosen for a [`MemStore`].
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
    /// How far an open transaction or snapshot may hold the safe point back. By default without end.
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

/// An open transaction.
#[derive(Debug)]
struct Open {
    held: Held,
    owner: Weak<()>,
    lease: Lease,
    decision: Decision,
    asked: Asked,
    put_down: Mutex<PutDown>,
}

/// A transaction as a request finds it.
enum Standing {
    Open(Arc<Open>),
    Ended(End),
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
    /// Open transactions and snapshots.
    pub open: usize,
    /// Replaced versions, deletions and touches that wait to be collected.
    pub uncollected: usize,
    /// Reads below it are refused.
    pub safe_point: Timestamp,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_options(MemStoreOptions::default())
    }

    /// An empty store.
    pub fn with_options(options: MemStoreOptions) -> Self {
        Self {
            oracle: Oracle::default(),
            live: Live::new(options.max_snapshot_age),
            newest: Memtable::new(),
            history: Memtable::new(),
            touched: Memtable::new(),
            transactions: DashMap::new(),
            ended: Ended::default(),
            locks: LockTable::new(),
            garbage: Garbage::default(),
            made: Instant::now(),
        }
    }

    /// The locks, to look at: who holds, who waits, counters.
    pub fn locks(&self) -> &LockTable {
        &self.locks
    }

    /// What is held at the moment. The numbers are read one after another.
    pub fn stats(&self) -> MemStoreStats {
        MemStoreStats {
            keys: self.newest.len(),
            old_versions: self.history.len(),
            touched: self.touched.len(),
            open: self.live.len(),
            uncollected: self.garbage.len(),
            safe_point: self.live.safe_point(),
        }
    }

    /// Drops everything that no open transaction can see; says how many records. Commits do the same bit
    /// by bit; this is for the time after a burst.
    pub fn collect(&self) -> usize {
        self.collect_some(usize::MAX)
    }

    /// The transaction if it is open, else how it ended.
    fn standing(&self, start: Timestamp) -> Result<Standing, Error> {
        match self.transactions.view(&start, |_, open| Arc::clone(open)) {
            Some(open) => Ok(Standing::Open(open)),
            None => self.ended.of(start).map(Standing::Ended),
        }
    }

    fn open(&self, start: Timestamp) -> Result<Arc<Open>, Error> {
        match self.standing(start)? {
            Standing::Open(open) => Ok(open),
            Standing::Ended(end) => Err(end.closed()),
        }
    }

    fn status_of(&self, start: Timestamp) -> Result<TxnStatus, Error> {
        self.resolve(&[start]);
        Ok(match self.standing(start)? {
            Standing::Open(open) => match open.decision.verdict() {
                Verdict::Undecided => TxnStatus::Open,
                Verdict::Committed(time) => TxnStatus::Committed(time),
                Verdict::RolledBack => TxnStatus::RolledBack,
            },
            Standing::Ended(End::Committed(time)) => TxnStatus::Committed(time),
            Standing::Ended(End::RolledBack) => TxnStatus::RolledBack,
        })
    }

    fn enter(&self, begin: Begin) -> Result<Timestamp, Error> {
        let Begin { start_ts, owner } = begin;
        let open = |held| {
            Arc::new(Open {
                held,
                owner,
                lease: Lease::default(),
                decision: Decision::default(),
                asked: Asked::default(),
                put_down: Mutex::default(),
            })
        };
        let Some(at) = start_ts else {
            let held = self.live.hold_fresh(&self.oracle);
            self.transactions.insert(held.at, open(held));
            return Ok(held.at);
        };
        let newest = self.oracle.newest();
        let invalid = Error::InvalidTimestamp { given: at, newest };
        let is_taken = matches!(self.ended.of(at), Ok(End::Committed(_)));
        if at == 0 || at > newest || is_taken {
            return Err(invalid);
        }
        // The slot first: it makes sure that no other transaction of this name holds the timestamp.
        let mut vacant = false;
        let entered = self
            .transactions
            .entry(at)
            .or_try_insert_with(|| {
                vacant = true;
                self.live.hold_given(at).map(open)
            })
            .map(drop);
        match entered {
            Ok(()) if vacant => Ok(at),
            Ok(()) => Err(invalid),
            Err(safe_point) => Err(Error::SnapshotTooOld {
                start_ts: at,
                safe_point,
            }),
        }
    }

    /// A view at a timestamp holds that in the stripe of its number, whether it was drawn or given.
    fn hold_view(&self, given: Option<Timestamp>) -> Result<Timestamp, Error> {
        let drawn = given.is_none().then(|| self.live.hold_fresh(&self.oracle));
        let newest = self.oracle.newest();
        let at = given.or(drawn.map(|drawn| drawn.at)).unwrap_or(newest);
        let held = if at == 0 || at > newest {
            Err(Error::InvalidTimestamp { given: at, newest })
        } else {
            self.live
                .hold_given(at)
                .map(|held| held.at)
                .map_err(|safe_point| Error::SnapshotTooOld {
                    start_ts: at,
                    safe_point,
                })
        };
        drawn.into_iter().for_each(|drawn| self.live.release(drawn));
        held
    }

    /// Forgets a transaction that is decided and resolved, but for how it ended.
    fn leave(&self, open: &Open, end: End) {
        self.ended.note(open.held.at, end);
        self.transactions.remove(&open.held.at);
        self.live.release(open.held);
        self.release_locks(open);
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemStore {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        Answer::ready(self.enter(begin))
    }

    fn timestamp(&self) -> Answer<'_, Timestamp> {
        Answer::ready(Ok(self.oracle.next()))
    }

    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        Answer::ready(self.hold_view(at))
    }

    fn let_go(&self, at: Timestamp) {
        self.live.release(Held::given(at));
    }

    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        Answer::ready(self.read(key, at))
    }

    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        Answer::ready(keys.iter().map(|key| self.read(key, at)).collect())
    }

    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        Answer::ready(self.read_range(request))
    }

    fn lock(&self, start: Timestamp, request: LockKey) -> Answer<'_, Locked> {
        self.lock_key(start, request)
    }

    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        self.give_back(start, &locks);
        Answer::ready(Ok(()))
    }

    fn stop_locking(&self, start: Timestamp) {
        if let Ok(open) = self.open(start) {
            self.stop_asking(&open);
        }
    }

    fn heartbeat(&self, start: Timestamp, _: Bytes, ttl: Duration) -> Answer<'_, ()> {
        Answer::ready(self.open(start).map(|open| self.renew(&open, ttl)))
    }

    fn status(&self, start: Timestamp, _: Bytes) -> Answer<'_, TxnStatus> {
        Answer::ready(self.status_of(start))
    }

    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        Answer::waiting(async move {
            let open = self.open(start)?;
            self.renew(&open, request.ttl);
            self.lock_all(&open, request).await?;
            self.put_down(&open, request)?;
            Ok(Prewritten::Undecided)
        })
    }

    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        Answer::ready(self.decide(start))
    }

    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        Answer::ready(self.take_back(start))
    }

    fn safe_point(&self) -> Answer<'_, SafePoint> {
        // Drawn first: where nothing is open, the safe point is now.
        let now = self.oracle.next();
        self.live.advance(&self.oracle);
        let at = self.live.safe_point();
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

/// The largest timestamp that may be asked for.
fn in_range(at: Timestamp) -> bool {
    at < LARGEST
}

/// As of when a lock sees its key, if that is a timestamp that a transaction begun at `start` may name.
fn for_update_ts(
    for_update: ForUpdate,
    start: Timestamp,
    newest: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    match for_update {
        ForUpdate::Fresh => Ok(None),
        ForUpdate::At(given) if given < start || given > newest => {
            Err(Error::InvalidTimestamp { given, newest })
        }
        ForUpdate::At(given) => Ok(Some(given)),
    }
}
