//! The data: percolator over an ordered map.
//!
//! A key has what TiKV has in its three column families: locks, writes by commit timestamp (with the value in
//! place), and rollbacks by start timestamp. The functions of this module are the actions of TiKV's scheduler, one file
//! each, and give its errors; who calls them holds the engine's mutex, so each is one step.
//!
//! `max_ts` is the largest timestamp at which anybody has read. A commit that draws its timestamp here (async commit,
//! one-phase) draws above it, so no reader is overtaken.

mod commit;
mod flush;
mod pessimistic;
mod prewrite;
mod read;
mod status;

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{KeyError, LockInfo, Op};

pub(crate) use pessimistic::{Locking, conflict};

/// Every key that was ever touched.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    keys: BTreeMap<Bytes, Key>,
    max_ts: Timestamp,
    /// Whether prewrites may decide.
    pub(crate) decides: bool,
}

#[derive(Debug, Default)]
struct Key {
    /// One that is exclusive, or shared ones of different transactions.
    locks: Vec<Lock>,
    writes: BTreeMap<Timestamp, Write>,
    rollbacks: BTreeSet<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Put(Bytes),
    Delete,
    Lock,
    Pessimistic,
}

#[derive(Debug, Clone)]
struct Lock {
    kind: Kind,
    is_shared: bool,
    primary: Bytes,
    start: Timestamp,
    ttl_ms: u64,
    for_update_ts: Timestamp,
    min_commit_ts: Timestamp,
    /// Of an async commit; on the primary with the keys of all others.
    secondaries: Option<Vec<Bytes>>,
    txn_size: u64,
    /// Of a flush; zero of any other.
    generation: u64,
}

#[derive(Debug)]
struct Write {
    kind: Kind,
    start: Timestamp,
}

impl Lock {
    fn info(&self, key: &Bytes) -> LockInfo {
        let lock_type = match (&self.kind, self.is_shared) {
            (Kind::Put(_), _) => Op::Put,
            (Kind::Delete, _) => Op::Del,
            (Kind::Lock, false) => Op::Lock,
            (Kind::Lock, true) => Op::SharedLock,
            (Kind::Pessimistic, false) => Op::PessimisticLock,
            (Kind::Pessimistic, true) => Op::SharedPessimisticLock,
        };
        LockInfo {
            primary_lock: self.primary.clone(),
            lock_version: self.start,
            key: key.clone(),
            lock_ttl: self.ttl_ms,
            txn_size: self.txn_size,
            lock_type: lock_type as i32,
            lock_for_update_ts: self.for_update_ts,
            use_async_commit: self.secondaries.is_some(),
            min_commit_ts: self.min_commit_ts,
            secondaries: self.secondaries.clone().unwrap_or_default(),
            shared_lock_infos: Vec::new(),
        }
    }
}

impl Key {
    fn lock_of(&self, start: Timestamp) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.start == start)
    }

    fn lock_of_mut(&mut self, start: Timestamp) -> Option<&mut Lock> {
        self.locks.iter_mut().find(|lock| lock.start == start)
    }

    /// The locks of others that exclude `start`, which asks for a shared one or not.
    fn in_the_way(&self, start: Timestamp, is_shared: bool) -> impl Iterator<Item = &Lock> {
        self.locks
            .iter()
            .filter(move |lock| lock.start != start && !(is_shared && lock.is_shared))
    }

    fn set_lock(&mut self, lock: Lock) {
        self.locks.retain(|other| other.start != lock.start);
        self.locks.push(lock);
    }

    fn remove_lock(&mut self, start: Timestamp) {
        self.locks.retain(|lock| lock.start != start);
    }

    /// The newest commit, and when.
    fn newest(&self) -> Option<(Timestamp, &Write)> {
        self.writes.last_key_value().map(|(&at, write)| (at, write))
    }

    /// The commit of a transaction.
    fn commit_of(&self, start: Timestamp) -> Option<Timestamp> {
        let newer = self.writes.range(start..);
        newer
            .filter(|(_, write)| write.start == start)
            .map(|(&at, _)| at)
            .next()
    }

    fn value_at(&self, at: Timestamp) -> Option<&Bytes> {
        self.writes
            .range(..=at)
            .rev()
            .find_map(|(_, write)| match &write.kind {
                Kind::Put(value) => Some(Some(value)),
                Kind::Delete => Some(None),
                Kind::Lock | Kind::Pessimistic => None,
            })?
    }

    fn roll_back(&mut self, start: Timestamp) {
        self.remove_lock(start);
        self.rollbacks.insert(start);
    }
}

impl Engine {
    fn key(&mut self, key: &Bytes) -> &mut Key {
        self.keys.entry(key.clone()).or_default()
    }

    /// Whether nobody holds a lock on the key.
    pub(crate) fn is_free(&self, key: &Bytes) -> bool {
        self.keys.get(key).is_none_or(|key| key.locks.is_empty())
    }

    /// When a key was committed last.
    pub(crate) fn newest_commit(&self, key: &Bytes) -> Timestamp {
        self.keys
            .get(key)
            .and_then(Key::newest)
            .map_or(0, |(at, _)| at)
    }

    /// Every lock, for people and tests.
    pub(crate) fn locks(&self) -> Vec<LockInfo> {
        let keys = self.keys.iter();
        keys.flat_map(|(name, key)| key.locks.iter().map(|lock| lock.info(name)))
            .collect()
    }
}

/// The error of a key that others have locked.
fn locked<'a>(key: &Bytes, holders: impl Iterator<Item = &'a Lock>) -> Option<KeyError> {
    let mut infos: Vec<LockInfo> = holders.map(|lock| lock.info(key)).collect();
    let first = infos.first()?;
    let is_shared = first.lock_type == Op::SharedLock as i32
        || first.lock_type == Op::SharedPessimisticLock as i32;
    let info = if is_shared {
        LockInfo {
            key: key.clone(),
            lock_type: Op::SharedLock as i32,
            shared_lock_infos: infos,
            ..LockInfo::default()
        }
    } else {
        infos.swap_remove(0)
    };
    Some(KeyError {
        locked: Some(info),
        ..KeyError::default()
    })
}

/// An error that TiKV tells in words only.
fn aborted(words: String) -> KeyError {
    KeyError {
        abort: words,
        ..KeyError::default()
    }
}
