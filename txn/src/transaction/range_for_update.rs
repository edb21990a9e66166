//! Ranges that lock what they yield.
//!
//! A page is read at a fresh timestamp, as a [`Range`] is, and its keys are locked in one call. What that call returns is what is
//! newest: a row that somebody changed after it was read is yielded as it is under the lock, one that somebody deleted is passed
//! over. The buffer is asked once more for each row as it is yielded.
//!
//! To pass over what others have locked, a page is tried without waiting, and row by row if that fails.
//!
//! Of several keys that may not exist none can be the transaction's primary. So where only what exists is to be locked and there
//! is no primary yet, a page is one row, until one was there to be locked.

use super::blocking::Rows;
use super::cancel::CancelToken;
use super::options::{LockOptions, LockOutcome, RangeLockOptions};
use super::range::Own;
use super::{Range, Transaction};
use crate::buffer::Entry;
use crate::error::Error;
use crate::lock::Wait;
use crate::store::{Bounds, ForUpdate, Scan, Timestamp, owned_bounds, pass};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeBounds;
use std::pin::pin;

/// Keys and values in order, locked; made by [`Transaction::range_for_update`]. Holds the transaction.
pub struct RangeForUpdate {
    txn: Transaction,
    options: RangeLockOptions,
    reverse: bool,
    has_begun: bool,
    /// What is not locked yet; `None` once there is no more.
    more: Option<Bounds>,
    /// Locked rows that are still to come, with the store's newest values.
    locked: VecDeque<(Bytes, Option<Bytes>)>,
    /// How many rows may still be yielded.
    left: usize,
}

impl Transaction {
    /// The keys within `bounds` with their values, locked: own writes over what is newest in the store, as
    /// [`get_for_update`](Self::get_for_update) is to [`get`](Self::get). Nothing is read before the first `next`.
    ///
    /// It goes on in pages. A page is read at a timestamp of its own and then locked, and each row is yielded as it is under its
    /// lock, with what was written to it here by the time it is yielded. So:
    ///
    /// - Every row that is committed when its page is read, and not deleted by the time it is locked, is yielded, and so is
    ///   every row of the transaction's own. From then on nobody else changes it until the transaction ends: what is computed
    ///   from it and written back is no lost update.
    /// - The pages together are not one instant. Rows that others add to a page after it was read are neither seen nor kept out:
    ///   there are no range locks. To keep them out, lock something that they have to lock too, such as the table's row.
    /// - A row that is gone by the time its lock is granted is passed over; its lock stays, unless
    ///   [`only_if_exists`](LockOptions::only_if_exists) is asked for. A row that was deleted here is passed over and not locked.
    /// - Rows that come into a page after it was read by a write of the transaction itself are not seen.
    ///
    /// With [`skip_locked`](RangeLockOptions::skip_locked) rows that others have locked when their page is locked are not yielded.
    ///
    /// With [`only_if_exists`](LockOptions::only_if_exists) rows are locked one by one until the transaction holds its first lock.
    ///
    /// For each page the store is asked for a timestamp, a scan, and the locks of a call of [`lock_keys`](Self::lock_keys); if there
    /// are rows that were locked before, for a timestamp and the values of those, in place of their locks.
    ///
    /// In an optimistic transaction the rows are those at the start timestamp, and commit checks that they are still the newest.
    ///
    /// ```
    /// use untorn_txn::{BeginOptions, Db, RangeLockOptions};
    ///
    /// let db = Db::in_memory();
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// for account in ["account/a", "account/b", "account/c"] {
    ///     txn.put(account, [100])?;
    /// }
    /// txn.blocking().commit()?;
    ///
    /// let txn = db.blocking().begin(BeginOptions::default())?;
    /// for row in txn.blocking().range_for_update("account/".."account0", RangeLockOptions::default()) {
    ///     let (account, balance) = row?;
    ///     txn.put(account, [balance[0] + 1])?;
    /// }
    /// assert_eq!(txn.held_locks(), 3);
    /// txn.blocking().commit()?;
    /// # Ok::<(), untorn_txn::Error>(())
    /// ```
    pub fn range_for_update<K: AsRef<[u8]>>(
        &self,
        bounds: impl RangeBounds<K>,
        options: RangeLockOptions,
    ) -> RangeForUpdate {
        RangeForUpdate {
            txn: self.clone(),
            left: options.limit.unwrap_or(usize::MAX),
            options,
            reverse: false,
            has_begun: false,
            more: Some(owned_bounds(bounds)),
            locked: VecDeque::new(),
        }
    }
}

impl RangeForUpdate {
    /// From the back. To be chosen before the first step; later it has no effect.
    #[must_use]
    pub fn rev(mut self) -> Self {
        self.reverse ^= !self.has_begun;
        self
    }

