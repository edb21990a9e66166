//! Ranges: the buffer over the store.
//!
//! The store's part is as of the start timestamp and comes in batches; the buffer is asked anew for each item,
//! for its first write behind the last key yielded and up to the store's next one. That write is next if there is one,
//! in place of the store's where both are the same key, and a tombstone hides; else the store's is. So an item is never an old value that was overwritten or deleted here
//! before its `next` began, order is strict, and what is written behind the cursor is not seen.

use super::Transaction;
use super::blocking::Rows;
use crate::buffer::{BufferSnapshot, Entry};
use crate::error::Error;
use crate::store::{Bounds, Scan, owned_bounds, pass};
use bytes::Bytes;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// Keys and values in order; made by [`Transaction::range`]. Holds the transaction.
pub struct Range {
    txn: Transaction,
    own: Own,
    stored: Scan,
    /// What is still to come; narrowed as the cursor moves.
    bounds: Bounds,
    ended: bool,
}

impl Transaction {
    /// The keys within `bounds` with their values, own writes over the store at the start timestamp. Nothing is
    /// read before the first `next`. An empty or inverted range yields nothing.
    pub fn range<K: AsRef<[u8]>>(&self, bounds: impl RangeBounds<K>) -> Range {
        Range::at_start(self, Own::Live, owned_bounds(bounds))
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
    /// Over the store as of the start timestamp.
    pub(super) fn at_start(txn: &Transaction, own: Own, bounds: Bounds) -> Self {
        let stored = Scan::new(
            bounds.clone(),
            txn.start_ts(),
            txn.core.store().first_batch(),
        );
        Self::over(txn, own, bounds, stored)
    }

    /// Over a scan of the same bounds.
    pub(super) fn over(txn: &Transaction, own: Own, bounds: Bounds, stored: Scan) -> Self {
        Self {
            txn: txn.clone(),
            own,
            stored,
            bounds,
            ended: false,
        }
    }

    /// From the back. To be chosen before the first step; later it has no effect.
    #[must_use]
    pub fn rev(self) -> Self {
        Self {
            stored: self.stored.rev(),
            ..self
        }
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
        let reverse = self.stored.is_reverse();
        loop {
            let core = &self.txn.core;
            core.life.check_open()?;
            let filled = self.stored.fill(core.store()).await;
            filled.map_err(|error| core.as_of_now(error))?;
            // Up to the store's key and no further: keys that are only locked lie in the buffer too, and what lies
            // behind that key is looked at again in a later step.
            let own = self.own();
            let is_over_stored = own
                .as_ref()
                .is_some_and(|(own, _)| Some(own) == self.stored.peek());
            let (key, value) = match own {
                Some((key, entry)) => {
                    if is_over_stored {
                        self.stored.take();
                    }
                    (key, entry.into_value())
                }
                None => match self.stored.take() {
                    Some((key, value)) => (key, Some(value)),
                    None => return Ok(None),
                },
            };
            pass(&mut self.bounds, &key, reverse);
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
    }

    /// The first of the buffer's own writes ahead, up to the store's next key where there is one.
    fn own(&self) -> Option<(Bytes, Entry)> {
        let reverse = self.stored.is_reverse();
        let mut bounds = self.bounds.clone();
        if let Some(last) = self.stored.peek() {
            let last = Bound::Included(last.clone());
            *(if reverse {
                &mut bounds.0
            } else {
                &mut bounds.1
            }) = last;
        }
        match (&self.own, reverse) {
            (Own::Live, false) => self.txn.core.buffer.range(bounds).next(),
            (Own::Live, true) => self.txn.core.buffer.range(bounds).next_back(),
            (Own::Fixed(view), false) => view.range(bounds).next(),
            (Own::Fixed(view), true) => view.range(bounds).next_back(),
        }
    }
}

impl Rows for Range {
    fn rev(self) -> Self {
        Range::rev(self)
    }

    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        Range::next(self).await
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("reverse", &self.stored.is_reverse())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
