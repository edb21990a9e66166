//! What was read at one timestamp, kept so that it is not asked for again.
//!
//! What a store shows at a timestamp never changes, so an answer is good for as long as there are reads at that
//! timestamp: nobody's commit, lock or rollback has to be told here. That holds for absent keys as for values. It
//! does not hold for what a lock sees, which is newer; so only plain point reads come through here, and whatever is
//! read under a lock, at another timestamp or as part of a range goes to the store and leaves nothing behind.
//!
//! A store says how much it wants kept ([`Store::read_cache`]); one in this process wants nothing, because asking it again
//! costs less. The bytes are those of keys and values, which are copied, so that no small value keeps the whole answer
//! alive that it came in; and [`OVERHEAD`] for what an entry takes besides. What is over the bound goes, what was read
//! once before what was read again (`quick_cache`, after S3-FIFO and CLOCK-Pro). Two threads that ask for a key at the same
//! time both ask the store.

use super::{Store, Timestamp};
use crate::Error;
use crate::metrics;
use bytes::Bytes;
use hashbrown::DefaultHashBuilder;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use std::fmt;
use std::sync::OnceLock;

/// What an entry takes besides the bytes of its key and its value: its place in tables that grow by doubling, and what
/// stands before and after a block of memory. [`ReadCacheStats::bytes`] counts it for each key.
pub const OVERHEAD: usize = 192;

/// A part of the cache has its own lock and its own share of the bound.
const PARTS: usize = 8;

/// What a transaction or a snapshot keeps of what it has read; by
/// [`Transaction::read_cache`](crate::Transaction::read_cache).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadCacheStats {
    /// How many bytes there may be; 0 where the store wants nothing kept.
    pub limit: usize,
    /// How many there are: keys, values, and [`OVERHEAD`] for each key.
    pub bytes: usize,
    /// Keys that are kept, absent ones too.
    pub keys: usize,
    /// Reads that the store was not asked for.
    pub hits: u64,
    /// Reads that it was asked for.
    pub misses: u64,
}

/// Point reads of one store at one timestamp.
pub(crate) struct ReadCache {
    at: Timestamp,
    limit: usize,
    /// Made by the first read that goes to the store.
    kept: OnceLock<Kept>,
}

type Kept = Cache<Box<[u8]>, Option<Bytes>, Size, DefaultHashBuilder>;

#[derive(Debug, Clone, Copy)]
struct Size;

impl Size {
    fn of(key: &[u8], value: Option<&Bytes>) -> usize {
        OVERHEAD + key.len() + value.map_or(0, Bytes::len)
    }
}

impl Weighter<Box<[u8]>, Option<Bytes>> for Size {
    fn weight(&self, key: &Box<[u8]>, value: &Option<Bytes>) -> u64 {
        Self::of(key, value.as_ref()) as u64
    }
}

impl ReadCache {
    pub(crate) fn new(store: &dyn Store, at: Timestamp) -> Self {
        Self {
            at,
            limit: store.read_cache(),
            kept: OnceLock::new(),
        }
    }

    /// The timestamp of the reads.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// [`Store::get`], unless the answer is kept.
    pub(crate) async fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let Some(kept) = self.kept() else {
            return store.get(key, self.at).await;
        };
        if let Some(value) = kept.get(key) {
            metrics::reads_kept(1);
            return Ok(value);
        }
        let value = store.get(key, self.at).await?;
        keep(kept, key, value.as_ref());
        metrics::reads_asked(1);
        Ok(value)
    }

    /// [`Store::batch_get`] of those keys whose answers are not kept; no request if there are none.
    pub(crate) async fn batch_get(
        &self,
        store: &dyn Store,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let Some(kept) = self.kept() else {
            return store.batch_get(keys, self.at).await;
        };
        let mut asked = Vec::new();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = kept.get(&key[..]);
            if value.is_none() {
                asked.push(key.clone());
            }
            values.push(value);
        }
        metrics::reads_kept(keys.len() - asked.len());
        if asked.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        let stored = store.batch_get(&asked, self.at).await?;
        metrics::reads_asked(asked.len());
        for (key, value) in asked.iter().zip(&stored) {
            keep(kept, key, value.as_ref());
        }
        let mut stored = stored.into_iter();
        let value = |kept: Option<Option<Bytes>>| kept.unwrap_or_else(|| stored.next().flatten());
        Ok(values.into_iter().map(value).collect())
    }

    /// Nothing is read any more.
    pub(crate) fn clear(&self) {
        if let Some(kept) = self.kept.get() {
            kept.clear();
        }
    }

    pub(crate) fn stats(&self) -> ReadCacheStats {
        let Some(kept) = self.kept.get() else {
            return ReadCacheStats {
                limit: self.limit,
                ..ReadCacheStats::default()
            };
        };
        ReadCacheStats {
            limit: self.limit,
            bytes: usize::try_from(kept.weight()).unwrap_or(usize::MAX),
            keys: kept.len(),
            hits: kept.hits(),
            misses: kept.misses(),
        }
    }

    fn kept(&self) -> Option<&Kept> {
        (self.limit > 0).then(|| self.kept.get_or_init(|| with_room_for(self.limit)))
    }
}

fn with_room_for(limit: usize) -> Kept {
    let mut options = OptionsBuilder::new();
    options
        .shards(PARTS)
        .weight_capacity(limit as u64)
        .estimated_items_capacity((limit / OVERHEAD).max(1))
        // Nothing is remembered of what went: that would not be counted.
        .ghost_allocation(0.0);
    let options = options.build().unwrap_or_else(|error| {
        unreachable!("both capacities are given: {error}");
    });
    Cache::with_options(
        options,
        Size,
        DefaultHashBuilder::default(),
        DefaultLifecycle::default(),
    )
}

fn keep(kept: &Kept, key: &[u8], value: Option<&Bytes>) {
    // Looked at before it is copied: what has no room is not kept.
    if Size::of(key, value) as u64 <= kept.shard_capacity() {
        kept.insert(key.into(), value.map(|value| Bytes::copy_from_slice(value)));
    }
}

impl fmt::Debug for ReadCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCache")
            .field("at", &self.at)
            .field("stats", &self.stats())
            .finish()
    }
}
