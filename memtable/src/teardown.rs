//! Dropping a large table without a pause.

use crate::chain::free_run;
use crate::entry::EntrySlot;
use crate::memtable::Memtable;
use crate::run::{Run, RunRef};
use crate::table::free_entries;

/// A table that is being dropped, some of it at a time; from [`Memtable::teardown`].
///
/// Freeing a million entries takes a good part of a second. Where that must not happen at once, call
/// [`Teardown::step`] between other work, or send it to another thread. Dropping it frees the rest.
///
/// ```
/// let table = untorn_memtable::Memtable::new();
/// for n in 0..10_000u32 {
///     table.insert(n.to_be_bytes(), "v")?;
/// }
/// let mut teardown = table.teardown();
/// let mut steps = 1;
/// while teardown.step(1000) {
///     steps += 1; // here goes other work
/// }
/// assert!((9..12).contains(&steps));
/// # Ok::<(), untorn_memtable::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it frees all that is left, at once"]
pub struct Teardown {
    /// What is not in leaves goes with it, in the end.
    _table: Memtable,
    /// The run of the first leaf that is left. It and those behind it are reachable from here alone.
    next: *mut Run<EntrySlot>,
}

// SAFETY: the runs are owned, as they were by the table, which is `Send`.
unsafe impl Send for Teardown {}

impl Teardown {
    pub(crate) fn new(mut table: Memtable) -> Teardown {
        let next = table.table_mut().take_leaves();
        Teardown {
            _table: table,
            next,
        }
    }

    /// Frees so many entries, or a leaf more. Answers whether any are left.
    pub fn step(&mut self, entries: usize) -> bool {
        let mut freed = 0;
        while freed < entries.max(1) && !self.next.is_null() {
            let free = |run: RunRef<'_, EntrySlot>| {
                freed += run.len();
                // SAFETY: taken out of the table; each entry is in one run.
                unsafe { free_entries(run) };
            };
            // SAFETY: taken out of the table, whose cells live on.
            self.next = unsafe { free_run(self.next, free) };
        }
        !self.next.is_null()
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        self.step(usize::MAX);
    }
}
