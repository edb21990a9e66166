//! Reads at a timestamp.

use super::{Engine, Key, Kind};
use bytes::Bytes;
use std::ops::Bound;
use untorn_txn::store::Timestamp;
use untorn_txn::store::tikv::proto::kvrpcpb::{KeyError, KvPair, ScanRequest};

impl Engine {
    /// The value at a timestamp, unless a lock is in the way that the reader has not resolved.
    pub(crate) fn get(
        &mut self,
        key: &Bytes,
        at: Timestamp,
        resolved: &[u64],
    ) -> Result<Option<Bytes>, KeyError> {
        self.max_ts = self.max_ts.max(at);
        let Some(known) = self.keys.get(key) else {
            return Ok(None);
        };
        blocked(key, known, at, resolved).map_or(Ok(known.value_at(at).cloned()), Err)
    }

    pub(crate) fn scan(&mut self, request: &ScanRequest, resolved: &[u64]) -> Vec<KvPair> {
        self.max_ts = self.max_ts.max(request.version);
        let (lower, upper) = if request.reverse {
            (&request.end_key, &request.start_key)
        } else {
            (&request.start_key, &request.end_key)
        };
        // From the back, TiKV takes an upper border that is empty for the first key of all.
        if (request.reverse || !upper.is_empty()) && lower >= upper {
            return Vec::new();
        }
        let end = if upper.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(upper.clone())
        };
        let range = self.keys.range((Bound::Included(lower.clone()), end));
        let seen =
            |(key, known): (&Bytes, &Key)| match blocked(key, known, request.version, resolved) {
                Some(error) => Some(KvPair {
                    error: Some(error),
                    key: key.clone(),
                    value: Bytes::new(),
                }),
                None => known.value_at(request.version).map(|value| KvPair {
                    error: None,
                    key: key.clone(),
                    value: value.clone(),
                }),
            };
        let limit = request.limit as usize;
        if request.reverse {
            range.rev().filter_map(seen).take(limit).collect()
        } else {
            range.filter_map(seen).take(limit).collect()
        }
    }
}

fn blocked(key: &Bytes, known: &Key, at: Timestamp, resolved: &[u64]) -> Option<KeyError> {
    let blocks = known.locks.iter().filter(|lock| {
        matches!(lock.kind, Kind::Put(_) | Kind::Delete)
            && lock.start <= at
            && lock.min_commit_ts <= at
            && !resolved.contains(&lock.start)
    });
    super::locked(key, blocks)
}
