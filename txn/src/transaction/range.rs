//! Ranges: the buffer over the store.
//!
//! The store's part is as of the start timestamp and comes in batches; the buffer is asked anew for each item,
//! for its first write behind the last key yielded and up to the store's next one. That write is next if there is one,
//! in place of the store's where both are the same key, and a tombstone hides; else the store's is. So an item is never an old value that was overwritten or deleted here
//! before its `next` began, order is strict, and what is written behind the cursor is not seen.

use super::{Transaction, owned};
use crate::buffer::{BufferSnapshot, Entry};
use crate::error::Error;
use crate::store::ScanRequest;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// Keys that one request of the store asks for.
const BATCH: usize = 256;

/// Keys and values in order; made by [`Transaction::range`]. Holds the transaction.
pub struct Range {
    txn: Transaction,
    own: Own,
    /// What is still ahead; narrowed as the cursor moves.
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    reverse: bool,
    ahead: VecDeque<(Bytes, Bytes)>,
    /// Where the next batch goes on; `None` once the store has no more.
    more: Option<(Bound<Bytes>, Bound<Bytes>)>,
    ended: bool,
}

impl Transaction {
    /// The keys within `bounds` with their values, own writes over the store at the start timestamp. Nothing is
    /// read before the first `next`. An empty or inverted range yields nothing.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range::new(self, Own::Live, bounds)
    }
}

/// Where a range finds the transaction's own writes.
#[derive(Debug)]
pub(super) enum Own {
    /// In the buffer, as it is at each step.
    Live,
    /// In a view that stays the same.
    Fixed(BufferSnapshot),
}

impl Range {
    pub(super) fn new<K: AsRef<[u8]>>(
        txn: &Transaction,
        own: Own,
        bounds: impl RangeBounds<K>,
    ) -> Self {
        let lower = bounds.start_bound().map(owned);
        let upper = bounds.end_bound().map(owned);
        Self {
            txn: txn.clone(),
            own,
            more: Some((lower.clone(), upper.clone())),
            lower,
            upper,
            reverse: false,
            ahead: VecDeque::new(),
            ended: false,
        }
    }

    /// From the back. To be chosen before the first step; later it has no effect.
    #[must_use]
    pub fn rev(mut self) -> Self {
        if self.ahead.is_empty() && self.more.is_some() {
            self.reverse = !self.reverse;
        }
        self
    }

    /// The next key and its value.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::get`]; the range has ended then.
    #[allow(clippy::should_implement_trait)] // the asynchronous form of it
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        if self.ended {
            return Ok(None);
        }
        let step = self.step().await;
        self.ended = !matches!(step, Ok(Some(_)));
        step
    }

    async fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        loop {
            self.txn.core.life.check_open()?;
            self.fill().await?;
            // Up to the store's key and no further: keys that are only locked lie in the buffer too, and what lies
            // behind that key is looked at again in a later step.
            let stored = self.ahead.front().map(|(key, _)| key);
            let own = self.own(stored);
            let is_over_stored = own.as_ref().is_some_and(|(own, _)| Some(own) == stored);
            let (key, value) = match own {
                Some((key, entry)) => {
                    if is_over_stored {
                        self.ahead.pop_front();
                    }
                    (key, entry.into_value())
                }
                None => match self.ahead.pop_front() {
                    Some((key, value)) => (key, Some(value)),
                    None => return Ok(None),
                },
            };
            let passed = Bound::Excluded(key.clone());
            if self.reverse {
                self.upper = passed;
            } else {
                self.lower = passed;
            }
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
    }

    /// The first of the buffer's own writes ahead, up to the key `last` where there is one.
    fn own(&self, last: Option<&Bytes>) -> Option<(Bytes, Entry)> {
        let last = last.map(|key| Bound::Included(key.clone()));
        let mut bounds = (self.lower.clone(), self.upper.clone());
        if let Some(last) = last {
            *(if self.reverse {
                &mut bounds.0
            } else {
                &mut bounds.1
            }) = last;
        }
        match (&self.own, self.reverse) {
            (Own::Live, false) => self.txn.core.buffer.range(bounds).next(),
            (Own::Live, true) => self.txn.core.buffer.range(bounds).next_back(),
            (Own::Fixed(view), false) => view.range(bounds).next(),
            (Own::Fixed(view), true) => view.range(bounds).next_back(),
        }
    }

    /// Has the store's next batch, if there may be more and none is ahead.
    async fn fill(&mut self) -> Result<(), Error> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        // Left in place until the answer is there: this future may be dropped and called again.
        let Some((lower, upper)) = self.more.clone() else {
            return Ok(());
        };
        let request = ScanRequest {
            lower,
            upper,
            at: self.txn.core.start_ts,
            limit: BATCH,
            reverse: self.reverse,
        };
        let pairs = self.txn.core.store().scan(&request).await;
        let pairs = pairs.map_err(|error| self.txn.core.as_of_now(error))?;
        self.more = match pairs.last() {
            Some((last, _)) if pairs.len() == BATCH => {
                let passed = Bound::Excluded(last.clone());
                Some(if self.reverse {
                    (request.lower, passed)
                } else {
                    (passed, request.upper)
                })
            }
            _ => None,
        };
        self.ahead = pairs.into();
        Ok(())
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("reverse", &self.reverse)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
