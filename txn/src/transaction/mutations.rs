//! What a commit carries, from the buffer's keys and flags.
//!
//! | in the buffer | mutation |
//! |---|---|
//! | value | `Put`; `Insert` if presumed absent |
//! | tombstone | `Delete` |
//! | tombstone, presumed absent, optimistic | `CheckNotExists` |
//! | tombstone, presumed absent, pessimistic | `Lock` if locked and known absent, else `Delete` |
//! | tombstone, newly inserted | `Lock` if locked, else none |
//! | ignored in two-phase commit; flags only | `Lock` if locked, else none |
//!
//! A conflict is looked for in every mutation whose key was not locked by a call of this transaction.

use super::Core;
use super::options::Mode;
use super::register::Known;
use crate::buffer::Entry;
use crate::flags::KeyFlags;
use crate::store::{Guard, Mutation, MutationOp};
use bytes::Bytes;

impl Core {
    /// In key order; only once the buffer is closed.
    pub(super) fn mutations(&self) -> Vec<Mutation> {
        self.buffer
            .range_with_flags::<&[u8]>(..)
            .filter_map(|(key, entry, flags)| {
                let known = self.register.kept(&key);
                let op = self.operation(entry, flags, known)?;
                Some(Mutation {
                    guard: if known.is_some() {
                        Guard::Locked
                    } else {
                        Guard::Checked
                    },
                    ..Mutation::new(key, op)
                })
            })
            .collect()
    }

    fn operation(
        &self,
        entry: Option<Entry>,
        flags: KeyFlags,
        known: Option<Known>,
    ) -> Option<MutationOp> {
        let lock = flags.contains(KeyFlags::LOCKED).then_some(MutationOp::Lock);
        if flags.contains(KeyFlags::IGNORED_IN_2PC) {
            return lock;
        }
        let presumed_absent = flags.presumes_not_exists();
        match entry {
            None => lock,
            Some(Entry::Value(value)) if presumed_absent => Some(MutationOp::Insert(value)),
            Some(Entry::Value(value)) => Some(MutationOp::Put(value)),
            Some(Entry::Tombstone) if presumed_absent => Some(match self.options.mode {
                Mode::Optimistic => MutationOp::CheckNotExists,
                Mode::Pessimistic if known == Some(Known::Absent) => lock?,
                Mode::Pessimistic => MutationOp::Delete,
            }),
            Some(Entry::Tombstone) if flags.contains(KeyFlags::NEWLY_INSERTED) => lock,
            Some(Entry::Tombstone) => Some(MutationOp::Delete),
        }
    }
}

/// Length of the keys and values that the mutations carry.
pub(super) fn bytes_of(mutations: &[Mutation]) -> usize {
    mutations
        .iter()
        .map(|mutation| {
            let value = match &mutation.op {
                MutationOp::Put(value) | MutationOp::Insert(value) => Bytes::len(value),
                MutationOp::Delete | MutationOp::Lock | MutationOp::CheckNotExists => 0,
            };
            mutation.key.len() + value
        })
        .sum()
}
