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
//! **The key's queue** (`queue`, `waits`): claims, upgrade lane, queue. Plain data, changed only inside a closure that
//! runs with the key's shard of the map locked. No other lock but a waiter's slot is taken inside, nothing is woken there, and no
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
//! Who begins to wait looks near by: few owners wait, so that mostly ends with whom it waits for, and most
//! deadlocks are of two. A call that has waited for [`LockTableOptions::deadlock_delay`] walks the whole graph,
//! breadth first, from the owners that block it, and looks for a way back to its own owner. Depth is not limited. Every
//! cycle has a call that joined it last; all other edges existed when that call's search began, so that search finds it.
//! Another call can come to stand *ahead* of one that waits only as an upgrade, which then is itself the last one.
//!
//! Of the calls ahead of one that waits, the walk follows only those that have a *sibling*, another waiting call of their
//! owner. Whoever waits with one call alone leads to what that waits for, and for the same an exclusive call behind it
//! waits as well. So a queue costs a search nothing, however long it is, where nobody in it waits for anything else. A
//! call is noted to have a sibling before that joins its queue: the search of the last call of a cycle sees the note.
//! Those ahead of an exclusive call with a sibling are reached by that one. If it fails or becomes an upgrade before the
//! walk has found nothing, the walk begins again.
//!
//! Several calls of an owner for one key wait where the first of them stands, since its grant serves all: who stands
//! between them is none of their edges. When one of them ends, edges may come to be without a call that joins: the
//! others stand behind more if it failed; if it was granted, those that became upgrades have overtaken others. So each
//! call of the owner is searched for again.
//!
//! Searches that are due together share what their walks have explored without finding anything: owners from which no
//! way leads to an owner outside, and which of these lead to no cycle at all, so that their calls need no walk. So in
//! whatever order the calls come, an edge is read once, unless it leads to a deadlock. All of these calls had joined when
//! the first walk began, so a way that is there only since then is for the search of the call that made it, which comes
//! with the next ones and starts afresh.
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
//! Somebody has to look at the clock for a call that waits: the table's timer thread, started by the first one that
//! does, joined when the last handle of the table is dropped. A wait that ends takes its entry out of the timer at once. The
//! thread is woken only for what is due before it looks by itself. Between two searches it looks who else is due, so
//! that nobody's budget waits for more than one of them, which may walk a few times.
//! Blocking calls use it too: a thread that parks without a timeout of its own is woken in a third of the time, where a
//! timeout is a trap into a hypervisor. If the thread cannot be started they park with a timeout and look after
//! themselves; a future gets [`LockError::TimerUnavailable`].
//!
//! # Cost
//!
//! Uncontended acquire and release are one visit to a shard each and allocate nothing but the map's entry (which shares
//! the bytes of the key given). A wait allocates its waiter, and the queue if it is the first. Memory falls back when
//! keys are released: an empty table keeps a bounded amount of spare capacity, not what its peak was.

mod acquire;
mod claims;
mod core;
#[cfg(all(test, not(untorn_loom)))]
mod deadlock_model;
mod error;
mod queue;
#[cfg(all(test, not(untorn_loom)))]
mod queue_model;
mod request;
mod shards;
mod stats;
mod table;
mod taking;
mod timer;
mod wait_graph;
mod waiter;
mod waits;

pub use acquire::{Acquire, Canceller};
pub(crate) use error::Cycle;
pub use error::{LockError, WaitEdge};
pub use request::{Granted, HeldLock, Holder, LockMode, LockRequest, OwnerId, Wait, WaitingCall};
pub use stats::LockStats;
pub use table::{LockTable, LockTableOptions};
pub(crate) use taking::{Refused, Taking};
