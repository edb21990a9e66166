//! Keys: five kinds, and for each the orders in which they are inserted and asked for.
//!
//! A [`KeyList`] holds keys back to back in the order of their use, so that reading the next one is a sequential
//! read. Everything is made from one seed.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::Zipf;
use serde::{Deserialize, Serialize};

use crate::words::push_word;

/// How keys look, and which of them are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// 16 random bytes.
    Random,
    /// 11 bytes that all keys share (a table's prefix), then a row's number in 5 bytes, big-endian.
    Record,
    /// A row's number in 16 decimal digits. The table is filled in ascending order, so there is no `fillrandom`.
    Sequential,
    /// Random keys, asked for by a Zipf law of exponent 0.99: few of them take most of the queries.
    Zipf,
    /// Words of 2 to some 20 letters with shared beginnings.
    Dictionary,
}

impl KeyKind {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Record => "record",
            Self::Sequential => "sequential",
            Self::Zipf => "zipf",
            Self::Dictionary => "dictionary",
        }
    }

    /// The length of all keys, if they have one.
    pub fn key_len(self) -> Option<usize> {
        (self != Self::Dictionary).then_some(16)
    }
}

/// What all `record` keys begin with: a table's prefix, as a storage engine under SQL would write it.
const RECORD_PREFIX: &[u8; 11] = b"t\x80\0\0\0\0\0\0\x2a_r";

/// Exponent of the Zipf law: the one that YCSB uses.
const SKEW: f64 = 0.99;

/// Byte strings in the order of their use, back to back in memory.
#[derive(Debug, Clone)]
pub struct KeyList {
    bytes: Vec<u8>,
    /// Where each begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl KeyList {
    fn with_capacity(keys: usize) -> Self {
        let mut bounds = Vec::with_capacity(keys + 1);
        bounds.push(0);
        Self {
            bytes: Vec::with_capacity(keys * 16),
            bounds,
        }
    }

    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bounds.push(self.bytes.len());
    }

    fn picked(&self, order: impl ExactSizeIterator<Item = usize>) -> Self {
        let mut list = Self::with_capacity(order.len());
        for at in order {
            list.push(self.get(at));
        }
        list
    }

    /// Key number `at`.
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        let end = self.bounds[at + 1];
        &self.bytes[self.bounds[at]..end]
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The keys of one table and every order in which the workloads use them.
#[derive(Debug)]
pub struct Keys {
    /// Which kind they are.
    pub kind: KeyKind,
    /// All keys, ascending.
    pub ascending: KeyList,
    /// All keys in the order of insertion: shuffled, but ascending for [`KeyKind::Sequential`].
    pub insertion: KeyList,
    /// As many queries as there are keys: a permutation of them; drawn by the Zipf law for [`KeyKind::Zipf`].
    pub queries: KeyList,
    /// As many queries, drawn by the Zipf law.
    pub skewed: KeyList,
    /// As many distinct keys that are not there, in random order over the whole table. Where the present ones leave
    /// no gap between them (records, sequential keys), an absent one is a present one with a byte more.
    pub missing: KeyList,
}

/// Distinct candidates of a kind, ascending; at least `wanted`.
///
/// Built in a few large pieces, so that no small holes are left in the heap for the table to fill.
fn candidates(kind: KeyKind, wanted: usize, rng: &mut StdRng) -> KeyList {
    let extra = if kind == KeyKind::Dictionary {
        wanted / 8
    } else {
        0
    };
    let mut made = KeyList::with_capacity(wanted + extra);
    let mut key = Vec::new();
    for number in 0..wanted + extra {
        key.clear();
        match kind {
            KeyKind::Random | KeyKind::Zipf => key.extend_from_slice(&rng.random::<[u8; 16]>()),
            KeyKind::Record => {
                key.extend_from_slice(RECORD_PREFIX);
                key.extend_from_slice(&(number as u64).to_be_bytes()[3..]);
            }
            KeyKind::Sequential => key.extend_from_slice(format!("{number:016}").as_bytes()),
            KeyKind::Dictionary => push_word(&mut key, number),
        }
        made.push(&key);
    }
    let mut order: Vec<usize> = (0..made.len()).collect();
    order.sort_unstable_by_key(|at| made.get(*at));
    order.dedup_by_key(|at| made.get(*at));
    made.picked(order.into_iter())
}

