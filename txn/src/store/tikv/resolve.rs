//! Locks of others that are in the way.
//!
//! The lock's primary tells how its transaction stands ([`CheckTxnStatus`](CheckTxnStatusRequest)):
//!
//! - *committed* or *rolled back*: the lock is resolved accordingly, here and now;
//! - *dead*, its time to live over without a decision: the primary is rolled back by the question itself, and the
//!   lock after it. One of async commit is decided by its secondaries: if every one of them was put down, it is
//!   committed at the largest of their timestamps, else it is rolled back;
//! - *alive*: a reader has pushed its commit timestamp above its own, and passes the lock over; a writer has to wait.
//!
//! How a transaction ended never changes, so it is remembered for its other locks. Locks of one transaction that are met together are
//! asked for once and go together, by their names. A request for all that a region holds of a transaction looks through all of its locks:
//! only who is told of one lock at a time, and of one transaction again and again, makes that.
//!
//! A lock whose primary is nowhere to be found may have been sent before its primary was: it is rolled back only
//! when its own time to live is over. To a pessimistic prewrite TiKV does not tell that time: the primary then gets
//! a moment to come.
//!
//! A pessimistic lock may be left over from before its transaction chose another primary. The key that it names tells so, and
//! only that lock is released.

use super::TikvError;
use super::cluster::Cluster;
use super::proto::kvrpcpb::{
    Action, CheckSecondaryLocksRequest, CheckTxnStatusRequest, CheckTxnStatusResponse, LockInfo,
    Op, PessimisticRollbackRequest, ResolveLockRequest,
};
use crate::DisplayKey;
use crate::store::{COUNTER_BITS, Timestamp};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// For how long a primary may come after the other locks of a prewrite, where nothing else is known.
const UNTIL_IT_COMES: Duration = Duration::from_millis(300);

/// How often one transaction is met, one lock at a time, before all go that a region holds of it.
const MANY: usize = 16;

/// Who was met, how often, by one who is told of one lock at a time.
#[derive(Debug, Default)]
pub(super) struct Met(HashMap<Timestamp, usize>);

impl Met {
    fn is_often(&mut self, transaction: Timestamp) -> bool {
        let often = self.0.entry(transaction).or_default();
        *often += 1;
        *often > MANY
    }
}

/// How a lock that was in the way stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Resolved.
    Gone,
    /// A reader at the timestamp that was named may pass it over.
    Passed,
    /// Its transaction lives for so long from now on, if nothing is heard of it.
    Alive { left: Duration },
}

/// What a reader has passed over.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) transactions: Vec<u64>,
    pause: Duration,
}

impl Default for Passed {
    fn default() -> Self {
        Self {
            transactions: Vec::new(),
            pause: Duration::from_millis(1),
        }
    }
}

impl Passed {
    /// Waits for a transaction that cannot be pushed; it ends by itself, or by its time to live.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
    }
}

/// How a transaction ended, or that it has not.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    Committed(Timestamp),
    RolledBack,
    /// Its primary is locked.
    Locked {
        is_pushed: bool,
        ttl: Duration,
        primary: Option<Box<LockInfo>>,
    },
    /// Nothing was ever heard of it, and nothing was done.
    Unknown,
    /// The key that was asked is locked, and not its primary.
    Elsewhere,
}

/// A question about a transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct Inquiry {
    pub(super) primary: Bytes,
    pub(super) start: Timestamp,
    /// Of a reader whose way it is in.
    pub(super) reader: Timestamp,
    /// As of when its time to live is looked at.
    pub(super) now: Timestamp,
    pub(super) rolls_back_unknown: bool,
    pub(super) of_pessimistic_lock: bool,
    /// A transaction of async commit is treated as any other.
    pub(super) forces_sync: bool,
}

/// The locks that a lock stands for: a shared one for those of its holders.
pub(super) fn each(lock: LockInfo) -> Vec<LockInfo> {
    if lock.shared_lock_infos.is_empty() {
        return vec![lock];
    }
    let key = lock.key;
    let own = lock.shared_lock_infos.into_iter();
    own.map(|holder| LockInfo {
        key: key.clone(),
        ..holder
    })
    .collect()
}

pub(super) fn is_pessimistic(lock: &LockInfo) -> bool {
    lock.lock_type == Op::PessimisticLock as i32
        || lock.lock_type == Op::SharedPessimisticLock as i32
}

/// When the time to live that counts from `start` is over, and how long that is from `now`.
pub(super) fn left_of(start: Timestamp, ttl_ms: u64, now: Timestamp) -> Duration {
    let end = (start >> COUNTER_BITS).saturating_add(ttl_ms);
    Duration::from_millis(end.saturating_sub(now >> COUNTER_BITS))
}

