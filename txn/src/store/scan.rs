//! A range of a store at one timestamp, in batches.

use super::{Pairs, ScanRequest, Store, Timestamp};
use crate::Error;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// Keys that one request asks for, unless the first one asked for more.
pub(crate) const BATCH: usize = 256;

/// By how much each request asks for more than the one before.
const GROWTH: usize = 4;

/// What lies between two keys.
pub(crate) type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// Copies of bounds.
pub(crate) fn owned_bounds<K: AsRef<[u8]>>(bounds: impl RangeBounds<K>) -> Bounds {
    let owned = |key: &K| Bytes::copy_from_slice(key.as_ref());
    (
        bounds.start_bound().map(owned),
        bounds.end_bound().map(owned),
    )
}

/// Narrows bounds to what comes behind `key`, in order or from the back.
pub(crate) fn pass(bounds: &mut Bounds, key: &Bytes, reverse: bool) {
    let end = if reverse {
        &mut bounds.1
    } else {
        &mut bounds.0
    };
    *end = Bound::Excluded(key.clone());
}

/// The keys of a store within bounds, with their values as they were at one timestamp. Nothing is asked before the
/// first [`fill`](Self::fill).
pub(crate) struct Scan {
    at: Timestamp,
    reverse: bool,
    /// How many keys the next request asks for.
    batch: usize,
    ahead: VecDeque<(Bytes, Bytes)>,
    /// Where the next batch goes on; `None` once the store has no more.
    more: Option<Bounds>,
    has_begun: bool,
}

impl Scan {
    /// The first request asks for `batch` keys.
    pub(crate) fn new(bounds: Bounds, at: Timestamp, batch: usize) -> Self {
        Self {
            at,
            reverse: false,
            batch,
            ahead: VecDeque::new(),
            more: Some(bounds),
            has_begun: false,
        }
    }

    /// From the other end, if nothing was asked yet.
    pub(crate) fn rev(mut self) -> Self {
        self.reverse ^= !self.has_begun;
        self
    }

    pub(crate) fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// Has the next batch, if there may be more and none is ahead.
    pub(crate) async fn fill(&mut self, store: &dyn Store) -> Result<(), Error> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        // Left in place until the answer is there: this future may be dropped and called again.
        let Some(bounds) = self.more.clone() else {
            return Ok(());
        };
        self.has_begun = true;
        let (lower, upper) = bounds;
        let request = ScanRequest {
            lower,
            upper,
            at: self.at,
            limit: self.batch,
            reverse: self.reverse,
        };
        let pairs: Pairs = store.scan(&request).await?;
        let last = pairs.last().filter(|_| pairs.len() == request.limit);
        self.more = last.map(|(last, _)| {
            let mut more = (request.lower, request.upper);
            pass(&mut more, last, self.reverse);
            more
        });
        self.batch = self.batch.max(BATCH.min(self.batch.saturating_mul(GROWTH)));
        self.ahead = pairs.into();
        Ok(())
    }

    /// The next key, of the batch that is there.
    pub(crate) fn peek(&self) -> Option<&Bytes> {
        self.ahead.front().map(|(key, _)| key)
    }

    /// The next key and its value, of the batch that is there.
    pub(crate) fn take(&mut self) -> Option<(Bytes, Bytes)> {
        self.ahead.pop_front()
    }
}
