//! A sharded map whose values come and go: made when first changed, gone when vacant again.
//!
//! Closures only: no guard leaves this file, so no caller can hold a shard across a call or an `await`. A closure must
//! not touch the map that runs it.
//!
//! The map counts its entries in stripes chosen by the key, so that each stripe is exact and no cache line is shared
//! by all. When a stripe falls to an eighth of its high-water mark the map's spare capacity is given back; below
//! [`SPARE`] entries to a stripe it is kept.

use std::hash::Hash;

use bytes::Bytes;

/// A value that is made by `Default` and kept while it is not vacant.
pub(crate) trait Slot: Default {
    /// Whether the map may forget it.
    fn is_vacant(&self) -> bool;
}

/// A key that says which stripe counts it. Any choice is right; an even one is fast.
pub(crate) trait Striped {
    /// Only the low bits are used.
    #[cfg_attr(untorn_loom, allow(dead_code))]
    fn stripe(&self) -> usize;
}

impl Striped for Bytes {
    fn stripe(&self) -> usize {
        // The last bytes differ most: row numbers end there.
        self.iter()
            .rev()
            .take(4)
            .fold(0, |sum, byte| sum ^ usize::from(*byte))
    }
}

impl Striped for u64 {
    fn stripe(&self) -> usize {
        *self as usize
    }
}

#[cfg(not(untorn_loom))]
pub(crate) use with_dashmap::Shards;
#[cfg(untorn_loom)]
pub(crate) use with_one_mutex::Shards;

#[cfg(not(untorn_loom))]
mod with_dashmap {
    use std::borrow::Borrow;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use crossbeam_utils::CachePadded;
    use dashmap::{DashMap, Entry};
    use hashbrown::DefaultHashBuilder;

    use super::{Hash, Slot, Striped};

    const STRIPES: usize = 8;
    /// Entries of a stripe below which spare capacity is not worth giving back.
    const SPARE: usize = 1024;

    #[derive(Debug, Default)]
    struct Stripe {
        len: AtomicUsize,
        high: AtomicUsize,
    }

    /// See the module.
    pub(crate) struct Shards<K, V> {
        map: DashMap<K, V, DefaultHashBuilder>,
        stripes: [CachePadded<Stripe>; STRIPES],
    }

    impl<K: Hash + Eq + Striped, V: Slot> Shards<K, V> {
        pub(crate) fn new() -> Self {
            Self {
                map: DashMap::default(),
                stripes: Default::default(),
            }
        }

        /// Changes the value of `key`, which is made if it is not there.
        pub(crate) fn change<R>(&self, key: K, f: impl FnOnce(&mut V) -> R) -> R {
            let stripe = &self.stripes[key.stripe() % STRIPES];
            let (answer, gone) = match self.map.entry(key) {
                Entry::Occupied(mut entry) => {
                    let answer = f(entry.get_mut());
                    let vacant = entry.get().is_vacant();
                    if vacant {
                        entry.remove();
                    }
                    (answer, vacant)
                }
                Entry::Vacant(entry) => {
                    let mut value = V::default();
                    let answer = f(&mut value);
                    if !value.is_vacant() {
                        entry.insert(value);
                        let len = stripe.len.fetch_add(1, Relaxed) + 1;
                        if len > stripe.high.load(Relaxed) {
                            stripe.high.store(len, Relaxed);
                        }
                    }
                    (answer, false)
                }
            };
            if gone {
                self.one_less(stripe);
            }
            answer
        }

        /// Changes the value of `key` if it is there.
        pub(crate) fn change_present<Q, R>(&self, key: &Q, f: impl FnOnce(&mut V) -> R) -> Option<R>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            let mut answer = None;
            let removed = self.map.remove_if_mut(key, |_, value| {
                answer = Some(f(value));
                value.is_vacant()
            });
            if let Some((key, _)) = removed {
                self.one_less(&self.stripes[key.stripe() % STRIPES]);
            }
            answer
        }

        /// Looks at the value of `key` if it is there.
        pub(crate) fn look<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            self.map.get(key).map(|value| f(value.value()))
        }

        /// Looks at all, shard by shard: each value is seen as it was at some instant during the call.
        pub(crate) fn for_each(&self, mut f: impl FnMut(&K, &V)) {
            self.map
                .iter()
                .for_each(|entry| f(entry.key(), entry.value()));
        }

        /// Number of entries: exact at rest.
        pub(crate) fn len(&self) -> usize {
            self.stripes
                .iter()
                .map(|stripe| stripe.len.load(Relaxed))
                .sum()
        }

        /// How many entries fit without allocating.
        #[cfg(test)]
        pub(crate) fn capacity(&self) -> usize {
            self.map.capacity()
        }

        fn one_less(&self, stripe: &Stripe) {
            let len = stripe.len.fetch_sub(1, Relaxed) - 1;
            let high = stripe.high.load(Relaxed);
            if high > SPARE
                && len < high / 8
                && stripe
                    .high
                    .compare_exchange(high, len, Relaxed, Relaxed)
                    .is_ok()
            {
                self.map.shrink_to_fit();
            }
        }
    }
}

/// The stand-in of a model: one mutex that loom sees.
#[cfg(untorn_loom)]
mod with_one_mutex {
    use std::borrow::Borrow;
    use std::collections::BTreeMap;

    use super::{Hash, Slot, Striped};
    use crate::sync::Mutex;

    pub(crate) struct Shards<K, V>(Mutex<BTreeMap<K, V>>);

    impl<K: Hash + Ord + Striped, V: Slot> Shards<K, V> {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(BTreeMap::new()))
        }

        pub(crate) fn change<R>(&self, key: K, f: impl FnOnce(&mut V) -> R) -> R {
            let mut map = self.0.lock();
            let mut value = map.remove(&key).unwrap_or_default();
            let answer = f(&mut value);
            if !value.is_vacant() {
                map.insert(key, value);
            }
            answer
        }

        pub(crate) fn change_present<Q, R>(&self, key: &Q, f: impl FnOnce(&mut V) -> R) -> Option<R>
        where
            K: Borrow<Q>,
            Q: Hash + Ord + ?Sized,
        {
            let mut map = self.0.lock();
            let value = map.get_mut(key)?;
            let answer = f(value);
            if value.is_vacant() {
                map.remove(key);
            }
            Some(answer)
        }

        pub(crate) fn look<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
        where
            K: Borrow<Q>,
            Q: Hash + Ord + ?Sized,
        {
            self.0.lock().get(key).map(f)
        }

        pub(crate) fn for_each(&self, mut f: impl FnMut(&K, &V)) {
            self.0.lock().iter().for_each(|(key, value)| f(key, value));
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().len()
        }
    }
}
