//! Dropping a large table without a pause.

use crate::chain::free_run;
use crate::entry::EntrySlot;
use crate::memtable::Memtable;
use crate::run::{Run, RunRef};
#[cfg(not(untorn_loom))]
use crate::sync::thread;
use crate::table::free_entries;

/// A table that is being dropped, some of it at a time; from [`Memtable::teardown`].
///
/// A table that is dropped is freed then and there: its memory is back when the call returns, and no thread works behind
/// anybody's back. That takes 20 to 50 ns an entry, so a million take a good part of a tenth of a second. Where that must not
/// happen at once, call [`Teardown::step`] between other work, or [`Teardown::in_background`]. Dropping it frees the rest.
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

    /// Frees the rest in a thread of its own, so that the caller waits for no more than its start, some tens of microseconds.
    ///
    /// Until that thread ends, what it has not freed is still held: join it to know. `None` if it could not be started: then
    /// everything was freed before the call returned.
    ///
    /// ```
    /// let table = untorn_memtable::Memtable::new();
    /// table.insert("k", "v")?;
    /// if let Some(thread) = table.teardown().in_background() {
    ///     thread.join().expect("freeing does not panic");
    /// }
    /// # Ok::<(), untorn_memtable::Error>(())
    /// ```
    #[cfg(not(untorn_loom))]
    pub fn in_background(self) -> Option<thread::JoinHandle<()>> {
        let thread = thread::Builder::new().name("untorn-teardown".into());
        thread.spawn(move || drop(self)).ok()
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        self.step(usize::MAX);
    }
}
