//! How deep a trim looks into a chain.
//!
//! A chain is as long as there are stages, savepoints and snapshots that part its versions, and nearly all of it is what the last
//! who trimmed left as needed. So a writer looks at what lies on top, which his write may have made superfluous, and stops after a
//! few versions that are needed; every second who comes that far looks twice as deep, every fourth four times, and so on. Each
//! version is looked at again and again, the more seldom the deeper it lies, at a cost that grows with the logarithm of the length.
//!
//! Who pays a debt of the entry has to see all that was rolled back, and a chain is in the order of its stamps: that lies above the
//! first segment of the oldest hole. Who pays the last one looks through all of the chain, since of what he leaves nobody is told.

use super::Role;
use crate::clock::View;
use crate::entry::EntryRef;
use crate::stamp::Stamp;
use crate::sync;
use crate::version::VersionRef;
use std::cell::Cell;

/// So many needed versions are looked at in any case.
pub(super) const LOOKS: usize = 16;

/// What is left of one look.
pub(super) struct Depth {
    /// Versions from this segment on are not counted.
    below: u64,
    left: usize,
    is_drawn: bool,
}

impl Depth {
    /// For who trims an entry, after he settled what he pays.
    pub(super) fn of(role: Role<'_>, entry: EntryRef<'_>, view: &View) -> Depth {
        Depth {
            below: match role {
                Role::Writer => u64::MAX,
                Role::Payer | Role::Clearer(_) if entry.in_debt() => {
                    view.holes.oldest().unwrap_or(u64::MAX)
                }
                Role::Payer | Role::Clearer(_) | Role::Remover | Role::Compactor => 0,
            },
            left: LOOKS,
            is_drawn: false,
        }
    }

    /// Whether to look no further than this version, which is needed.
    pub(super) fn ends_at(&mut self, version: VersionRef<'_>) -> bool {
        match version.stamp() {
            Stamp::At(segment) if segment < self.below => {}
            _ => return false,
        }
        self.left -= 1;
        if self.left == 0 && !self.is_drawn {
            self.is_drawn = true;
            self.left = LOOKS.saturating_mul(draw() - 1);
        }
        self.left == 0
    }
}

/// 1, every second time 2 or more, every fourth 4 or more, and so on: for whatever part of the calls, since the multiples of the
/// golden ratio are spread evenly, every second or third of them too.
fn draw() -> usize {
    const GOLDEN: u32 = 0x9e37_79b9;
    sync::thread_local! {
        static DRAWN: Cell<u32> = Cell::default();
    }
    let drawn = DRAWN.try_with(|drawn| {
        drawn.set(drawn.get().wrapping_add(GOLDEN));
        drawn.get()
    });
    let zeros = drawn.map_or(0, u32::leading_zeros);
    1_usize.checked_shl(zeros).unwrap_or(usize::MAX)
}

#[cfg(all(test, not(untorn_loom)))]
mod tests {
    use super::*;
    use crate::memtable::Memtable;

    /// Snapshots of which each needs a version of one key.
    fn versions(table: &Memtable, count: usize) -> Vec<crate::snapshot::Snapshot<&Memtable>> {
        let write = |_| {
            table.insert("k", [0; 1000]).expect("small");
            table.snapshot()
        };
        (0..count).map(write).collect()
    }

    #[test]
    fn what_became_superfluous_deep_in_a_chain_is_cleared_away_by_later_writes() {
        let table = Memtable::new();
        let deep = versions(&table, 200);
        let above = versions(&table, 100);
        drop(deep);
        assert!(table.memory().superseded > 250_000, "{:?}", table.memory());
        for _ in 0..1000 {
            table.insert("k", [1; 1000]).expect("small");
        }
        let left = table.memory().superseded;
        assert!(
            (100_000..120_000).contains(&left),
            "{left} for the 100 above"
        );
        drop(above);
    }

    #[test]
    fn who_pays_the_last_debt_leaves_nothing_superfluous_at_any_depth() {
        let table = Memtable::with_persistent_tag(1);
        let savepoints: Vec<_> = (0..200)
            .map(|_| {
                table.insert("k", [0; 1000]).expect("small");
                table.savepoint()
            })
            .collect();
        table.insert("k", [1; 1000]).expect("small");
        assert!(table.memory().superseded > 190_000, "{:?}", table.memory());
        drop(savepoints);
        for key in 0..400_u32 {
            table.insert(key.to_be_bytes(), "other").expect("small");
        }
        let left = table.memory().superseded;
        assert!(left < 2000, "{left}");
    }

    #[test]
    fn half_of_the_draws_go_no_further_and_each_depth_is_reached_half_as_often_as_the_one_above() {
        for every in [1, 2, 3, 7] {
            let draws: Vec<_> = (0..7 * 4096).map(|_| draw()).collect();
            let draws: Vec<_> = draws.into_iter().step_by(every).collect();
            for depth in [2, 4, 16, 64] {
                let reached = draws.iter().filter(|&&draw| draw >= depth).count();
                let expected = draws.len() / depth;
                assert!(
                    (expected / 2..2 * expected).contains(&reached),
                    "{every} {depth}: {reached}"
                );
            }
        }
    }
}