impl Cluster {
    /// Looks at the transactions of locks, for a reader at a timestamp or, with zero, for a writer. Gives one lock of each with how
    /// it stands.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        locks: impl IntoIterator<Item = LockInfo>,
        reader: Timestamp,
    ) -> Result<Vec<(LockInfo, Found)>, TikvError> {
        self.resolve_met(locks, reader, &mut Met::default()).await
    }

    /// As [`resolve`](Self::resolve), for one who is told of one lock at a time.
    pub(super) async fn resolve_met(
        self: &Arc<Self>,
        locks: impl IntoIterator<Item = LockInfo>,
        reader: Timestamp,
        met: &mut Met,
    ) -> Result<Vec<(LockInfo, Found)>, TikvError> {
        let mut alike: BTreeMap<_, Vec<LockInfo>> = BTreeMap::new();
        for lock in locks {
            // Of two pessimistic ones that name different primaries one may be left over.
            let primary = is_pessimistic(&lock).then(|| lock.primary_lock.clone());
            alike
                .entry((lock.lock_version, primary))
                .or_default()
                .push(lock);
        }
        let mut found = Vec::with_capacity(alike.len());
        for locks in alike.into_values() {
            let Some(lock) = locks.iter().max_by_key(|lock| lock.lock_ttl).cloned() else {
                continue;
            };
            let stands = match self.settle(&lock, reader).await? {
                Ok(decided) => {
                    let with_all = met.is_often(lock.lock_version);
                    self.clear(locks, decided, with_all).await?;
                    Found::Gone
                }
                Err(stands) => stands,
            };
            found.push((lock, stands));
        }
        Ok(found)
    }

    /// Finds out how the transaction of a lock ended, and has it end if it is dead; or how it stands.
    async fn settle(
        self: &Arc<Self>,
        lock: &LockInfo,
        reader: Timestamp,
    ) -> Result<Result<Timestamp, Found>, TikvError> {
        if let Some(decided) = self.decided.of(lock.lock_version) {
            return Ok(Ok(decided));
        }
        let now = self.timestamp().await?;
        let left = left_of(lock.lock_version, lock.lock_ttl, now);
        let inquiry = Inquiry {
            primary: lock.primary_lock.clone(),
            start: lock.lock_version,
            reader,
            now,
            of_pessimistic_lock: is_pessimistic(lock),
            ..Inquiry::default()
        };
        let mut standing = self.inquire(&inquiry).await?;
        if standing == Standing::Unknown {
            if !left.is_zero() {
                return Ok(Err(Found::Alive { left }));
            }
            if lock.lock_ttl == 0 {
                tokio::time::sleep(UNTIL_IT_COMES).await;
            }
            standing = self
                .inquire(&Inquiry {
                    rolls_back_unknown: true,
                    ..inquiry.clone()
                })
                .await?;
        }
        let decided = match standing {
            Standing::Committed(at) => at,
            Standing::RolledBack | Standing::Unknown => 0,
            // Left over from before the transaction chose another primary. One that was written names the right one.
            Standing::Elsewhere if is_pessimistic(lock) => 0,
            Standing::Elsewhere => return Err(strayed(&inquiry)),
            Standing::Locked {
                primary: Some(primary),
                ..
            } if primary.use_async_commit
                && left_of(primary.lock_version, primary.lock_ttl, now).is_zero() =>
            {
                match self.decide_by_secondaries(&primary, &inquiry).await? {
                    Standing::Committed(at) => at,
                    Standing::RolledBack => 0,
                    _ => {
                        return Ok(Err(Found::Alive {
                            left: Duration::ZERO,
                        }));
                    }
                }
            }
            Standing::Locked {
                is_pushed: true, ..
            } if reader != 0 => return Ok(Err(Found::Passed)),
            Standing::Locked { ttl, .. } => return Ok(Err(Found::Alive { left: ttl })),
        };
        if !is_pessimistic(lock) {
            self.decided.note(lock.lock_version, decided);
        }
        Ok(Ok(decided))
    }

    /// Asks a transaction's primary.
    pub(super) async fn inquire(&self, inquiry: &Inquiry) -> Result<Standing, TikvError> {
        let request = CheckTxnStatusRequest {
            context: None,
            primary_key: inquiry.primary.clone(),
            lock_ts: inquiry.start,
            caller_start_ts: inquiry.reader,
            current_ts: inquiry.now,
            rollback_if_not_exist: inquiry.rolls_back_unknown,
            force_sync_commit: inquiry.forces_sync,
            resolving_pessimistic_lock: inquiry.of_pessimistic_lock,
            verify_is_primary: true,
        };
        let answer = self
            .at_key(&inquiry.primary, &request, Duration::ZERO)
            .await?;
        standing_of(answer, inquiry)
    }

    /// What becomes of a transaction of async commit whose owner says no more: asked of its secondaries, one of which that
    /// is not put down cannot be any more after the question.
    pub(super) async fn decide_by_secondaries(
        self: &Arc<Self>,
        primary: &LockInfo,
        inquiry: &Inquiry,
    ) -> Result<Standing, TikvError> {
        let secondaries: BTreeSet<Bytes> = primary.secondaries.iter().cloned().collect();
        let make = |keys: &[Bytes]| CheckSecondaryLocksRequest {
            context: None,
            keys: keys.to_vec(),
            start_version: inquiry.start,
        };
        let answers = self
            .spread(secondaries.into_iter().collect(), make, Duration::ZERO)
            .await?;
        let mut min_commit_ts = primary.min_commit_ts;
        for (keys, answer) in answers {
            if answer.commit_ts != 0 {
                return Ok(Standing::Committed(answer.commit_ts));
            }
            if answer.locks.iter().any(|lock| !lock.use_async_commit) {
                // It fell back to two phases: only the primary decides.
                let inquiry = Inquiry {
                    forces_sync: true,
                    ..inquiry.clone()
                };
                return self.inquire(&inquiry).await;
            }
            if answer.locks.len() < keys.len() {
                min_commit_ts = 0;
                break;
            }
            let least = answer.locks.iter().map(|lock| lock.min_commit_ts).max();
            min_commit_ts = min_commit_ts.max(least.unwrap_or(0));
        }
        let request = ResolveLockRequest {
            context: None,
            start_version: inquiry.start,
            commit_version: min_commit_ts,
            keys: vec![inquiry.primary.clone()],
        };
        let answer = self
            .at_key(&inquiry.primary, &request, Duration::ZERO)
            .await?;
        match (answer.error, min_commit_ts) {
            (None, 0) => Ok(Standing::RolledBack),
            (None, at) => Ok(Standing::Committed(at)),
            // Somebody else has decided meanwhile.
            (Some(_), _) => self.inquire(inquiry).await,
        }
    }

    /// Resolves locks of a transaction that was committed at a timestamp or, with zero, rolled back: either all are pessimistic, or none.
    /// `with_all` is whether all others go that were put down in the same regions.
    async fn clear(
        self: &Arc<Self>,
        locks: Vec<LockInfo>,
        decided: Timestamp,
        with_all: bool,
    ) -> Result<(), TikvError> {
        let Some(first) = locks.first() else {
            return Ok(());
        };
        let start_version = first.lock_version;
        tracing::debug!(
            start_ts = start_version,
            decided,
            count = locks.len(),
            "locks are resolved"
        );
        if is_pessimistic(first) {
            return self.clear_pessimistic(start_version, locks).await;
        }
        let keys: BTreeSet<Bytes> = locks.into_iter().map(|lock| lock.key).collect();
        let keys = keys.into_iter().collect();
        let make = |keys: &[Bytes]| ResolveLockRequest {
            context: None,
            start_version,
            commit_version: decided,
            keys: if with_all { Vec::new() } else { keys.to_vec() },
        };
        let answers = self.spread(keys, make, Duration::ZERO).await?;
        let mut errors = answers.into_iter().filter_map(|(_, answer)| answer.error);
        match errors.next() {
            None => Ok(()),
            Some(error) => Err(refused("a resolved lock", error)),
        }
    }

    /// Releases pessimistic locks of a transaction, each as of its own timestamp: one that was taken anew meanwhile stays.
    async fn clear_pessimistic(
        self: &Arc<Self>,
        start_version: Timestamp,
        locks: Vec<LockInfo>,
    ) -> Result<(), TikvError> {
        let mut keys_of: BTreeMap<_, BTreeSet<Bytes>> = BTreeMap::new();
        for lock in locks {
            let at = lock.lock_for_update_ts.max(start_version);
            keys_of.entry(at).or_default().insert(lock.key);
        }
        for (for_update_ts, keys) in keys_of {
            let make = |keys: &[Bytes]| PessimisticRollbackRequest {
                context: None,
                start_version,
                for_update_ts,
                keys: keys.to_vec(),
            };
            let keys = keys.into_iter().collect();
            let answers = self.spread(keys, make, Duration::ZERO).await?;
            let mut errors = answers.into_iter().flat_map(|(_, answer)| answer.errors);
            if let Some(error) = errors.next() {
                return Err(refused("a pessimistic rollback", error));
            }
        }
        Ok(())
    }
}

