//! Freezing: the end of a table's writes.
//!
//! A table is frozen by one step of its clock, which is a turn: what was computed before and not stamped is void by that (S2), and
//! who computes under the frozen view is refused. So there is one instant before which every write is that took effect, and
//! after which none is. Nothing is marked in the leaves, and no writer waits.
//!
//! * F1: a writer claims a stripe of the account, then a fence, then looks whether the view is frozen, then publishes. Who
//!   freezes moves the clock, then a fence, then waits until the stripes that are claimed were let go. So either he waits for
//!   the writer or that one does not publish; and whoever publishes stamps and books before he lets go. When freezing returns,
//!   no version is pending and nothing is announced.
//! * F2: who sees the frozen view and then reads has a fence between, as the writer has between his push and the clock: so he
//!   sees the push, or the writer sees the frozen view and his version is void.

use crate::account::Stats;
use crate::clock::View;
use crate::memtable::Memtable;
use crate::mutant::planted;
use crate::reclaim;
use crate::savepoint::sweep;
use crate::sync;
use std::ops::Deref;

/// What can be frozen: a [`Memtable`], or what keeps all that it holds in one. Nobody else can name it.
pub trait Freeze {
    /// The table that takes the writes.
    fn memtable(&self) -> &Memtable;
}

impl Freeze for Memtable {
    fn memtable(&self) -> &Memtable {
        self
    }
}

/// A table that takes no write any more: its contents and counts are final.
///
/// Made by [`Memtable::freeze`] and [`SequencedMemtable::freeze`](crate::SequencedMemtable::freeze); `T` is how the table is held, as for
/// [`Snapshot`](crate::Snapshot). It dereferences to the table, so everything that reads works on it. Writes answer
/// [`Error::Frozen`](crate::Error::Frozen), on this and every other handle.
///
/// ```
/// use untorn_memtable::{Error, Kind, Memtable};
/// let table = Memtable::new();
/// table.insert("k", "v")?;
/// table.delete("l")?;
/// let frozen = table.freeze().expect("no stage is open");
/// assert_eq!(table.insert("late", "w"), Err(Error::Frozen));
/// assert_eq!(frozen.stats().len, 2);
/// // A file needs the tombstones, too.
/// let rows: Vec<_> = frozen.pin().range_all::<&str>(..).map(|item| (item.key.to_vec(), item.kind)).collect();
/// assert_eq!(rows, [(b"k".to_vec(), Kind::Value), (b"l".to_vec(), Kind::Tombstone)]);
/// # Ok::<(), Error>(())
/// ```
pub struct Frozen<T: Deref<Target: Freeze>> {
    table: T,
    stats: Stats,
}

/// Why a table was not frozen. Nothing is changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// A stage is open or a savepoint is held, so that writes may still be taken back.
    #[error("a stage is open, or a savepoint is held")]
    StageOpen,
}

impl<T: Deref<Target: Freeze>> Frozen<T> {
    /// Freezes the table, or joins in if it is frozen already.
    ///
    /// One compare-and-swap; then it waits for writes that are being published, each some hundred nanoseconds unless its thread has
    /// no core. It is the one operation of a table that waits for another thread.
    ///
    /// # Errors
    /// [`FreezeError::StageOpen`]; nothing is changed then.
    pub fn new(table: T) -> Result<Self, FreezeError> {
        let guard = reclaim::pin();
        let core = table.memtable().table();
        loop {
            let view = core.clock.now(&guard);
            if view.frozen {
                break;
            }
            if !view.marks.is_empty() {
                // Only those that have lapsed could go now.
                sweep(true, &core.clock, &core.debts, &guard);
                if !core.clock.now(&guard).marks.is_empty() {
                    return Err(FreezeError::StageOpen);
                }
                continue;
            }
            let next = View {
                segment: view.segment + 1,
                turns: view.turns + u64::from(!planted("freeze-without-turn")),
                frozen: true,
                ..View::clone(&view)
            };
            if core.clock.step(view, next, &guard) {
                break;
            }
            sync::spin();
        }
        // Pairs with the one of the claim (F1), for who joined in as well.
        sync::atomic::fence(sync::atomic::Ordering::SeqCst);
        if !planted("freeze-without-drain") {
            core.account.drain();
        }
        let stats = core.stats(&guard);
        drop(guard);
        Ok(Frozen { table, stats })
    }

    /// Number of live keys, or of versions, and their size. Final; no cost.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}

impl<T: Deref<Target: Freeze>> Deref for Frozen<T> {
    type Target = T::Target;

    fn deref(&self) -> &T::Target {
        &self.table
    }
}

impl<T: Deref<Target: Freeze> + Clone> Clone for Frozen<T> {
    fn clone(&self) -> Self {
        Frozen {
            table: self.table.clone(),
            stats: self.stats,
        }
    }
}

impl<T: Deref<Target: Freeze>> std::fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen")
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
