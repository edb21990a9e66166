//! What a transaction asks of a store.

use super::Timestamp;
use crate::DisplayKey;
use crate::flags::Assertion;
use crate::lock::{LockMode, Wait};
use bytes::Bytes;
use std::fmt;
use std::ops::Bound;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// How long a lock outlives the last sign of life of its transaction, if nothing else is said.
pub const LOCK_TTL: Duration = Duration::from_secs(20);

/// How a transaction is opened.
#[derive(Debug, Clone, Default)]
pub struct Begin {
    /// The start timestamp; by default a fresh one.
    pub start_ts: Option<Timestamp>,
    /// Alive for as long as the transaction's owner is, where that is in this process. A store that lives in it as
    /// well resolves no lock of an owner that is alive, however late its heartbeats are; for an owner that gave
    /// none, or is gone, time to live counts.
    pub owner: Weak<()>,
}

/// A part of the data, as it was at a timestamp.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// Where the range begins.
    pub lower: Bound<Bytes>,
    /// Where it ends.
    pub upper: Bound<Bytes>,
    /// The timestamp.
    pub at: Timestamp,
    /// How many keys at most.
    pub limit: usize,
    /// From the back.
    pub reverse: bool,
}

/// As of when a locked key is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForUpdate {
    /// As of the grant: there can be no conflict.
    #[default]
    Fresh,
    /// As of this timestamp: a later commit of the key is [`Error::WriteConflict`](crate::Error::WriteConflict).
    At(Timestamp),
}

/// A key to be locked.
#[derive(Clone, PartialEq, Eq)]
pub struct LockKey {
    /// The key.
    pub key: Bytes,
    /// Names the lock among those of its transaction.
    pub attempt: u64,
    /// Fail with [`Error::KeyExists`](crate::Error::KeyExists) if there is a value; implies
    /// [`existence`](LockTerms::existence).
    pub absent: bool,
}

impl LockKey {
    /// A key, whether it has a value or not.
    pub fn new(key: Bytes, attempt: u64) -> Self {
        Self {
            key,
            attempt,
            absent: false,
        }
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockKey")
            .field("key", &format_args!("\"{}\"", DisplayKey(&self.key)))
            .field("attempt", &self.attempt)
            .field("absent", &self.absent)
            .finish()
    }
}

/// How keys are to be locked: the same for all keys of one request.
///
/// ```
/// use untorn_txn::lock::LockMode;
/// use untorn_txn::store::LockTerms;
///
/// let terms = LockTerms { existence: true, ..LockTerms::new("k".into()) };
/// assert_eq!((terms.mode, terms.value), (LockMode::Exclusive, false));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LockTerms {
    /// The key whose lock stands for the whole transaction. It is locked exclusively, in a request for it alone,
    /// before any request names it for other keys.
    pub primary: Bytes,
    /// Exclusive or shared. A transaction never upgrades.
    pub mode: LockMode,
    /// As of when.
    pub for_update: ForUpdate,
    /// Grant it in spite of a later commit, and tell of that by
    /// [`conflict_ts`](super::Locked::conflict_ts) instead of failing. Only in requests for one key.
    pub force: bool,
    /// How long to wait for others, in all.
    pub wait: Wait,
    /// When to give up in any case.
    pub deadline: Option<Instant>,
    /// Whether to tell the values; implies `existence`.
    pub value: bool,
    /// Whether to tell if there are values.
    pub existence: bool,
    /// Lock only keys that have a value; implies `existence`.
    pub only_if_exists: bool,
    /// How long the locks live from now on without a heartbeat.
    pub ttl: Duration,
}

impl LockTerms {
    /// Exclusive, with the default budget, and nothing asked.
    pub fn new(primary: Bytes) -> Self {
        Self {
            primary,
            mode: LockMode::Exclusive,
            for_update: ForUpdate::Fresh,
            force: false,
            wait: Wait::For(Duration::from_secs(50)),
            deadline: None,
            value: false,
            existence: false,
            only_if_exists: false,
            ttl: LOCK_TTL,
        }
    }
}

impl fmt::Debug for LockTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockTerms")
            .field(
                "primary",
                &format_args!("\"{}\"", DisplayKey(&self.primary)),
            )
            .field("mode", &self.mode)
            .field("for_update", &self.for_update)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// What a commit does to one key.
