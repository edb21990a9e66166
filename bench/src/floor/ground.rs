//! Memory of the size and order of a table's, and the loops over it.

use std::hint::black_box;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::clock::{Moment, TimeSource};
use crate::keys::KeyKind;
use crate::workload::{KEYS_A_CALL, SCAN_LEN};

/// Words of an entry: 16 bytes of key, 64 of value, 24 of what a version needs.
const ENTRY_WORDS: usize = 13;

/// The first word of the value, on another line than the key.
const VALUE: usize = 9;

/// Entries of a leaf that is full on average: of 64 at most, two thirds.
const LEAF_ENTRIES: usize = 42;

/// The first word of a leaf's heads, of which two are a word: behind the slots, and half a line of what the entries have in common.
const HEADS: usize = LEAF_ENTRIES + 4;

/// Words of a leaf.
const LEAF_WORDS: usize = HEADS + LEAF_ENTRIES / 2;

type Entry = [u64; ENTRY_WORDS];
type Leaf = [u64; LEAF_WORDS];

/// An entry in memory of its own.
pub(super) type Placed = Box<[u64]>;

/// A table without its code.
pub(super) struct Ground {
    leaves: Vec<Leaf>,
    entries: Vec<Entry>,
    /// Entries, told by the order of their insertion, in the order of their keys.
    ascending: Vec<u32>,
    /// Entries in the order in which they are asked for: for each the place of its slot among all.
    queries: Vec<u32>,
}

impl Ground {
    pub(super) fn new(keys: KeyKind, n: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ascending: Vec<u32> = (0..u32::try_from(n).unwrap_or(u32::MAX)).collect();
        let mut queries = ascending.clone();
        queries.shuffle(&mut rng);
        if keys != KeyKind::Sequential {
            ascending.shuffle(&mut rng);
        }
        let leaf = |entries: &[u32]| {
            let mut leaf = [0; LEAF_WORDS];
            for (slot, entry) in leaf.iter_mut().zip(entries) {
                *slot = u64::from(*entry);
            }
            leaf
        };
        // Written one by one: memory that was asked for as zeros is all one page, which is in the cache, until it is written.
        let entry = |_| black_box([0; ENTRY_WORDS]);
        Self {
            leaves: ascending.chunks(LEAF_ENTRIES).map(leaf).collect(),
            entries: (0..n).map(entry).collect(),
            ascending,
            queries,
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.queries.len()
    }

    /// A line of heads and one of slots, neither of which waits for the other, then the entry, whose place the slot tells.
    fn get(&self, place: u64) -> u64 {
        let place = place as usize;
        let leaf = &self.leaves[place / LEAF_ENTRIES];
        let nth = place % LEAF_ENTRIES;
        let (head, slot) = (leaf[HEADS + nth / 2], leaf[nth]);
        let entry = &self.entries[slot as usize];
        head | entry[0] | entry[VALUE]
    }

    pub(super) fn calls(&self) -> usize {
        self.queries.len().div_ceil(KEYS_A_CALL)
    }

    fn call(&self, call: usize) -> &[u32] {
        let from = call * KEYS_A_CALL;
        &self.queries[from..self.queries.len().min(from + KEYS_A_CALL)]
    }

    /// Gets one after the other: where the next one looks depends on what this one found. (It is zero.)
    pub(super) fn one_by_one(&self, call: usize) -> bool {
        let places = self.call(call).iter();
        places.fold(0, |found, place| self.get(u64::from(*place) + found)) == 0
    }

    /// Gets that do not wait for one another.
    pub(super) fn all_at_once(&self, call: usize) -> bool {
        let places = self.call(call).iter();
        places.fold(0, |found, place| found | self.get(u64::from(*place))) == 0
    }

    fn read(&self, found: u64, at: &u32) -> u64 {
        let entry = &self.entries[*at as usize];
        found | entry[0] | entry[VALUE]
    }

    /// All entries in order.
    pub(super) fn scan(&self) -> bool {
        let entries = self.ascending.iter();
        entries.fold(0, |found, at| self.read(found, at)) == 0
    }

    /// A get, and from there on some entries in order, which do not wait for one another.
    pub(super) fn scan_from(&self, query: usize) -> bool {
        let place = self.queries[query];
        let first = place as usize + self.get(u64::from(place)) as usize;
        let entries = self.ascending[first..].iter().take(SCAN_LEN);
        entries.fold(0, |found, at| self.read(found, at)) == 0
    }

    /// New entries, and for each a copy of the leaf that it belongs to: one after the other, as with
    /// [`one_by_one`](Self::one_by_one).
    pub(super) fn insert(&self, call: usize) -> Vec<Placed> {
        let mut found = 0;
        let insert = |place: &u32| {
            let place = u64::from(*place) + found;
            let entry = Placed::from([place; ENTRY_WORDS]);
            found = black_box(self.leaves[place as usize / LEAF_ENTRIES])[LEAF_ENTRIES];
            entry
        };
        self.call(call).iter().map(insert).collect()
    }
}

/// Frees entries in the order of their keys.
pub(super) fn free(mut entries: Vec<Placed>, clock: TimeSource) -> f64 {
    entries.sort_unstable_by_key(|entry| entry[0]);
    let count = entries.len().max(1);
    let start = Moment::now();
    drop(entries);
    Moment::now().since(&start, clock).as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::{Ground, LEAF_ENTRIES, Placed, free};
    use crate::clock::TimeSource;
    use crate::keys::KeyKind;

    #[test]
    fn a_loop_visits_every_entry_once() {
        let ground = Ground::new(KeyKind::Random, 1_000, 7);
        let mut visited: Vec<u64> = (0..ground.calls())
            .flat_map(|call| ground.insert(call))
            .map(|entry| entry[0])
            .collect();
        visited.sort_unstable();
        assert!(visited.into_iter().eq(0..1_000));
        let slots = ground.leaves.iter().flat_map(|leaf| &leaf[..LEAF_ENTRIES]);
        let mut slots: Vec<u64> = slots.copied().take(1_000).collect();
        slots.sort_unstable();
        assert!(slots.into_iter().eq(0..1_000));
    }

    #[test]
    fn freeing_takes_time() {
        assert!(free(vec![Placed::from([0; 13]); 10_000], TimeSource::Wall) > 0.0);
    }
}
