//! What waits to be freed.

use crate::reclaim;

/// Bytes that were overwritten, removed, rolled back or replaced by a copy and are not freed yet, over all tables of the process.
///
/// What a thread retired last, up to 32 KiB, is counted only when it is handed over. A number that keeps growing means that
/// some thread holds a [`Pinned`](crate::Pinned) handle.
pub fn garbage_bytes() -> u64 {
    let freed = reclaim::freed_bytes();
    reclaim::retired_bytes() - freed
}

/// Hands over what this thread retired, and frees some of what no thread can look at any more. For idle moments: writes do the
/// same as they go. What was retired just now is free after about three calls, if no thread holds a handle.
pub fn reclaim_garbage() {
    reclaim::pin().flush();
}
