//! The second phase, and the ways out.

use super::{Engine, Key, Kind, Write, aborted};
use bytes::Bytes;
use std::ops::Bound;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{CommitTsExpired, KeyError};

impl Engine {
    /// Commits what a transaction has put down on these keys: all of it or, at an error, nothing.
    pub(crate) fn commit(
        &mut self,
        keys: &[Bytes],
        start: Timestamp,
        at: Timestamp,
    ) -> Result<(), KeyError> {
        for name in keys {
            let key = self.key(name);
            match key.lock_of(start) {
                Some(lock) if at < lock.min_commit_ts => {
                    return Err(KeyError {
                        commit_ts_expired: Some(CommitTsExpired {
                            start_ts: start,
                            attempted_commit_ts: at,
                            key: name.clone(),
                            min_commit_ts: lock.min_commit_ts,
                        }),
                        ..KeyError::default()
                    });
                }
                None if key.commit_of(start).is_none() => {
                    return Err(aborted(format!(
                        "TxnLockNotFound {{ start_ts: {start}, commit_ts: {at} }}"
                    )));
                }
                _ => {}
            }
        }
        for name in keys {
            let key = self.key(name);
            if key.lock_of(start).is_some() {
                key.commit(start, at);
            }
        }
        Ok(())
    }

    /// Rolls a transaction back on these keys, so that nothing of it can come there any more.
    pub(crate) fn roll_back(&mut self, keys: &[Bytes], start: Timestamp) -> Result<(), KeyError> {
        for name in keys {
            if let Some(at) = self.key(name).commit_of(start) {
                return Err(aborted(format!(
                    "Committed {{ start_ts: {start}, commit_ts: {at} }}"
                )));
            }
        }
        for name in keys {
            self.key(name).roll_back(start);
        }
        Ok(())
    }

    /// The keys from one to another that a transaction has locked; without an end where that is empty.
    pub(crate) fn locked_by(&self, start: Timestamp, lower: &Bytes, upper: &Bytes) -> Vec<Bytes> {
        let end = match upper.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(upper.clone()),
        };
        let range = self.keys.range((Bound::Included(lower.clone()), end));
        let held = range.filter(|(_, key)| key.lock_of(start).is_some());
        held.map(|(name, _)| name.clone()).collect()
    }

    /// Does to locks of a transaction what was decided.
    pub(crate) fn resolve(
        &mut self,
        keys: &[Bytes],
        start: Timestamp,
        at: Timestamp,
    ) -> Result<(), KeyError> {
        if at == 0 {
            self.roll_back(keys, start)
        } else {
            self.commit(keys, start, at)
        }
    }
}

impl Key {
    pub(super) fn commit(&mut self, start: Timestamp, at: Timestamp) {
        let Some(lock) = self.lock_of(start).cloned() else {
            return;
        };
        self.remove_lock(start);
        // Holders of a shared lock may commit at one timestamp, and leave one trace of it.
        let kind = match lock.kind {
            Kind::Pessimistic => Kind::Lock,
            kind => kind,
        };
        self.writes.entry(at).or_insert(Write { kind, start });
    }
}
