//! Ranges: the buffer over the store.
//!
//! The store's part is as of the start timestamp and comes in batches; the buffer is asked anew for each item,
//! for its first key behind the last one yielded. The smaller of the two heads is next, the buffer's where both are
//! the same key, and its tombstones hide. So an item is never an old value that was overwritten or deleted here
//! before its `next` began, order is strict, and what is written behind the cursor is not seen.

use super::{Transaction, owned};
use crate::buffer::Entry;
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
        let lower = bounds.start_bound().map(owned);
        let upper = bounds.end_bound().map(owned);
        Range {
            txn: self.clone(),
            more: Some((lower.clone(), upper.clone())),
            lower,
            upper,
            reverse: false,
            ahead: VecDeque::new(),
            ended: false,
        }
    }
}

impl Range {
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
            let own = self.own();
            let stored = self.ahead.front().map(|(key, _)| key);
            let own_comes_first = match (&own, stored) {
                (None, None) => return Ok(None),
                (None, Some(_)) => false,
                (Some(_), None) => true,
                (Some((own, _)), Some(stored)) if self.reverse => own >= stored,
                (Some((own, _)), Some(stored)) => own <= stored,
            };
            let item = if own_comes_first {
                let own = own.map(|(key, entry)| (key, entry.into_value()));
                if own.as_ref().map(|(key, _)| key) == stored {
                    self.ahead.pop_front();
                }
                own
            } else {
                self.ahead
                    .pop_front()
                    .map(|(key, value)| (key, Some(value)))
            };
            let Some((key, value)) = item else {
                return Ok(None);
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

    /// The first of the buffer's own writes ahead.
    fn own(&self) -> Option<(Bytes, Entry)> {
        let mut own = self
            .txn
            .core
            .buffer
            .range((self.lower.clone(), self.upper.clone()));
        if self.reverse {
            own.next_back()
        } else {
            own.next()
        }
    }

    /// Has the store's next batch, if there may be more and none is ahead.
    async fn fill(&mut self) -> Result<(), Error> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        let Some((lower, upper)) = self.more.take() else {
            return Ok(());
        };
        let request = ScanRequest {
            lower,
            upper,
            at: self.txn.core.start_ts,
            limit: BATCH,
            reverse: self.reverse,
        };
        let pairs = self.txn.core.store.scan(&request).await;
        let pairs = pairs.map_err(|error| self.txn.core.as_of_now(error))?;
        if pairs.len() == BATCH
            && let Some((last, _)) = pairs.last()
        {
            let passed = Bound::Excluded(last.clone());
            self.more = Some(if self.reverse {
                (request.lower, passed)
            } else {
                (passed, request.upper)
            });
        }
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
