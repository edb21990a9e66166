//! Flags of a key: what a transaction knows of it besides its value.
//!
//! Fourteen flags in a `u16` ([`KeyFlags`]), changed by operations ([`FlagOp`]) that are applied in
//! order. An operation touches the bits named in its own line and no other.
//!
//! | flag | operations | persistent |
//! |---|---|---|
//! | `PRESUME_NOT_EXISTS` | set (sets `NEED_CHECK_EXISTS` too), clear (clears both) | no |
//! | `LOCKED` | set, clear | yes |
//! | `NEED_LOCKED` | set, clear | no |
//! | `LOCKED_VALUE_EXISTS` | set (clears `NEED_CONSTRAINT_CHECK`), set-not-exists (clears both) | yes |
//! | `NEED_CHECK_EXISTS` | clear | no |
//! | `PREWRITE_ONLY`, `IGNORED_IN_2PC`, `READABLE`, `NEWLY_INSERTED` | set | no |
//! | `ASSERT_EXIST`, `ASSERT_NOT_EXIST` | set one (clears the other), unknown (both), none | no |
//! | `NEED_CONSTRAINT_CHECK` | set, clear; cleared by a value write that does not set it | yes |
//! | `PREVIOUS_PRESUME_NOT_EXISTS` | set; read as presumed absent | no |
//! | `LOCKED_SHARED` | set (sets `LOCKED` too), set-exclusive (clears it) | yes |
//!
//! *Persistent* flags describe the lock that the key holds. They belong to the key and survive
//! every rollback; the others belong to the write that set them and go with it.

bitflags::bitflags! {
    /// The flags of one key.
    ///
    /// ```
    /// use untorn_txn::{FlagOp, KeyFlags};
    ///
    /// let flags = KeyFlags::empty().apply(&[FlagOp::SetPresumeNotExists, FlagOp::SetLocked]);
    /// assert!(flags.presumes_not_exists());
    /// assert!(flags.contains(KeyFlags::NEED_CHECK_EXISTS));
    /// assert_eq!(flags & KeyFlags::PERSISTENT, KeyFlags::LOCKED);
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct KeyFlags: u16 {
        /// The key is taken to be absent in the store; to be checked by its lock or at prewrite.
        const PRESUME_NOT_EXISTS = 1 << 0;
        /// The transaction holds a lock on the key.
        const LOCKED = 1 << 1;
        /// The embedder wants the key locked before commit. Carried, not read by this crate.
        const NEED_LOCKED = 1 << 2;
        /// The lock found a value under the key.
        const LOCKED_VALUE_EXISTS = 1 << 3;
        /// Nobody has checked the presumption yet.
        const NEED_CHECK_EXISTS = 1 << 4;
        /// The key is sent at prewrite and not committed.
        const PREWRITE_ONLY = 1 << 5;
        /// The key makes no mutation, but for the lock that it may hold.
        const IGNORED_IN_2PC = 1 << 6;
        /// The embedder may read the key although it is only locked. Carried, not read.
        const READABLE = 1 << 7;
        /// The embedder wrote the key for the first time in this transaction.
        const NEWLY_INSERTED = 1 << 8;
        /// Commit asserts that the key exists.
        const ASSERT_EXIST = 1 << 9;
        /// Commit asserts that the key does not exist.
        const ASSERT_NOT_EXIST = 1 << 10;
        /// The key was written without a lock in a pessimistic transaction: prewrite checks it.
        const NEED_CONSTRAINT_CHECK = 1 << 11;
        /// An earlier statement presumed the key absent.
        const PREVIOUS_PRESUME_NOT_EXISTS = 1 << 12;
        /// The lock on the key is a shared one.
        const LOCKED_SHARED = 1 << 13;

        /// The flags that belong to the key and survive every rollback.
        const PERSISTENT = Self::LOCKED.bits()
            | Self::LOCKED_VALUE_EXISTS.bits()
            | Self::NEED_CONSTRAINT_CHECK.bits()
            | Self::LOCKED_SHARED.bits();
        /// Both assertion flags; together they say "unknown".
        const ASSERT_UNKNOWN = Self::ASSERT_EXIST.bits() | Self::ASSERT_NOT_EXIST.bits();
    }
}

