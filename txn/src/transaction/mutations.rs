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
//! *Locked* is a key whose lock the register keeps, and one whose flag was set by hand. What the begin option's filter
//! skips is as if ignored. A key that is locked shared can only become a `Lock`.
//!
//! A conflict is looked for in every mutation whose key was not locked by a call of this transaction; with
//! [`UnlockedWrites::Trusted`] in those of them alone that carry `NEED_CONSTRAINT_CHECK`.

use super::Core;
use super::options::{Mode, UnlockedWrites};
use super::register::{Hold, Known};
use crate::buffer::Entry;
use crate::error::Error;
use crate::flags::{Assertion, KeyFlags};
use crate::lock::LockMode;
use crate::store::{AssertionLevel, Guard, Mutation, MutationOp};
use bytes::Bytes;

/// What a commit is to carry, and what is to be found out before.
#[derive(Debug)]
pub(super) struct Carried {
    /// In key order.
    pub(super) mutations: Vec<Mutation>,
    /// Locked without a question and now presumed absent: to be asked again (rule 26).
    pub(super) to_check: Vec<Bytes>,
    /// The first assertion that a lock knows not to hold.
    pub(super) failed: Option<Error>,
}

impl Core {
    /// Only once the buffer is closed.
    pub(super) fn mutations(&self) -> Result<Carried, Error> {
        let mut carried = Carried {
            mutations: Vec::new(),
            to_check: Vec::new(),
            failed: None,
        };
        for (key, entry, flags) in self.buffer.range_with_flags::<&[u8]>(..) {
            let hold = self.register.kept(&key);
            let Some(op) = self.operation(&key, entry, flags, hold.as_ref()) else {
                continue;
            };
            if let Some(hold) = &hold {
                if hold.mode == LockMode::Shared && op != MutationOp::Lock {
                    return Err(Error::OptionConflict {
                        reason: "a key that is locked shared was written, and locks are not upgraded",
                    });
                }
                // A store may not check keys that are locked.
                if matches!(op, MutationOp::Insert(_)) {
                    match hold.known {
                        Known::Exists => return Err(Error::KeyExists { key }),
                        Known::Unknown => carried.to_check.push(key.clone()),
                        Known::Absent => {}
                    }
                }
            }
            let assertion = self.assertion(&key, flags, hold.as_ref(), &mut carried.failed);
            carried.mutations.push(Mutation {
                guard: self.guard(flags, hold.is_some()),
                assertion,
                ..Mutation::new(key, op)
            });
        }
        self.carry_primary(&mut carried.mutations);
        Ok(carried)
    }

    fn operation(
        &self,
        key: &Bytes,
        entry: Option<Entry>,
        flags: KeyFlags,
        hold: Option<&Hold>,
    ) -> Option<MutationOp> {
        let is_locked = hold.is_some() || flags.contains(KeyFlags::LOCKED);
        let lock = is_locked.then_some(MutationOp::Lock);
        if flags.contains(KeyFlags::IGNORED_IN_2PC) {
            return lock;
        }
        let Some(entry) = entry else { return lock };
        if let Some(filter) = &self.options.filter
            && filter.skips(key, &entry, flags)
        {
            return lock;
        }
        let presumed_absent = flags.presumes_not_exists();
        match entry {
            Entry::Value(value) if presumed_absent => Some(MutationOp::Insert(value)),
            Entry::Value(value) => Some(MutationOp::Put(value)),
            Entry::Tombstone if presumed_absent => Some(match self.options.mode {
                Mode::Optimistic => MutationOp::CheckNotExists,
                Mode::Pessimistic if hold.is_some_and(|hold| hold.known == Known::Absent) => lock?,
                Mode::Pessimistic => MutationOp::Delete,
            }),
            Entry::Tombstone if flags.contains(KeyFlags::NEWLY_INSERTED) => lock,
            Entry::Tombstone => Some(MutationOp::Delete),
        }
    }

    fn guard(&self, flags: KeyFlags, is_locked: bool) -> Guard {
        let is_trusted = self.options.mode == Mode::Pessimistic
            && self.options.unlocked_writes == UnlockedWrites::Trusted
            && !flags.contains(KeyFlags::NEED_CONSTRAINT_CHECK);
        match (is_locked, is_trusted) {
            (true, _) => Guard::Locked,
            (false, true) => Guard::Trusted,
            (false, false) => Guard::Checked,
        }
    }

    /// What the store is to check. What a lock knows is checked here.
    fn assertion(
        &self,
        key: &Bytes,
        flags: KeyFlags,
        hold: Option<&Hold>,
        failed: &mut Option<Error>,
    ) -> Assertion {
        let assertion = flags.assertion();
        match self.options.assertions {
            AssertionLevel::Strict => return assertion,
            AssertionLevel::Off => {}
            AssertionLevel::Fast => {
                let exists = hold.and_then(|hold| hold.known.exists());
                if exists.is_some_and(|exists| !assertion.holds(exists)) {
                    failed.get_or_insert(Error::AssertionFailed {
                        key: key.clone(),
                        start_ts: self.start_ts,
                        assertion,
                    });
                }
            }
        }
        Assertion::None
    }

    /// The primary is carried wherever a lock names it, also if the call that chose it is still in flight.
    fn carry_primary(&self, mutations: &mut Vec<Mutation>) {
        if !is_any_locked(mutations) {
            return;
        }
        let Some(primary) = self.register.primary() else {
            return;
        };
        if let Err(at) = mutations.binary_search_by(|mutation| mutation.key.cmp(&primary)) {
            let lock = Mutation {
                guard: Guard::Locked,
                ..Mutation::new(primary, MutationOp::Lock)
            };
            mutations.insert(at, lock);
        }
    }
}

/// Whether one of the mutations is of a key that the transaction has locked.
pub(super) fn is_any_locked(mutations: &[Mutation]) -> bool {
    mutations
        .iter()
        .any(|mutation| mutation.guard == Guard::Locked)
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
