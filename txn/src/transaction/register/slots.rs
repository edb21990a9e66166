//! The keys of the register: found by name once in a call, by number afterwards.

use super::key::Key;
use bytes::Bytes;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;
use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

/// A key's number, good for as long as the key is claimed or its lock held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::transaction) struct Slot(usize);

#[derive(Default)]
pub(super) struct Slots {
    hasher: DefaultHashBuilder,
    /// The number of each key, with the hash of its name: so it grows without a look at the keys.
    index: HashTable<(u64, usize)>,
    keys: Slab<Key>,
}

impl Slots {
    pub(super) fn find(&self, name: &[u8]) -> Option<Slot> {
        let hash = self.hasher.hash_one(name);
        let is_it = |&(_, at): &(u64, usize)| self.keys[at].name == name;
        self.index.find(hash, is_it).map(|&(_, at)| Slot(at))
    }

    /// Makes room for so many more, so that they do not move each other.
    pub(super) fn reserve(&mut self, keys: usize) {
        self.keys.reserve(keys);
        self.index.reserve(keys, |&(hash, _)| hash);
    }

    /// The key of this name, which is made if it is not there.
    pub(super) fn find_or_make(&mut self, name: &Bytes) -> Slot {
        let hash = self.hasher.hash_one(&name[..]);
        let keys = &mut self.keys;
        let is_it = |&(_, at): &(u64, usize)| keys[at].name == name;
        match self.index.entry(hash, is_it, |&(hash, _)| hash) {
            Entry::Occupied(found) => Slot(found.get().1),
            Entry::Vacant(vacant) => {
                let at = keys.insert(Key::of(name.clone()));
                vacant.insert((hash, at));
                Slot(at)
            }
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        let hash = self.hasher.hash_one(&self.keys[slot.0].name[..]);
        if let Ok(found) = self.index.find_entry(hash, |&(_, at)| at == slot.0) {
            found.remove();
        }
        self.keys.remove(slot.0);
    }

    /// What has this number now, whatever had it before.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Key> {
        self.keys.get_mut(slot.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Key)> {
        self.keys.iter().map(|(at, key)| (Slot(at), key))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Key> {
        self.keys.iter_mut().map(|(_, key)| key)
    }
}

impl Index<Slot> for Slots {
    type Output = Key;

    fn index(&self, slot: Slot) -> &Key {
        &self.keys[slot.0]
    }
}

impl IndexMut<Slot> for Slots {
    fn index_mut(&mut self, slot: Slot) -> &mut Key {
        &mut self.keys[slot.0]
    }
}
