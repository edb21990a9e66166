//! Savepoints: instants to which everything that was written since can be taken back, again and again.

use crate::clock::{Clock, View};
use crate::debt::Debts;
use crate::marks::{Anchor, Mark, Marks};
use crate::memtable::Memtable;
use crate::mutant::planted;
use crate::reclaim::{self, Guard};
use crate::stage::{cut, hand_outward};
use crate::sync::{self, Arc};
use std::ops::Deref;

/// An instant of a [`Memtable`] to which it can return.
///
/// `T` is how the table is held: `&Memtable`, or `Arc<Memtable>` for a savepoint that owns what it needs. A clone is the same
/// savepoint; while one is left the table keeps what it held then. When the last one is dropped nothing is taken back: the old
/// versions are let go.
///
/// Savepoints and stages are independent of each other: a savepoint stays valid when a stage around it is released, and is rolled
/// back itself with a stage in which it was made.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// table.insert("k", "before")?;
/// let savepoint = table.savepoint();
/// for attempt in ["first", "again"] {
///     table.insert("k", attempt)?;
///     table.insert(attempt, "new")?;
///     savepoint.roll_back().expect("no stage is open");
///     assert_eq!(table.get("k").as_deref(), Some(&b"before"[..]));
///     assert_eq!(table.len(), 1);
/// }
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
pub struct Savepoint<T: Deref<Target = Memtable>> {
    held: Arc<Held<T>>,
}

struct Held<T: Deref<Target = Memtable>> {
    anchor: Arc<Anchor>,
    table: T,
}

/// Why nothing was rolled back. Nothing is changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// The savepoint was rolled back itself, with a stage or to an older savepoint.
    #[error("the savepoint was rolled back itself")]
    Stale,
    /// A stage that was opened after the savepoint is still open.
    #[error("a stage that was opened after the savepoint is open")]
    StageOpen,
}

impl<T: Deref<Target = Memtable>> Savepoint<T> {
    /// Makes a savepoint of now. One compare-and-swap.
    pub fn new(table: T) -> Self {
        let guard = reclaim::pin();
        let core = table.table();
        core.pay_for_holes(&guard);
        let anchor = open(&core.clock, &guard);
        drop(guard);
        Savepoint {
            held: Arc::new(Held { anchor, table }),
        }
    }

    /// Takes back everything that was written since, by anybody, at one instant for every reader. Savepoints that were made since
    /// are stale from then on; this one stays valid.
    ///
    /// O(1) in what was written: one compare-and-swap, and a step for each savepoint made since. The space comes back with later
    /// writes, each of which clears away two of them, or with [`compact`](Memtable::compact), but for the newest write of a key that
    /// holds something older: that goes when the key is written again. Until a key's writes are cleared away, a read of it steps over them
    /// one by one. While a [`Pinned`](crate::Pinned) of whatever table lives, nothing is
    /// cleared away, and each rollback copies what is noted of those before, some 50 bytes each.
    ///
    /// # Errors
    /// [`RollbackError`]; nothing is changed then.
    pub fn roll_back(&self) -> Result<(), RollbackError> {
        let guard = reclaim::pin();
        let core = self.held.table.table();
        core.pay_for_holes(&guard);
        roll_back(&self.held.anchor, &core.clock, &core.debts, &guard)
    }

    /// How the table is held.
    pub fn table(&self) -> &T {
        &self.held.table
    }
}

impl<T: Deref<Target = Memtable>> Clone for Savepoint<T> {
    fn clone(&self) -> Self {
        Savepoint {
            held: self.held.clone(),
        }
    }
}

impl<T: Deref<Target = Memtable>> std::fmt::Debug for Savepoint<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Savepoint").finish_non_exhaustive()
    }
}

impl<T: Deref<Target = Memtable>> Drop for Held<T> {
    fn drop(&mut self) {
        let guard = reclaim::pin();
        let core = self.table.table();
        self.anchor.let_go();
        let marks = core.clock.now(&guard).marks.depth();
        let all = core.clock.count_savepoints_let_go(1, marks);
        sweep(all, &core.clock, &core.debts, &guard);
    }
}

fn open(clock: &Clock, guard: &Guard) -> Arc<Anchor> {
    let anchor = Anchor::new();
    clock.change(guard, |view| {
        let mark = Mark::savepoint(view.segment + 1, &view.marks, &anchor);
        (view.marked(mark), ())
    });
    anchor
}

fn roll_back(
    anchor: &Arc<Anchor>,
    clock: &Clock,
    debts: &Debts,
    guard: &Guard,
) -> Result<(), RollbackError> {
    loop {
        let view = clock.now(guard);
        let mark = view.marks.iter().find(|mark| mark.is_anchored_by(anchor));
        let Some(mark) = mark else {
            return Err(RollbackError::Stale);
        };
        if view.marks.within(mark).any(|mark| mark.is_stage()) {
            return Err(RollbackError::StageOpen);
        }
        let anew = |outside: Marks, first| match planted("stale-savepoint-stays") {
            true => view.marks.clone(),
            false => outside.with(Mark::savepoint(first, &outside, anchor)),
        };
        if cut(view, mark, anew, clock, debts, guard) {
            mark.note_return();
            return Ok(());
        }
        sync::spin();
    }
}

/// Takes out the marks that have lapsed: those on top, or `all`.
pub(crate) fn sweep(all: bool, clock: &Clock, debts: &Debts, guard: &Guard) {
    while !try_sweep(all, clock, debts, guard) {
        sync::spin();
    }
}

/// A writer went by so many that have lapsed: as [`instants::forget_passed`](crate::instants::forget_passed).
pub(crate) fn sweep_passed(passed: usize, clock: &Clock, debts: &Debts, guard: &Guard) {
    let marks = clock.now(guard).marks.depth();
    if clock.count_savepoints_let_go(passed, marks) {
        try_sweep(true, clock, debts, guard);
    }
}

/// As [`sweep`]. False if the clock moved meanwhile.
fn try_sweep(all: bool, clock: &Clock, debts: &Debts, guard: &Guard) -> bool {
    let view = clock.now(guard);
    let (marks, parted) = match all {
        true => view.marks.part(|mark| mark.has_lapsed()),
        false => view.marks.part_top(),
    };
    if parted.is_empty() {
        return true;
    }
    let next = View {
        marks: marks.clone(),
        ..View::clone(&view)
    };
    if !clock.step(view, next, guard) {
        return false;
    }
    for mark in parted {
        hand_outward(&mark, marks.mark_of(mark.first), clock, debts, guard);
    }
    true
}