    /// The next key and its value. If the future is dropped, the page that it was about to lock is given back and read anew by
    /// the next call.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::lock_keys`] and of [`Transaction::get`]; the range has ended then, nothing of the page that was to
    /// be locked is, but for rows that were locked one by one beside [skipped](RangeLockOptions::skip_locked) ones, and the locks of
    /// earlier pages stay. [`Error::LockNotAvailable`] also to a range that skips: where it is a sibling call that is in the way, which
    /// waits for the transaction's first lock.
    #[allow(clippy::should_implement_trait)] // the asynchronous form of it
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        // An end is told once.
        let cancel = self.options.lock.cancel.clone().filter(|_| self.left > 0);
        let step = CancelToken::ends(cancel.as_ref(), pin!(self.step())).await;
        let step = step.map_err(|error| self.txn.core.as_of_now(error));
        if !matches!(step, Ok(Some(_))) {
            self.left = 0;
        }
        step
    }

    async fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        while self.left > 0 {
            self.txn.core.life.check_open()?;
            if self.locked.is_empty() {
                let Some(bounds) = self.more.clone() else {
                    break;
                };
                self.lock_page(bounds).await?;
            }
            while let Some((key, stored)) = self.locked.pop_front() {
                let own = self.txn.core.buffer.get(&key);
                if let Some(value) = own.map_or(stored, Entry::into_value) {
                    self.left -= 1;
                    return Ok(Some((key, value)));
                }
            }
        }
        Ok(None)
    }

    /// Reads the next page and locks it; if that fails, or its future is dropped, nothing is changed.
    async fn lock_page(&mut self, mut bounds: Bounds) -> Result<(), Error> {
        self.has_begun = true;
        let rows = match self.is_without_primary() {
            true => 1,
            false => self.options.page.max(1).min(self.left),
        };
        let at = self.page_ts().await?;
        let stored = Scan::new(bounds.clone(), at, rows);
        let page = Range::over(&self.txn, Own::Live, bounds.clone(), stored);
        let mut page = if self.reverse { page.rev() } else { page };
        let mut keys = Vec::new();
        while keys.len() < rows
            && let Some((key, _)) = page.next().await?
        {
            keys.push(key);
        }
        let locked = match self.lock_rows(&keys).await {
            // A sibling has given it up meanwhile: the page is read anew.
            Err(Error::OptionConflict { .. }) if rows > 1 && self.is_without_primary() => {
                return Ok(());
            }
            locked => locked?,
        };
        let last = keys.last().filter(|_| keys.len() == rows);
        self.more = last.map(|last| {
            pass(&mut bounds, last, self.reverse);
            bounds
        });
        self.locked = locked;
        Ok(())
    }

    /// Rows that are locked now, with what is newest of them.
    async fn lock_rows(&self, keys: &[Bytes]) -> Result<VecDeque<(Bytes, Option<Bytes>)>, Error> {
        let mut lock = LockOptions {
            return_values: true,
            ..self.options.lock.clone()
        };
        if !self.options.skip_locked {
            let outcomes = self.txn.lock_keys(keys, lock).await?;
            return Ok(with_newest(keys, outcomes).collect());
        }
        if self.txn.is_optimistic() {
            return Err(Error::OptionConflict {
                reason: "an optimistic transaction locks no rows that others could skip",
            });
        }
        lock.wait = Some(Wait::NoWait);
        match self.txn.lock_keys(keys, lock.clone()).await {
            Err(error) if self.is_locked_by_others(&error) => {}
            outcomes => return Ok(with_newest(keys, outcomes?).collect()),
        }
        let mut locked = VecDeque::new();
        for key in keys.chunks(1) {
            match self.txn.lock_keys(key, lock.clone()).await {
                Err(error) if self.is_locked_by_others(&error) => {}
                outcomes => locked.extend(with_newest(key, outcomes?)),
            }
        }
        Ok(locked)
    }

    /// Not where a call of the transaction itself is in the way, whose answer is not there.
    fn is_locked_by_others(&self, error: &Error) -> bool {
        let own = self.txn.start_ts();
        matches!(error, Error::LockNotAvailable { holders, .. } if holders.iter().any(|holder| *holder != own))
    }

    /// Only what exists is to be locked, and no other key stands for the transaction.
    fn is_without_primary(&self) -> bool {
        self.options.lock.only_if_exists && self.txn.core.register.primary().is_none()
    }

    /// As of when the next page is read.
    async fn page_ts(&self) -> Result<Timestamp, Error> {
        let core = &self.txn.core;
        match self.options.lock.for_update_ts {
            _ if self.txn.is_optimistic() => Ok(core.start_ts),
            ForUpdate::At(at) => Ok(at),
            ForUpdate::Fresh => core.store().timestamp().await,
        }
    }
}

fn with_newest(
    keys: &[Bytes],
    outcomes: Vec<LockOutcome>,
) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
    let newest = outcomes.into_iter().map(|outcome| outcome.value);
    keys.iter().cloned().zip(newest)
}

impl Rows for RangeForUpdate {
    fn rev(self) -> Self {
        RangeForUpdate::rev(self)
    }

    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, Error> {
        RangeForUpdate::next(self).await
    }
}

impl fmt::Debug for RangeForUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeForUpdate")
            .field("options", &self.options)
            .field("reverse", &self.reverse)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
