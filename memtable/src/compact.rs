//! Giving back at once what would be given back little by little.

use crate::debt::Paid;
use crate::garbage::reclaim_garbage;
use crate::memtable::Memtable;
use crate::reclaim;
use crate::sync;
use crate::trim::Role;
use crate::walk::{Edge, Walk};
use std::ops::Bound;

/// Entries under one guard, so that nothing is held back for long.
const STRETCH: usize = 256;

/// Looks for holes that can be forgotten: each needs two grace periods, which are over soon if nobody holds a guard.
const ROUNDS: usize = 4;

impl Memtable {
    /// Clears away all that nobody needs: what was rolled back, and what was overwritten or removed while a snapshot, savepoint or stage
    /// needed it that is gone by now. Writes do the same, two entries each. But a key's first value of up to 128 bytes lies in its entry,
    /// and stays there until the key is removed; and where the newest write of a key that holds something older was rolled back, that
    /// one write stays until the key is written again, however large it is.
    ///
    /// Changes nothing that a reader could see. O(n), in stretches that hold nobody up; waits for a writer that is just paying his
    /// share. What is still needed stays, and what a guard may still look at is freed when that is gone.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// let stage = table.open_stage();
    /// for key in 0..1000_u32 {
    ///     table.insert(key.to_be_bytes(), [0; 100])?;
    /// }
    /// table.cleanup_stage(stage).expect("it is the innermost one");
    /// assert!(table.memory().superseded > 100_000, "nothing was written since");
    /// table.compact();
    /// assert_eq!(table.memory().superseded, 0);
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    pub fn compact(&self) {
        self.pay_all();
        self.trim_all();
        for _ in 0..ROUNDS {
            if self.table().debts.is_empty() {
                break;
            }
            reclaim_garbage();
            self.pay_all();
        }
        let table = self.table();
        table.account.merge(&table.clock, &reclaim::pin());
    }

    fn pay_all(&self) {
        let table = self.table();
        try_each(table.debts.outstanding(), || {
            table.pay(STRETCH, true, &reclaim::pin())
        });
    }

    fn trim_all(&self) {
        let mut from = Bound::Unbounded;
        loop {
            let guard = reclaim::pin();
            let mut walk = Walk::new(self.table(), from, Bound::Unbounded, &guard);
            let mut last = None;
            for _ in 0..STRETCH {
                let Some(entry) = walk.next() else {
                    return;
                };
                self.table().trim(entry, Role::Compactor, &guard);
                last = Some(entry.key());
            }
            from = match last {
                Some(key) => Bound::Excluded(Edge::Shared(key.to_vec().into())),
                None => return,
            };
        }
    }
}

/// Pays until so many batches were begun, or all that can be were. Each snapshot that is let go has those that are blocked tried
/// again, so that there may be no end to it.
fn try_each(batches: usize, mut pay: impl FnMut() -> Paid) {
    let mut begun = 0;
    while begun <= batches {
        match pay() {
            Paid::Items { batches } => begun += batches,
            Paid::All => return,
            Paid::Busy => sync::spin(),
        }
    }
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_and_again_is_tried_once() {
        let mut calls = 0;
        try_each(100, || {
            calls += 1;
            assert!(calls < 1000, "without end");
            Paid::Items { batches: 2 }
        });
        assert_eq!(calls, 51);
    }
}
