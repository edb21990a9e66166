//! Locks on keys, for owners that may have many calls in flight at once.
//!
//! A [`LockTable`] stands alone: bytes as keys, numbers as owners, exclusive and shared locks, first come first
//! served, deadlocks found by themselves. The embedded store builds on it.
//!
//! ```
//! use bytes::Bytes;
//! use untorn_txn::lock::{LockMode, LockRequest, LockTable};
//!
//! let table = LockTable::new();
//! let key = Bytes::from_static(b"row 1");
//! let granted = table.acquire_blocking(1, &key, LockMode::Exclusive, &LockRequest::attempt(1))?;
//! assert!(!granted.already_held);
//! assert!(table.try_acquire(2, &key, LockMode::Shared, 1).is_err());
//! table.release(1, &key, 1);
//! assert!(table.try_acquire(2, &key, LockMode::Shared, 1).is_ok());
//! # Ok::<(), untorn_txn::LockError>(())
//! ```
//!
//! # Owners, calls, claims
//!
//! An *owner* is a transaction. A *call* is one request of an owner for one key; an owner may have many in flight, also
//! for the same key. A granted call leaves a *claim* `(owner, attempt, mode)` on the key; the owner holds the key in
//! the strongest mode of its claims, for as long as it has one. [`LockTable::release`] takes away the claim of one
//! attempt, so a late release of a failed attempt leaves alone what a retry took under the next number.
//!
//! # What the locks promise
//!
//! * Two owners hold one key at once only if both hold it shared.
//! * First come, first served: a call that cannot be granted joins the end of the key's queue, and nobody overtakes it
//!   but an *upgrade* (its owner holds the key shared and wants it exclusively) and calls of an owner that already holds
//!   what they ask for. So a shared call queues behind a waiting exclusive one, and shared calls next to each other are
//!   granted together.
//! * A grant serves every waiting call of its owner on that key that it covers. What it does not cover (exclusive, while
//!   shared was granted) becomes an upgrade.
//! * Two owners that want to upgrade one key are a deadlock at once; the younger one's upgrade fails.
//! * A release grants to exactly those at the head of the queue who can hold together.
//!
//! # The protocol
//!
//! Three kinds of state, and who may change them:
//!
//! **The key's queue** (`queue`): claims, upgrade lane, queue. Plain data, changed only inside a closure that runs with
//! the key's shard of the map locked. No other lock but a waiter's slot is taken inside, nothing is woken there, and no
//! guard outlives the closure. Every entry in lane or queue is a call that still waits: whoever ends a wait unlinks it
//! in the same closure and grants what this makes possible. A key without claims and calls leaves the map.
//!
//! **The waiter's word** (`waiter`): one per call that had to wait.
//!
//! ```text
//!                  +--> GRANTED    by whoever made room: a release, a withdrawal, a grant to a sibling call
//!                  |               (the claim is on the key before the word says so)
//!                  +--> VICTIM     by a deadlock search, or by a competing upgrade of the same key
//!   WAITING --CAS--+--> TIMED_OUT  by the waiting thread itself, or by the timer thread: wait budget ended
//!                  +--> TOO_LATE   likewise: deadline came first
//!                  +--> CANCELLED  by the drop of the future, a canceller, or `cancel_owner`
//! ```
//!
//! One compare-and-swap from `WAITING` decides: it has exactly one winner, and no other transition exists. It is made
//! with the key's shard locked, so that the outcome and the unlinking are one step for everybody who looks at the key.
//! It is `AcqRel`, and the waiter reads it with `Acquire`, unlocked: what the previous owner did before its release is
//! seen by the next one. A future dropped after `GRANTED` and before it told its caller takes the claim back, which
//! grants the lock to the next: a lock given to a waiter that vanished passes on.
//!
//! **The waiter's slot**: a small mutex that holds whom to wake (a task's waker or a parked thread) and why the wait
//! failed (cycle or blockers). The waiter stores its waker, then reads the word; who ends the wait changes the word,
//! then takes the waker: one of the two sees the other. Failures are written with the slot locked around the CAS, so
//! who reads a failed word finds the reason. Wakers run after the shard is unlocked.
//!
//! **The wait-for graph** (`wait_graph`): owner to its waiting calls, sharded by owner. It holds no edges: whom a call
//! waits for is read from the key's queue when somebody asks, so an edge cannot be stale. A call is put in before it
//! joins a queue and taken out by itself after its outcome; a call whose word is not `WAITING` has no edges.
//!
//! # Deadlocks
//!
//! A call that has waited for [`LockTableOptions::deadlock_delay`] walks the graph, breadth first, from the owners that
//! block it, and looks for a way back to its own owner. Depth is not limited. Every cycle has a call that joined it last;
//! all other edges existed when that call's search began, so that search finds it. Another call can come to stand
//! *ahead* of one that waits only as an upgrade, which then is itself the last one.
//!
//! The walk reads one key after another, so what it found may be gone. Under one mutex for all searches, each edge is
//! read again before the victim is chosen. A waiting call never returns to waiting, and a blocker that left cannot come
//! back ahead of it (but as an upgrade: hence a third reading); edges read twice stood in between. So at the instant
//! between the first reading and the second the whole cycle stood, and the victim is due even if a timeout breaks the
//! cycle a moment later. The victim is the call, on the cycle, of its greatest owner. If its CAS is lost to a grant or
//! a timeout, or an edge is gone, the search starts again, until it finds nothing.
//!
//! # Time
//!
//! A blocking call parks with a timeout and looks after itself. A future needs somebody to look at the clock: the
//! table's timer thread, started by the first future that has to wait, joined when the last handle of the table is
//! dropped. A wait that ends takes its entry out of the timer at once.
//!
//! # Cost
//!
//! Uncontended acquire and release are one visit to a shard each and allocate nothing but the map's entry (which shares
//! the bytes of the key given). A wait allocates its waiter, and the queue if it is the first. Memory falls back when
//! keys are released: an empty table keeps a bounded amount of spare capacity, not what its peak was.