impl KeyFlags {
    /// These flags after `ops`, applied in order.
    #[must_use]
    pub fn apply(self, ops: &[FlagOp]) -> KeyFlags {
        ops.iter().fold(self, |flags, op| op.apply(flags))
    }

    /// Presumed absent, by this statement or an earlier one.
    pub const fn presumes_not_exists(self) -> bool {
        self.intersects(Self::PRESUME_NOT_EXISTS.union(Self::PREVIOUS_PRESUME_NOT_EXISTS))
    }

    /// The assertion that commit carries for the key.
    pub const fn assertion(self) -> Assertion {
        match (
            self.contains(Self::ASSERT_EXIST),
            self.contains(Self::ASSERT_NOT_EXIST),
        ) {
            (false, false) => Assertion::None,
            (true, false) => Assertion::Exist,
            (false, true) => Assertion::NotExist,
            (true, true) => Assertion::Unknown,
        }
    }
}

/// What a key asserts at commit, read from its two assertion flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assertion {
    /// Nothing was said.
    None,
    /// The key exists in the store.
    Exist,
    /// The key does not exist in the store.
    NotExist,
    /// Nothing can be said.
    Unknown,
}

impl Assertion {
    /// Whether it goes with the key having a value, or none.
    pub const fn holds(self, exists: bool) -> bool {
        match self {
            Assertion::Exist => exists,
            Assertion::NotExist => !exists,
            Assertion::None | Assertion::Unknown => true,
        }
    }
}

impl std::fmt::Display for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Assertion::None => "nothing",
            Assertion::Exist => "there",
            Assertion::NotExist => "absent",
            Assertion::Unknown => "unknown",
        })
    }
}

/// One change of a key's flags; see the [table](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlagOp {
    /// Sets `PRESUME_NOT_EXISTS` and `NEED_CHECK_EXISTS`.
    SetPresumeNotExists,
    /// Clears `PRESUME_NOT_EXISTS` and `NEED_CHECK_EXISTS`.
    ClearPresumeNotExists,
    /// Sets `LOCKED`.
    SetLocked,
    /// Clears `LOCKED`. Releases nothing: locks live in the transaction's own register.
    ClearLocked,
    /// Sets `NEED_LOCKED`.
    SetNeedLocked,
    /// Clears `NEED_LOCKED`.
    ClearNeedLocked,
    /// Sets `LOCKED_VALUE_EXISTS`, clears `NEED_CONSTRAINT_CHECK`.
    SetLockedValueExists,
    /// Clears `LOCKED_VALUE_EXISTS` and `NEED_CONSTRAINT_CHECK`.
    SetLockedValueNotExists,
    /// Clears `NEED_CHECK_EXISTS`.
    ClearNeedCheckExists,
    /// Sets `PREWRITE_ONLY`.
    SetPrewriteOnly,
    /// Sets `IGNORED_IN_2PC`.
    SetIgnoredIn2pc,
    /// Sets `READABLE`.
    SetReadable,
    /// Sets `NEWLY_INSERTED`.
    SetNewlyInserted,
    /// Sets `ASSERT_EXIST`, clears `ASSERT_NOT_EXIST`. An assertion is about the store before this transaction, so the first one
    /// about a key is the one to keep.
    SetAssertExist,
    /// Sets `ASSERT_NOT_EXIST`, clears `ASSERT_EXIST`.
    SetAssertNotExist,
    /// Sets both assertion flags.
    SetAssertUnknown,
    /// Clears both assertion flags.
    SetAssertNone,
    /// Sets `NEED_CONSTRAINT_CHECK`.
    SetNeedConstraintCheck,
    /// Clears `NEED_CONSTRAINT_CHECK`.
    ClearNeedConstraintCheck,
    /// Sets `PREVIOUS_PRESUME_NOT_EXISTS`.
    SetPreviousPresumeNotExists,
    /// Sets `LOCKED_SHARED` and `LOCKED`.
    SetLockedShared,
    /// Clears `LOCKED_SHARED`.
    SetLockedExclusive,
}