impl Keys {
    /// `n` keys of a kind and their orders, from a seed.
    pub fn new(kind: KeyKind, n: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let dense = matches!(kind, KeyKind::Record | KeyKind::Sequential);
        let all = candidates(kind, if dense { n } else { 2 * n }, &mut rng);
        let mut ascending = KeyList::with_capacity(n);
        let mut absent = KeyList::with_capacity(n);
        for number in 0..all.len() {
            let key = all.get(number);
            if dense {
                ascending.push(key);
                absent.push(&[key, &[0u8][..]].concat());
            } else if number % 2 == 1 || ascending.len() == n {
                absent.push(key);
            } else {
                ascending.push(key);
            }
        }
        drop(all);

        let mut order: Vec<usize> = (0..ascending.len()).collect();
        order.shuffle(&mut rng);
        let insertion = if kind == KeyKind::Sequential {
            ascending.clone()
        } else {
            ascending.picked(order.iter().copied())
        };
        order.shuffle(&mut rng);
        let zipf = Zipf::new(ascending.len().max(1) as f64, SKEW)
            .expect("one element or more and a positive exponent make a Zipf law");
        let ranks: Vec<usize> = (0..ascending.len())
            .map(|_| order[(rng.sample::<f64, _>(zipf) as usize).clamp(1, order.len()) - 1])
            .collect();
        let skewed = ascending.picked(ranks.into_iter());
        order.shuffle(&mut rng);
        let queries = if kind == KeyKind::Zipf {
            skewed.clone()
        } else {
            ascending.picked(order.into_iter())
        };
        let mut misses: Vec<usize> = (0..absent.len()).collect();
        misses.shuffle(&mut rng);
        misses.truncate(ascending.len());
        let missing = absent.picked(misses.into_iter());
        Self {
            kind,
            ascending,
            insertion,
            queries,
            skewed,
            missing,
        }
    }

    /// How many keys the table has.
    pub fn len(&self) -> usize {
        self.ascending.len()
    }

    /// The table has none.
    pub fn is_empty(&self) -> bool {
        self.ascending.is_empty()
    }
}

/// Bytes in a value.
pub const VALUE_LEN: usize = 64;

/// The value of a key: its first byte is the key's last, by which readers know it; `stamp` tells writes apart.
#[inline]
pub fn value_of(key: &[u8], stamp: usize) -> [u8; VALUE_LEN] {
    let mut value = [0x5a; VALUE_LEN];
    value[0] = mark_of(key);
    value[8..16].copy_from_slice(&(stamp as u64).to_le_bytes());
    value
}

/// The first byte of every value of `key`.
#[inline]
pub fn mark_of(key: &[u8]) -> u8 {
    key.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, KeyList, Keys};
    use clap::ValueEnum;
    use std::collections::BTreeSet;

    fn set(list: &KeyList) -> BTreeSet<&[u8]> {
        (0..list.len()).map(|at| list.get(at)).collect()
    }

    #[test]
    fn every_kind_has_as_many_distinct_keys_as_asked_and_queries_over_all_of_them() {
        for kind in KeyKind::value_variants() {
            let keys = Keys::new(*kind, 5_000, 7);
            let present = set(&keys.ascending);
            assert_eq!(present.len(), 5_000, "{kind:?}");
            assert_eq!(keys.len(), 5_000, "{kind:?}");
            assert_eq!(set(&keys.insertion), present, "{kind:?}");
            assert!(set(&keys.skewed).is_subset(&present), "{kind:?}");
            assert_eq!(set(&keys.missing).len(), 5_000, "{kind:?}");
            assert!(set(&keys.missing).is_disjoint(&present), "{kind:?}");
            if *kind == KeyKind::Zipf {
                assert!(set(&keys.queries).len() < 3_000, "skewed queries repeat");
            } else {
                assert_eq!(set(&keys.queries), present, "{kind:?}");
            }
            if let Some(len) = kind.key_len() {
                assert!(present.iter().all(|key| key.len() == len), "{kind:?}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_table() {
        let (one, two) = (
            Keys::new(KeyKind::Random, 100, 3),
            Keys::new(KeyKind::Random, 100, 3),
        );
        assert_eq!(one.queries.bytes, two.queries.bytes);
        assert_ne!(
            one.queries.bytes,
            Keys::new(KeyKind::Random, 100, 4).queries.bytes
        );
    }
}
