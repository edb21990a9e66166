//! The first phase: what is sent, and what has to hold before it is decided.

use super::super::Core;
use super::super::mutations::{Carried, bytes_of, is_any_locked};
use super::super::options::{CommitInfo, CommitOptions};
use crate::error::Error;
use crate::store::{Prewrite, Prewritten};
use std::sync::Arc;
use std::time::Instant;

/// What is sent first.
pub(super) struct Prepared {
    pub(super) prewrite: Prewrite,
    pub(super) info: CommitInfo,
    /// An assertion that does not hold as far as a lock knows.
    pub(super) failed: Option<Error>,
}

impl Core {
    /// What the prewrite carries, once that is known to be sound.
    pub(super) async fn prepare(&self, options: CommitOptions) -> Result<Prepared, Error> {
        let Carried {
            mutations,
            to_check,
            failed,
        } = self.mutations()?;
        let checked = self.newest(&to_check).await?;
        let mut exists = to_check.into_iter().zip(checked);
        if let Some((key, _)) = exists.find(|(_, value)| value.is_some()) {
            return Err(Error::KeyExists { key });
        }
        let info = CommitInfo {
            start_ts: self.start_ts,
            commit_ts: None,
            keys: mutations.len(),
            bytes: bytes_of(&mutations),
            one_phase: false,
            generations: 0,
        };
        let mut prewrite = Prewrite {
            for_update_ts: self.register.newest(),
            assertions: self.options.assertions,
            wait: self.options.lock_wait,
            deadline: options.deadline,
            ttl: self.options.lock_ttl,
            // A conflict is reported rather than a failed assertion: it is looked for, and nothing decided.
            may_decide: failed.is_none(),
            ..Prewrite::new(mutations)
        };
        // One that no lock names belongs to a call that was cut off.
        let chosen = self.register.primary();
        match chosen.filter(|_| is_any_locked(&prewrite.mutations)) {
            Some(primary) => prewrite.primary = primary,
            None if prewrite.leaves_something() => {
                self.register.settle_primary(&prewrite.primary);
            }
            None => {}
        }
        Ok(Prepared {
            prewrite,
            info,
            failed,
        })
    }

    pub(super) async fn prewritten(
        self: &Arc<Self>,
        prewrite: &Prewrite,
        options: CommitOptions,
    ) -> Result<Prewritten, Error> {
        if prewrite.mutations.is_empty() {
            return Ok(Prewritten::Undecided);
        }
        if self.register.starts_to_beat() {
            self.start_to_beat();
        }
        let answer = self.store().prewrite(self.start_ts, prewrite);
        let answer = self.db.worker.within(options.deadline, answer).await;
        let answer = answer.unwrap_or_else(|| Err(self.too_late()));
        let answer = answer.map_err(|error| self.ended_by_store(error))?;
        // The last moment at which the commit can still be stopped.
        if answer == Prewritten::Undecided {
            self.check_in_time(options)?;
        }
        Ok(answer)
    }

    /// Why an answer was not waited for any longer.
    pub(in crate::transaction) fn too_late(&self) -> Error {
        match self.db.worker.is_ended() {
            true => Error::DatabaseClosed,
            false => Error::DeadlineExceeded,
        }
    }

    /// The locks are not lost, and the deadline is not over.
    pub(in crate::transaction) fn check_in_time(
        &self,
        options: CommitOptions,
    ) -> Result<(), Error> {
        self.check_alive()?;
        let too_late = |deadline| deadline <= Instant::now();
        match options.deadline.is_some_and(too_late) {
            true => Err(Error::DeadlineExceeded),
            false => Ok(()),
        }
    }
}
