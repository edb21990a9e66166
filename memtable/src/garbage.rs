//! What waits to be freed.

use crate::reclaim;
use crate::run;

/// Bytes that were overwritten, removed, rolled back or replaced by a copy and are not freed yet, over all tables of the process.
///
/// What a thread retired last, up to 32 KiB, is counted only when it is handed over. What may be freed is freed by writers, twice as
/// fast as they retire, so that none has to stop for it, and a reader least of all: up to 160 KiB wait for the thread they came
/// from, which frees them with its next writes or at its end, and what is beyond that for the next writes of any. A number
/// that keeps growing means that some thread holds a [`Pinned`](crate::Pinned) handle.
pub fn garbage_bytes() -> u64 {
    let freed = reclaim::freed_bytes();
    reclaim::retired_bytes() - freed
}

/// Hands over what this thread retired, and frees some of what no thread can look at any more. For idle moments: writes do the
/// same as they go. What was retired just now is free after about three calls, if no thread holds a handle; what piled up while one did
/// goes in the order in which it came, at least 256 KiB a call.
///
/// A thread keeps up to 128 KiB of freed memory for its next inserts, until its end. That goes back to the allocator too.
pub fn reclaim_garbage() {
    reclaim::pin().flush();
    run::free_kept();
}

/// An upper bound on the age of the oldest [`Pinned`](crate::Pinned) handle, this thread's included, over all tables of the process: near
/// zero if there is none.
///
/// As long as such a handle lives nothing is freed that was retired since it was made, so together with [`garbage_bytes`] this
/// tells a reader that stands still. The handles keep no time: it is known up to which moment garbage could be freed, and
/// each call sends a probe after the last one. Asked once a second it is right to the second. Under a microsecond; never waits.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// let pinned = table.pin();
/// let began = std::time::Instant::now();
/// while untorn_memtable::oldest_guard_age() < std::time::Duration::from_millis(5) {
///     assert!(began.elapsed().as_secs() < 60);
/// }
/// # drop(pinned);
/// ```
#[cfg(not(untorn_loom))]
pub fn oldest_guard_age() -> std::time::Duration {
    reclaim::oldest_guard_age()
}
