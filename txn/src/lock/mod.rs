//! Locks on keys, for owners that may have many calls in flight at once.

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
        Self { deadlock_delay: Duration::from_millis(1) }
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
    pub fn acquire(&self, owner: OwnerId, key: &Bytes, mode: LockMode, request: &LockRequest) -> Acquire {
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
    pub fn release_all<K: AsRef<[u8]>>(&self, owner: OwnerId, keys: impl IntoIterator<Item = K>) -> usize {
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
