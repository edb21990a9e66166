//! Tables that nobody can reach any more, until they are freed (T7).

use super::budget::Budget;
use crate::memtable::Memtable;
use crate::mutant::planted;
use crate::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;

/// The tables that wait to be freed.
#[derive(Default)]
pub(super) struct Retired(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// With the bytes of the budget that each of them gives back.
    tables: Vec<(Memtable, u64)>,
    /// The set is gone: nobody will come to free any.
    closed: bool,
}

impl Retired {
    /// Held for a moment only, and for no freeing.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Leaves a table to who frees the next one; frees it here if the set is gone.
    pub(super) fn retire(&self, table: Memtable, reserved: u64) {
        let mut waiting = self.retired.waiting();
        waiting.tables.push((table, reserved));
        let closed = waiting.closed;
        drop(waiting);
        match closed {
            true => self.free_retired(),
            false if planted("set-retire-unheard") => {}
            false => self.notify(),
        }
    }

    /// Frees one table; answers whether there was one.
    pub(super) fn free_one(&self) -> bool {
        let retired = self.retired.waiting().tables.pop();
        let Some((table, reserved)) = retired else {
            return false;
        };
        if planted("set-released-before-freeing") {
            self.release(reserved);
            drop(table);
            return true;
        }
        drop(table);
        self.release(reserved);
        true
    }

    /// Frees all that there are.
    pub(super) fn free_retired(&self) {
        while self.free_one() {}
    }

    /// The set goes: from now on tables are freed where they are retired.
    pub(super) fn close(&self) {
        if planted("set-closed-after-freeing") {
            self.free_retired();
            self.retired.waiting().closed = true;
            return;
        }
        self.retired.waiting().closed = true;
        self.free_retired();
    }
}
