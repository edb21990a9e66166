//! A sharded, lock-free, epoch-reclaimed concurrent skiplist memtable.

mod account;
mod cells;
mod chain;
mod clock;
mod debt;
mod entry;
mod error;
mod fence;
mod item;
mod lanes;
mod memtable;
mod mutant;
mod pinned;
mod prefetch;
mod reclaim;
mod registry;
mod run;
mod snapshot;
mod stage;
mod sync;
mod table;
mod trim;
mod version;
mod visible;
mod walk;

#[cfg(untorn_loom)]
#[doc(hidden)]
#[path = "model.rs"]
pub mod __model;

pub use account::Stats;
pub use error::{Error, MAX_KEY_LEN, MAX_VALUE_LEN};
pub use item::{Entry, Item, Kind, Update, Written};
pub use memtable::Memtable;
pub use pinned::{Pinned, Range, RangeAll};
pub use snapshot::{Snapshot, SnapshotRange};
pub use stage::{Released, StageId};
