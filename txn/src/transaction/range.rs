//! Ranges: the buffer over the store.
//!
//! The store's part is as of the start timestamp and comes in batches; the buffer is asked anew for each item,
//! for its first write behind the last key yielded and up to the store's next one. That write is next if there is one,
//! in place of the store's where both are the same key; else the store's is. Tombstones hide, and one walk passes all that lie
//! before the next item, as far as the store's batch goes. So an item is never an old value that was overwritten or deleted
//! here before its `next` began, order is strict, and what is written behind the cursor is not seen.

use super::Transaction;
use super::blocking::Rows;
use crate::buffer::{BufferSnapshot, End, Layer};
use crate::error::Error;
use crate::store::{Bounds, Scan, owned_bounds, pass};
use bytes::Bytes;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use untorn_memtable::{Item, Kind};

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
            let (key, value) = match self.own() {
                Some(Ahead::Own(key, value)) => (key, Some(value)),
                Some(Ahead::NextBatch(key)) => (key, None),
                Some(Ahead::Stored) | None => match self.stored.take() {
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

    /// What the buffer has of the next item; takes what it hides out of the store's batch.
    ///
    /// It is walked up to the store's next key and no further: keys that are only locked lie in it too, and what lies behind
    /// that key is looked at again in a later step.
    fn own(&mut self) -> Option<Ahead> {
        let stored = &mut self.stored;
        let end = if stored.is_reverse() {
            End::Back
        } else {
            End::Front
        };
        let visit = |own: Item<'_>| {
            let place = stored.peek().map_or(Ordering::Less, |key| match end {
                End::Front => own.key.cmp(key),
                End::Back => own.key.cmp(key).reverse(),
            });
            let is_over_stored = place.is_eq();
            match own.kind {
                _ if place.is_gt() => return Some(Ahead::Stored),
                Kind::TagOnly => return is_over_stored.then_some(Ahead::Stored),
                Kind::Value | Kind::Tombstone if is_over_stored => drop(stored.take()),
                Kind::Value | Kind::Tombstone => {}
            }
            let key = || Bytes::copy_from_slice(own.key);
            if own.kind == Kind::Value {
                return Some(Ahead::Own(key(), Bytes::copy_from_slice(own.value)));
            }
            let is_used_up = is_over_stored && stored.peek().is_none();
            is_used_up.then(|| Ahead::NextBatch(key()))
        };
        let between = (as_slice(&self.bounds.0), as_slice(&self.bounds.1));
        match &self.own {
            Own::Live => self.txn.core.buffer.walk(between, end, visit),
            Own::Fixed(view) => view.walk(between, end, visit),
        }
    }
}

/// What a walk through the buffer ends with.
enum Ahead {
    /// An own write is next.
    Own(Bytes, Bytes),
    /// The store's key is next.
    Stored,
    /// All of the store's batch is hidden, up to this key.
    NextBatch(Bytes),
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
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