fn standing_of(answer: CheckTxnStatusResponse, inquiry: &Inquiry) -> Result<Standing, TikvError> {
    if let Some(error) = answer.error {
        if error.txn_not_found.is_some() {
            return Ok(Standing::Unknown);
        }
        if error.primary_mismatch.is_some() {
            return Ok(Standing::Elsewhere);
        }
        return Err(refused("a transaction's status", error));
    }
    if answer.commit_version != 0 {
        return Ok(Standing::Committed(answer.commit_version));
    }
    if answer.lock_ttl == 0 {
        return Ok(Standing::RolledBack);
    }
    Ok(Standing::Locked {
        is_pushed: answer.action == Action::MinCommitTsPushed as i32,
        ttl: left_of(inquiry.start, answer.lock_ttl, inquiry.now),
        primary: answer.lock_info.map(Box::new),
    })
}

/// The error of a primary that says that it is none.
pub(super) fn strayed(inquiry: &Inquiry) -> TikvError {
    let primary = DisplayKey(&inquiry.primary);
    TikvError::Protocol {
        what: format!(
            "{primary} is not the primary of transaction {}",
            inquiry.start
        ),
    }
}

pub(super) fn refused(what: &str, error: super::proto::kvrpcpb::KeyError) -> TikvError {
    TikvError::Protocol {
        what: format!("{what} was refused: {error:?}"),
    }
}
