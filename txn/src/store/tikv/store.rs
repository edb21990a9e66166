//! [`TikvStore`] as a [`Store`]: which requests run to their end though nobody waits for them, and which end with
//! their answer.

use super::ended::End;
use super::registry::Open;
use super::retry::until_answered;
use super::{TikvError, TikvStore, prewrite};
use crate::Entry;
use crate::error::Error;
use crate::store::{
    Answer, Begin, COUNTER_BITS, Flush, LockAnswers, LockKey, LockTerms, Pairs, Prewrite,
    Prewritten, SafePoint, ScanRequest, Store, Timestamp, TxnStatus,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Store for TikvStore {
    fn begin(&self, begin: Begin) -> Answer<'_, Timestamp> {
        let core = Arc::clone(&self.core);
        Answer::waiting(async move {
            let beginning = async move { core.beginning(begin.start_ts).await };
            let (start, newest) = self.as_long_as_wanted(beginning).await?;
            // Only where somebody is told: nobody else would end it.
            self.core.registry.enter(start, newest)?;
            Ok(start)
        })
    }

    fn timestamp(&self) -> Answer<'_, Timestamp> {
        let core = Arc::clone(&self.core);
        self.as_long_as_wanted(async move { core.now().await })
    }

    /// The cluster's collector is not held back: this only checks that the timestamp can be read at.
    fn hold(&self, at: Option<Timestamp>) -> Answer<'_, Timestamp> {
        let core = Arc::clone(&self.core);
        self.as_long_as_wanted(async move {
            match at {
                None => core.now().await,
                Some(at) => core.readable(at).await,
            }
        })
    }

    fn let_go(&self, _: Timestamp) {}

    fn get<'a>(&'a self, key: &'a [u8], at: Timestamp) -> Answer<'a, Option<Bytes>> {
        let (core, key) = (Arc::clone(&self.core), Bytes::copy_from_slice(key));
        self.as_long_as_wanted(async move {
            core.readable(at).await?;
            core.cluster.get(&key, at).await
        })
    }

    fn batch_get<'a>(&'a self, keys: &'a [Bytes], at: Timestamp) -> Answer<'a, Vec<Option<Bytes>>> {
        let (core, keys) = (Arc::clone(&self.core), keys.to_vec());
        self.as_long_as_wanted(async move {
            core.readable(at).await?;
            core.cluster.batch_get(&keys, at).await
        })
    }

    fn read_cache(&self) -> usize {
        self.core.cluster.options.read_cache
    }

    fn scan<'a>(&'a self, request: &'a ScanRequest) -> Answer<'a, Pairs> {
        let (core, request) = (Arc::clone(&self.core), request.clone());
        self.as_long_as_wanted(async move {
            core.readable(request.at).await?;
            core.cluster.scan(&request).await
        })
    }

    fn lock<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [LockKey],
        terms: &'a LockTerms,
    ) -> Answer<'a, LockAnswers> {
        Answer::waiting(async move {
            let open = self.core.registry.open(start)?;
            // What this attempt holds already was told: a copy that is dropped takes nothing from it.
            let locks = open.known(|known| known.not_held_by_attempt(keys));
            self.core.ask_for(&open, keys, terms)?;
            let mut call = Call {
                store: self,
                open: Arc::clone(&open),
                locks,
            };
            let (core, asking, keys, terms) = (
                Arc::clone(&self.core),
                Arc::clone(&open),
                keys.to_vec(),
                terms.clone(),
            );
            let task = self
                .core
                .background
                .spawn(async move { core.lock_noted(&asking, keys, terms).await });
            tokio::select! {
                biased;
                () = open.until(|known| known.is_closed.then_some(())) => Err(End::RolledBack.closed()),
                answers = task => {
                    call.locks.clear();
                    answers.unwrap_or_else(|_| Err(TikvError::ShutDown.into()))
                }
            }
        })
    }

    fn unlock(&self, start: Timestamp, locks: Vec<(Bytes, u64)>) -> Answer<'_, ()> {
        let core = Arc::clone(&self.core);
        self.to_the_end(async move {
            match core.registry.open(start) {
                Ok(open) => core.give_back(&open, locks).await,
                // It holds nothing any more.
                Err(_) => Ok(()),
            }
        })
    }

    fn stop_locking(&self, start: Timestamp) {
        if let Ok(open) = self.core.registry.open(start) {
            open.known(|known| known.is_closed = true);
            open.changed();
        }
    }

    fn heartbeat(&self, start: Timestamp, _: Bytes, ttl: Duration) -> Answer<'_, ()> {
        let core = Arc::clone(&self.core);
        self.as_long_as_wanted(async move {
            let open = core.registry.open(start)?;
            core.heartbeat(&open, ttl).await
        })
    }

    fn status(&self, start: Timestamp, primary: Bytes) -> Answer<'_, TxnStatus> {
        let core = Arc::clone(&self.core);
        self.as_long_as_wanted(async move { core.status_of(start, primary).await })
    }

    fn prewrite<'a>(&'a self, start: Timestamp, request: &'a Prewrite) -> Answer<'a, Prewritten> {
        let (core, request) = (Arc::clone(&self.core), request.clone());
        self.to_the_end(async move {
            match core.registry.end_of(start) {
                Some(end) => prewrite::answer_again(end),
                None => core.prewrite(&core.registry.open(start)?, &request).await,
            }
        })
    }

    fn decides_in_prewrite(&self) -> bool {
        self.core.cluster.options.async_commit || self.core.cluster.options.one_phase
    }

    fn takes_flushes(&self) -> bool {
        true
    }

    fn flush<'a>(&'a self, start: Timestamp, request: &'a Flush) -> Answer<'a, ()> {
        let (core, request) = (Arc::clone(&self.core), request.clone());
        self.to_the_end(async move {
            let open = core.registry.open(start)?;
            core.flush(&open, &request).await
        })
    }

    fn flushed<'a>(
        &'a self,
        start: Timestamp,
        keys: &'a [Bytes],
    ) -> Answer<'a, Vec<Option<Entry>>> {
        let (core, keys) = (Arc::clone(&self.core), keys.to_vec());
        self.as_long_as_wanted(async move {
            let open = core.registry.open(start)?;
            core.flushed(&open, &keys).await
        })
    }

    fn commit(&self, start: Timestamp) -> Answer<'_, Timestamp> {
        let core = Arc::clone(&self.core);
        self.to_the_end(async move {
            match core.registry.end_of(start) {
                Some(End::Committed { at, .. }) => Ok(at),
                Some(end) => Err(end.closed()),
                None => core.commit(&core.registry.open(start)?).await,
            }
        })
    }

    fn rollback(&self, start: Timestamp) -> Answer<'_, ()> {
        let core = Arc::clone(&self.core);
        self.to_the_end(async move {
            match core.registry.end_of(start) {
                Some(End::RolledBack) => Ok(()),
                Some(end) => Err(end.closed()),
                None => match core.registry.open(start) {
                    Ok(open) => core.rollback(&open).await,
                    Err(Error::TransactionClosed { .. }) => Ok(()),
                    Err(error) => Err(error),
                },
            }
        })
    }

    fn settle(&self, deadline: Instant) -> Answer<'_, bool> {
        Answer::waiting(async move { Ok(TikvStore::settle(self, deadline).await) })
    }

    /// That of the cluster's collector.
    fn safe_point(&self) -> Answer<'_, SafePoint> {
        let core = Arc::clone(&self.core);
        self.as_long_as_wanted(async move {
            let now = core.now().await?;
            let at = core.cluster.pd.safe_point().await?;
            let age = (now >> COUNTER_BITS).saturating_sub(at >> COUNTER_BITS);
            Ok(SafePoint {
                at,
                age: Duration::from_millis(age),
            })
        })
    }
}

/// A lock call. What it gets is given back if it is dropped before it is told.
struct Call<'a> {
    store: &'a TikvStore,
    open: Arc<Open>,
    locks: Vec<(Bytes, u64)>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let locks = std::mem::take(&mut self.locks);
        if locks.is_empty() {
            return;
        }
        self.open.known(|known| {
            locks
                .iter()
                .for_each(|(_, attempt)| known.give_back(*attempt))
        });
        let (core, open) = (Arc::clone(&self.store.core), Arc::clone(&self.open));
        self.store.core.background.spawn(async move {
            until_answered(open.start, || core.give_back(&open, locks.clone())).await;
        });
    }
}