#[derive(Clone, PartialEq, Eq)]
pub enum MutationOp {
    /// Sets the value.
    Put(Bytes),
    /// Sets the value; fails if there is one.
    Insert(Bytes),
    /// Deletes the key.
    Delete,
    /// Changes nothing, but conflicts with whoever looked at the key before and writes it after.
    Lock,
    /// Changes nothing and leaves nothing; fails if there is a value.
    CheckNotExists,
}

impl fmt::Debug for MutationOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(f, "Put({} bytes)", value.len()),
            Self::Insert(value) => write!(f, "Insert({} bytes)", value.len()),
            Self::Delete => f.write_str("Delete"),
            Self::Lock => f.write_str("Lock"),
            Self::CheckNotExists => f.write_str("CheckNotExists"),
        }
    }
}

/// What keeps others from having changed the key of a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The transaction's lock on it: [`Error::LockLost`](crate::Error::LockLost) where it holds none.
    Locked,
    /// Nothing: [`Error::WriteConflict`](crate::Error::WriteConflict) if it was committed after the start timestamp.
    Checked,
    /// Something that the caller knows of: a later commit is no conflict.
    Trusted,
}

/// One mutation of a commit.
#[derive(Clone, PartialEq, Eq)]
pub struct Mutation {
    /// The key.
    pub key: Bytes,
    /// What happens to it.
    pub op: MutationOp,
    /// What makes sure that it may.
    pub guard: Guard,
    /// What is asserted of the key before the commit; looked at under [`AssertionLevel::Strict`].
    pub assertion: Assertion,
}

impl Mutation {
    /// A mutation that is checked for conflicts and asserts nothing.
    pub fn new(key: Bytes, op: MutationOp) -> Self {
        Self {
            key,
            op,
            guard: Guard::Checked,
            assertion: Assertion::None,
        }
    }
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutation")
            .field("key", &format_args!("\"{}\"", DisplayKey(&self.key)))
            .field("op", &self.op)
            .field("guard", &self.guard)
            .field("assertion", &self.assertion)
            .finish()
    }
}

/// How far the assertions of a transaction's keys are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AssertionLevel {
    /// Not at all.
    #[default]
    Off,
    /// As far as a lock knows whether its key exists, as one does that was asked for with `return_values` or `check_existence`, or of
    /// a key that was inserted: costs nothing.
    Fast,
    /// Each is looked up by the store at prewrite.
    Strict,
}

/// The first phase of a commit.
#[derive(Debug, Clone)]
pub struct Prewrite {
    /// The key whose lock stands for the whole transaction; one of the mutations'.
    pub primary: Bytes,
    /// The mutations, in key order, each key once.
    pub mutations: Vec<Mutation>,
    /// The largest timestamp as of which the transaction's locks saw their keys.
    pub for_update_ts: Timestamp,
    /// How far to look at assertions. A conflict is reported rather than a failed assertion.
    pub assertions: AssertionLevel,
    /// How long to wait, in all, for keys that others have locked.
    pub wait: Wait,
    /// When to give up in any case.
    pub deadline: Option<Instant>,
    /// How long the locks live from now on without a heartbeat.
    pub ttl: Duration,
    /// Whether the store may commit along with it, if it [can](super::Store::decides_in_prewrite).
    pub may_decide: bool,
}

impl Prewrite {
    /// Of these mutations, without waiting for a lock; the first key that may be is the primary.
    pub fn new(mutations: Vec<Mutation>) -> Self {
        let leaves_something = |mutation: &&Mutation| mutation.op != MutationOp::CheckNotExists;
        let primary = mutations.iter().find(leaves_something);
        let primary = primary.or(mutations.first());
        Self {
            primary: primary.map_or_else(Bytes::new, |mutation| mutation.key.clone()),
            mutations,
            for_update_ts: 0,
            assertions: AssertionLevel::Off,
            wait: Wait::NoWait,
            deadline: None,
            ttl: LOCK_TTL,
            may_decide: true,
        }
    }

    /// Whether there is something to commit: more than checks.
    pub fn leaves_something(&self) -> bool {
        self.mutations
            .iter()
            .any(|mutation| mutation.op != MutationOp::CheckNotExists)
    }
}
