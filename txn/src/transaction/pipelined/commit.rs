//! Commit of a pipelined transaction: the rest is flushed, then all of it decided. And what a rollback waits for.

use super::writes::Writes;
use crate::error::Error;
use crate::transaction::Core;
use crate::transaction::commit::Ending;
use crate::transaction::options::{CommitInfo, CommitOptions};
use std::sync::Arc;

impl Core {
    pub(in crate::transaction) async fn flush_and_decide(
        self: &Arc<Self>,
        writes: &Writes,
        options: CommitOptions,
        ending: &mut Ending<'_>,
    ) -> Result<CommitInfo, Error> {
        let flushed = self.flush_rest(writes, options).await;
        let (keys, bytes) = writes.sent.counts();
        let info = CommitInfo {
            start_ts: self.start_ts,
            commit_ts: None,
            keys,
            bytes,
            one_phase: false,
            generations: writes.buffer.generations(),
        };
        let decided = match (flushed, writes.sent.primary.get()) {
            (Ok(()), Some(primary)) => {
                ending.is_decided_elsewhere = true;
                self.decide(options, primary).await
            }
            (Ok(()), None) => {
                // Nothing was put down: the end is all that is left to tell.
                self.roll_back_without_waiting();
                return Ok(info);
            }
            (Err(error), primary) => {
                // Where the deadline has passed a flush may wait for a lock still.
                self.store().stop_locking(self.start_ts);
                let primary = primary.cloned().unwrap_or_default();
                self.take_back(error, &primary, false).await
            }
        };
        self.told(decided, info)
    }

    async fn flush_rest(&self, writes: &Writes, options: CommitOptions) -> Result<(), Error> {
        self.check_alive()?;
        let rest = writes.buffer.flush_rest();
        let rest = self.db.worker.within(options.deadline, rest).await;
        let rest = rest.unwrap_or_else(|| Err(self.too_late()));
        rest.map_err(|error| self.ended_by_store(error))?;
        // The last moment at which the commit can still be stopped.
        self.check_in_time(options)
    }

    /// For a drop: the database waits for the end of a flush under way when it is closed.
    pub(in crate::transaction) fn let_flush_end_later(&self) {
        let writes = self.pipelined.as_ref();
        if let Some(end) = writes.and_then(|writes| writes.buffer.flush_end()) {
            self.db.worker.spawn(end);
        }
    }

    /// For a rollback: waits for the end of a flush under way, which the store has been told to give up.
    pub(in crate::transaction) async fn let_flush_end(&self) {
        if let Some(writes) = &self.pipelined {
            drop(self.answer_by(None, writes.buffer.flush_wait()).await);
        }
    }
}