impl FlagOp {
    /// Every operation, in the order of the table.
    pub const ALL: [FlagOp; 22] = [
        FlagOp::SetPresumeNotExists,
        FlagOp::ClearPresumeNotExists,
        FlagOp::SetLocked,
        FlagOp::ClearLocked,
        FlagOp::SetNeedLocked,
        FlagOp::ClearNeedLocked,
        FlagOp::SetLockedValueExists,
        FlagOp::SetLockedValueNotExists,
        FlagOp::ClearNeedCheckExists,
        FlagOp::SetPrewriteOnly,
        FlagOp::SetIgnoredIn2pc,
        FlagOp::SetReadable,
        FlagOp::SetNewlyInserted,
        FlagOp::SetAssertExist,
        FlagOp::SetAssertNotExist,
        FlagOp::SetAssertUnknown,
        FlagOp::SetAssertNone,
        FlagOp::SetNeedConstraintCheck,
        FlagOp::ClearNeedConstraintCheck,
        FlagOp::SetPreviousPresumeNotExists,
        FlagOp::SetLockedShared,
        FlagOp::SetLockedExclusive,
    ];

    /// The flags that the operation sets and the flags that it clears.
    pub const fn effect(self) -> (KeyFlags, KeyFlags) {
        const NONE: KeyFlags = KeyFlags::empty();
        const PRESUME: KeyFlags = KeyFlags::PRESUME_NOT_EXISTS.union(KeyFlags::NEED_CHECK_EXISTS);
        const CHECK: KeyFlags = KeyFlags::NEED_CONSTRAINT_CHECK;
        match self {
            FlagOp::SetPresumeNotExists => (PRESUME, NONE),
            FlagOp::ClearPresumeNotExists => (NONE, PRESUME),
            FlagOp::SetLocked => (KeyFlags::LOCKED, NONE),
            FlagOp::ClearLocked => (NONE, KeyFlags::LOCKED),
            FlagOp::SetNeedLocked => (KeyFlags::NEED_LOCKED, NONE),
            FlagOp::ClearNeedLocked => (NONE, KeyFlags::NEED_LOCKED),
            FlagOp::SetLockedValueExists => (KeyFlags::LOCKED_VALUE_EXISTS, CHECK),
            FlagOp::SetLockedValueNotExists => (NONE, KeyFlags::LOCKED_VALUE_EXISTS.union(CHECK)),
            FlagOp::ClearNeedCheckExists => (NONE, KeyFlags::NEED_CHECK_EXISTS),
            FlagOp::SetPrewriteOnly => (KeyFlags::PREWRITE_ONLY, NONE),
            FlagOp::SetIgnoredIn2pc => (KeyFlags::IGNORED_IN_2PC, NONE),
            FlagOp::SetReadable => (KeyFlags::READABLE, NONE),
            FlagOp::SetNewlyInserted => (KeyFlags::NEWLY_INSERTED, NONE),
            FlagOp::SetAssertExist => (KeyFlags::ASSERT_EXIST, KeyFlags::ASSERT_NOT_EXIST),
            FlagOp::SetAssertNotExist => (KeyFlags::ASSERT_NOT_EXIST, KeyFlags::ASSERT_EXIST),
            FlagOp::SetAssertUnknown => (KeyFlags::ASSERT_UNKNOWN, NONE),
            FlagOp::SetAssertNone => (NONE, KeyFlags::ASSERT_UNKNOWN),
            FlagOp::SetNeedConstraintCheck => (CHECK, NONE),
            FlagOp::ClearNeedConstraintCheck => (NONE, CHECK),
            FlagOp::SetPreviousPresumeNotExists => (KeyFlags::PREVIOUS_PRESUME_NOT_EXISTS, NONE),
            FlagOp::SetLockedShared => (KeyFlags::LOCKED_SHARED.union(KeyFlags::LOCKED), NONE),
            FlagOp::SetLockedExclusive => (NONE, KeyFlags::LOCKED_SHARED),
        }
    }

    /// `flags` after this operation.
    #[must_use]
    pub const fn apply(self, flags: KeyFlags) -> KeyFlags {
        let (set, clear) = self.effect();
        flags.difference(clear).union(set)
    }
}

#[cfg(test)]
mod tests;
