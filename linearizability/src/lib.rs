//! Histories of threads, checked against every sequential order that they allow.
//!
//! An object that many threads use is *linearizable* if each operation takes effect at one instant between its call and its
//! return (Herlihy and Wing, 1990). A [`Specification`] says what an object answers that is used by one thread alone.
//! [`Trials`] let a few threads use the real one, [record](History::record) what it answered and when, and
//! [look](History::is_linearizable) for an order of all operations that agrees with time and with the specification. If there
//! is none, the history is [reduced](History::reduced) to the operations that matter and shown.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
//! use untorn_linearizability::{Object, Specification, Trials};
//!
//! /// A counter whose only operation adds one and answers what was there.
//! struct Counting;
//!
//! impl Specification for Counting {
//!     type Op = ();
//!     type Answer = u32;
//!     type State = u32;
//!
//!     fn initial(&self) -> u32 {
//!         0
//!     }
//!
//!     fn apply(&self, state: &mut u32, _op: &()) -> u32 {
//!         *state += 1;
//!         *state - 1
//!     }
//! }
//!
//! impl Object<Counting> for AtomicU32 {
//!     fn new() -> Self {
//!         AtomicU32::new(0)
//!     }
//!
//!     fn apply(&self, _thread: usize, _op: &()) -> u32 {
//!         self.fetch_add(1, SeqCst)
//!     }
//! }
//!
//! let verdict = Trials::new(100).run::<_, AtomicU32>(&Counting, |_| vec![vec![(); 5]; 3]);
//! verdict.assert_linearizable();
//! ```
//!
//! # Cost
//!
//! The search is exponential at worst. It remembers which operations were done in which state and never tries the same twice
//! (Lowe, "Testing for linearizability", 2017), so three threads of 40 operations take less than a millisecond as a rule.
//! Operations that only touch a part of the object can [say so](Specification::part): then each part is searched for itself.
//!
//! # What a pass means
//!
//! That no history that was seen is wrong; not that none can be. So the crate's own tests show objects that must fail and do,
//! among them `crossbeam-skiplist` 0.1.3, and compare the checker with a public one.

mod history;
pub mod ordered_map;
mod reduce;
mod search;
mod specification;
mod trials;

pub use history::{Event, History};
pub use specification::{Object, Specification};
pub use trials::{Trials, Verdict, Violation};
