//! Reads at a timestamp. They take no lock and wait for nobody.

use super::core::{Core, in_range};
use super::decision::Verdict;
use super::record::{Record, decode_old, old_key};
use crate::Error;
use crate::store::{Pairs, ScanRequest, Timestamp};
use bytes::Bytes;
use std::ops::Bound;

impl Core {
    pub(super) fn read(&self, key: &[u8], at: Timestamp) -> Result<Option<Bytes>, Error> {
        self.readable(at)?;
        let value = self.visible(key, at);
        self.still_kept(at)?;
        Ok(value)
    }

    pub(super) fn read_range(&self, request: &ScanRequest) -> Result<Pairs, Error> {
        self.readable(request.at)?;
        let bounds = (bytes_of(&request.lower), bytes_of(&request.upper));
        let pinned = self.newest.pin();
        let mut items = pinned.range_all::<&[u8]>(bounds);
        let mut pairs = Pairs::new();
        while pairs.len() < request.limit {
            let next = if request.reverse {
                items.next_back()
            } else {
                items.next()
            };
            let Some(item) = next else { break };
            let record = Record::decode(item.tag, item.value);
            let value = if !record.intent && record.time <= request.at {
                record.value.map(Bytes::copy_from_slice)
            } else {
                self.visible(item.key, request.at)
            };
            if let Some(value) = value {
                pairs.push((Bytes::copy_from_slice(item.key), value));
            }
        }
        self.still_kept(request.at)?;
        Ok(pairs)
    }

    /// The value of `key` for a reader at `at`; see the module of the store for why it is the right one.
    fn visible(&self, key: &[u8], at: Timestamp) -> Option<Bytes> {
        let pinned = self.newest.pin();
        loop {
            let item = pinned.entry(key)?;
            let record = Record::decode(item.tag, item.value);
            if !record.intent {
                if record.time <= at {
                    return record.value.map(Bytes::copy_from_slice);
                }
                return self.replaced(key, at);
            }
            let writer = self.transactions.find(record.start);
            match writer.map(|writer| writer.decision.observe(at)) {
                // The writer is gone, so the intent was resolved since we looked.
                None => continue,
                Some(Verdict::Committed(time)) if time <= at => {
                    return record.value.map(Bytes::copy_from_slice);
                }
                Some(Verdict::Committed(_)) => return self.replaced(key, at),
                Some(Verdict::Undecided | Verdict::RolledBack) => {
                    let value = self.replaced(key, at);
                    let stands = pinned.entry(key).is_some_and(|item| {
                        let now = Record::decode(item.tag, item.value);
                        now.intent && now.start == record.start
                    });
                    if stands {
                        return value;
                    }
                }
            }
        }
    }

    /// The newest version in the history at or before `at`.
    fn replaced(&self, key: &[u8], at: Timestamp) -> Option<Bytes> {
        let pinned = self.history.pin();
        let item = pinned
            .range_all(old_key(key, at)..=old_key(key, 0))
            .next()?;
        let (_, value) = decode_old(item.tag, item.value);
        value.map(Bytes::copy_from_slice)
    }

    /// Only timestamps that were given out: a commit in the future could still become visible at others.
    fn readable(&self, at: Timestamp) -> Result<(), Error> {
        let newest = self.oracle.newest();
        if at > newest || !in_range(at) {
            return Err(Error::InvalidTimestamp { given: at, newest });
        }
        Ok(())
    }

    /// Asked after the reading: the safe point moves before anything is dropped.
    pub(super) fn still_kept(&self, at: Timestamp) -> Result<(), Error> {
        let safe_point = self.live.safe_point();
        if at < safe_point {
            return Err(Error::SnapshotTooOld {
                start_ts: at,
                safe_point,
            });
        }
        Ok(())
    }
}

fn bytes_of(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
