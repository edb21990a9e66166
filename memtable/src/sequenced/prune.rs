//! Pruning: taking away the versions that no number sees any more.

use super::SequencedMemtable;
use super::encoding::split;
use crate::error::Error;
use crate::mutant::planted;
use crate::reclaim;
use crate::visible::newest;
use crate::walk::Walk;
use bytes::Bytes;
use std::ops::{Bound, Deref};

/// Versions after which the guard is renewed.
const STRIDE: usize = 1024;

/// A [prune](SequencedMemtable::prune) in steps, for an engine that has other work in between; from [`SequencedMemtable::pruner`].
///
/// `T` is how the table is held: `&SequencedMemtable`, or an `Arc` for a pruner that is kept. Several at once, of one number or of
/// different ones, do not disturb each other. One that is dropped before its end leaves what it did not come to for the next.
///
/// ```
/// let table = untorn_memtable::SequencedMemtable::new();
/// for sequence in 1..=1000 {
///     table.insert_at(sequence, "k", "v")?;
/// }
/// let mut pruner = table.pruner(1000)?;
/// let mut steps = 1;
/// while pruner.step(100)? {
///     steps += 1; // here goes other work
/// }
/// assert!((10..12).contains(&steps));
/// assert_eq!(pruner.removed(), 999);
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[must_use = "nothing is removed but by its steps"]
pub struct Pruner<T: Deref<Target = SequencedMemtable>> {
    table: T,
    oldest: u64,
    /// Behind it lies what was not looked at yet.
    from: Bound<Bytes>,
    /// The key of which the version that `oldest` sees was met.
    seen: Option<Bytes>,
    removed: usize,
}

impl<T: Deref<Target = SequencedMemtable>> Pruner<T> {
    /// Refuses reads and writes below `oldest` from now on; its steps remove what nobody sees then.
    ///
    /// # Errors
    /// [`Error::Frozen`]; nothing is changed then.
    pub fn new(table: T, oldest: u64) -> Result<Self, Error> {
        if table.is_frozen() {
            return Err(Error::Frozen);
        }
        // Before anything is removed (Q1).
        if !planted("prune-before-refusing") {
            table.refuse_below(oldest);
        }
        Ok(Pruner {
            table,
            oldest,
            from: Bound::Unbounded,
            seen: None,
            removed: 0,
        })
    }

    /// Looks at so many versions, at least one, and removes those of them that no number from the oldest on sees. Answers whether any
    /// are left to look at.
    ///
    /// Lock-free. O(log n) and a step for each version, a write for each that goes.
    ///
    /// # Errors
    /// [`Error::Frozen`] if the table was frozen meanwhile: what was removed is gone, the rest stays.
    pub fn step(&mut self, versions: usize) -> Result<bool, Error> {
        let mut left = versions.max(1);
        while left > 0 {
            let share = left.min(STRIDE);
            if self.look_at(share)? < share {
                if planted("prune-before-refusing") {
                    self.table.refuse_below(self.oldest);
                }
                return Ok(false);
            }
            left -= share;
        }
        Ok(true)
    }

    /// How many versions went so far.
    pub fn removed(&self) -> usize {
        self.removed
    }

    /// Looks at so many entries, or at all that are left; answers at how many.
    fn look_at(&mut self, entries: usize) -> Result<usize, Error> {
        let guard = reclaim::pin();
        let table = &self.table.table;
        let core = table.table();
        let mut walk = Walk::between(core, self.from.clone(), Bound::Unbounded, &guard);
        let mut looked_at = 0;
        let mut last = None;
        for entry in std::iter::from_fn(|| walk.next()).take(entries) {
            looked_at += 1;
            last = Some(entry.key());
            let (key, sequence) = split(entry.key());
            let is_there = newest(entry, &core.clock, &guard).is_some()
                || planted("prune-counts-what-is-not-there");
            if sequence > self.oldest || !is_there {
                continue;
            }
            if self.seen.as_deref() == Some(key) {
                // Absent by now if somebody else prunes, too.
                self.removed += usize::from(table.remove(entry.key())?.is_some());
            } else {
                self.seen = Some(Bytes::copy_from_slice(key));
            }
        }
        if let Some(last) = last {
            self.from = Bound::Excluded(Bytes::copy_from_slice(last));
        }
        Ok(looked_at)
    }
}

impl<T: Deref<Target = SequencedMemtable>> std::fmt::Debug for Pruner<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pruner")
            .field("oldest", &self.oldest)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}
