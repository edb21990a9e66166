//! Batches: writes of several keys that take effect at one instant.
//!
//! A batch is an immutable *descriptor*: its writes, sorted by key, one for each key. Its versions are published one after
//! another like any others, but their stamp names the descriptor instead of a time, and the descriptor's own word, the *decision*,
//! says for all of them at once when they take effect:
//!
//! ```text
//!   open ──► pending ──► in effect from segment s        all versions are placed, then the clock is read
//!                   └──► void                            the clock had turned; the owner starts again with a new descriptor
//! ```
//!
//! | word | who changes it | how |
//! |---|---|---|
//! | decision | anybody: from open when all writes are placed, from pending with the clock that he reads after he met it | one CAS each |
//! | place of a write (entry and version) | whoever published the version or found it | stores of the same values |
//! | stamp of a version in the batch | anybody, from the descriptor to what the decision came to | one CAS |
//! | | the owner, to the same and *booked* | one store |
//!
//! * B1 *Readers look below.* A version of an open batch is not there for a reader, who helps nobody: he loads `previous`, then
//!   looks at the decision, then goes on below. In the other order the batch could be decided and what lies below be cut off
//!   between the two. A pending decision he stamps, as he would a version.
//! * B2 *Writers complete.* Who would write over a version of an open batch first places what is missing and closes it. So
//!   what a write is computed from is decided, and nothing is put on an open version. Since keys are placed in order, what one
//!   batch waits for in another lies further right than what that one has placed: no cycle, the last one waits for nobody.
//! * B3 *The owner cleans up.* It gives each version its final stamp before it lets go of the descriptor, so no version that can
//!   be reached names a descriptor that was retired. It alone claims a stripe of the account, announces the descriptor there and books all
//!   versions as one; until then they are not booked, so they are neither unlinked nor buried, whoever placed them. The final stamp
//!   comes booked: a store does, for until it is booked others change the word at most to the same stamp. All of that under one
//!   guard, which is older than the decision whoever makes that: so where a stage that the batch is in is taken back meanwhile, the
//!   hole is not forgotten before the last version is in its list (D3).
//! * B4 *Each write is placed once.* Who places loads the head (or the run), *then* looks whether the batch is open, then exchanges.
//!   If another placed the write before the head was loaded, the version is that head, for nothing is put on it while the batch is open;
//!   if he did so later, the head is not what is expected. Neither a head nor a run comes back while a guard could tell.
//! * B5 *Closed means complete.* The decision leaves *open* only when every write is placed, even if the batch is going to be void:
//!   so a late helper's exchange always fails.
//!
//! Undecided versions in one descriptor are the multi-word operations of Harris, Fraser and Pratt ("A practical multi-word
//! compare-and-swap operation", DISC 2002), with readers that do not help and a decision that is stamped like a version
//! (Wei et al., PPoPP 2021).

mod ahead;
mod apply;
mod descriptor;
mod op;
mod write_batch;
mod writes;

pub(crate) use descriptor::Descriptor;
pub use write_batch::WriteBatch;
pub use writes::{BatchWrite, BatchWrites};
