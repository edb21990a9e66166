//! The end of a transaction that began to commit, whatever happens on the way.

use super::super::Core;
use crate::error::TxnState;
use std::sync::Arc;

/// Sees to it that a commit that was begun ends the transaction, also if it panics or its thread is gone.
pub(in crate::transaction) struct Ending<'a> {
    pub(super) core: &'a Arc<Core>,
    /// The request that decides may have been sent.
    pub(in crate::transaction) is_decided_elsewhere: bool,
}

impl Ending<'_> {
    pub(super) fn end(self, state: TxnState) {
        self.core.end(state);
        std::mem::forget(self);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.is_decided_elsewhere {
            self.core.end(TxnState::Undetermined);
        } else {
            self.core.roll_back_without_waiting();
            self.core.end(TxnState::RolledBack);
        }
    }
}

impl Core {
    fn end(&self, state: TxnState) {
        self.life.set(state);
        self.pulse.end();
        // Only renames the state in the errors of late writes.
        drop(self.close_writes(state, true));
        self.db.registry.leave(self.start_ts);
    }
}