mod error;
mod request;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

pub use error::{LockError, WaitEdge};
pub use request::{Granted, HeldLock, Holder, LockMode, LockRequest, OwnerId, Wait, WaitingCall};

/// Settings of a [`LockTable`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockTableOptions {
    /// How long a call waits before it looks for a deadlock. Default: 1 ms.
    pub deadlock_delay: Duration,
}

impl Default for LockTableOptions {
    fn default() -> Self {
        Self {
            deadlock_delay: Duration::from_millis(1),
        }
    }
}

/// Counters of a table since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStats {
    /// Calls that were granted.
    pub grants: u64,
    /// Calls that had to wait.
    pub waits: u64,
    /// Calls that ended by their wait budget or deadline.
    pub timeouts: u64,
    /// Calls that were not granted at once and did not want to wait.
    pub not_available: u64,
    /// Calls that were chosen as the victim of a deadlock.
    pub deadlocks: u64,
    /// Calls that were cancelled or dropped while they waited.
    pub cancelled: u64,
    /// How long calls waited, whatever ended the wait: bucket `i` counts waits of at least `2^(i-1)` and less than
    /// `2^i` microseconds (bucket 0: less than one).
    pub wait_time: Vec<u64>,
}

/// Exclusive and shared locks on keys, first come, first served, with deadlock detection. A clone is the same table.
#[derive(Clone)]
pub struct LockTable(());

#[allow(unused_variables, missing_docs, clippy::new_without_default)]
impl LockTable {
    pub fn new() -> Self {
        todo!()
    }
    pub fn with_options(options: LockTableOptions) -> Self {
        todo!()
    }
    /// Takes its place in the queue now, not at the first poll. Dropping it withdraws.
    pub fn acquire(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Acquire {
        todo!()
    }
    /// The same, parking the thread.
    pub fn acquire_blocking(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        request: &LockRequest,
    ) -> Result<Granted, LockError> {
        todo!()
    }
    /// Never waits. The fastest way where no wait is wanted.
    pub fn try_acquire(
        &self,
        owner: OwnerId,
        key: &Bytes,
        mode: LockMode,
        attempt: u64,
    ) -> Result<Granted, LockError> {
        todo!()
    }
    /// Undoes the acquisition `attempt` of `owner` on `key`; false if there is none. The owner lets go of the key when
    /// its last acquisition is undone.
    pub fn release(&self, owner: OwnerId, key: &[u8], attempt: u64) -> bool {
        todo!()
    }
    /// Undoes every acquisition of `owner` on these keys; says how many of the keys it held. Calls that wait go on.
    pub fn release_all<K: AsRef<[u8]>>(
        &self,
        owner: OwnerId,
        keys: impl IntoIterator<Item = K>,
    ) -> usize {
        todo!()
    }
    /// Ends every waiting call of `owner` with [`LockError::Cancelled`]; says how many.
    pub fn cancel_owner(&self, owner: OwnerId) -> usize {
        todo!()
    }
    pub fn holders(&self, key: &[u8]) -> Vec<Holder> {
        todo!()
    }
    /// The mode in which `owner` holds `key`, if it does.
    pub fn mode_of(&self, owner: OwnerId, key: &[u8]) -> Option<LockMode> {
        todo!()
    }
    pub fn held(&self) -> Vec<HeldLock> {
        todo!()
    }
    pub fn waiting(&self) -> Vec<WaitingCall> {
        todo!()
    }
    pub fn stats(&self) -> LockStats {
        todo!()
    }
    /// Number of keys held or waited for.
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}

/// A call in flight: a future of [`Granted`]. `Send + 'static`, bound to no runtime. A drop withdraws it, and gives
/// back a lock that it was granted and did not hand out.
#[must_use = "dropping it withdraws the call"]
pub struct Acquire(PhantomData<()>);

impl Acquire {
    /// A handle that ends this wait from elsewhere.
    pub fn canceller(&self) -> Canceller {
        todo!()
    }
    /// Parks the thread until the call ends.
    pub fn wait(self) -> Result<Granted, LockError> {
        todo!()
    }
}

impl Future for Acquire {
    type Output = Result<Granted, LockError>;
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

/// Ends one call's wait from elsewhere.
#[derive(Clone)]
pub struct Canceller(());

impl Canceller {
    /// Ends the wait with [`LockError::Cancelled`]; false if the call had ended before (then its outcome stands).
    pub fn cancel(&self) -> bool {
        todo!()
    }
}
