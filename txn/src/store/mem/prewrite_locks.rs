//! The locks of a prewrite: what it writes and the transaction does not hold yet.

use super::asked::{NotTaken, UPGRADE, no_wait, take};
use super::core::{Core, Open};
use super::decision::Verdict;
use super::ended::End;
use crate::error::{Error, Loss};
use crate::lock::{Acquire, LockMode, LockRequest, Wait};
use crate::store::{Guard, Mutation, MutationOp, Prewrite, Timestamp, lock};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// The attempt number of locks taken by a prewrite; transactions count theirs from 1.
const PREWRITE: u64 = u64::MAX;

impl Core {
    /// Locks what a prewrite writes and the transaction does not hold yet, one key after another.
    pub(super) async fn lock_all(&self, open: &Arc<Open>, request: &Prewrite) -> Result<(), Error> {
        let owner = open.held.at;
        let began = Instant::now();
        let until = match request.wait {
            Wait::For(budget) => began.checked_add(budget),
            Wait::Forever | Wait::NoWait => None,
        };
        for mutation in &request.mutations {
            let held = self.locks.mode_of(owner, &mutation.key);
            if held == Some(LockMode::Exclusive) {
                continue;
            }
            if mutation.guard == Guard::Locked {
                self.suffices(owner, mutation, held, &request.primary)?;
                continue;
            }
            if held.is_some() {
                return Err(UPGRADE);
            }
            let wait = match until {
                Some(until) => Wait::For(until.saturating_duration_since(Instant::now())),
                None => request.wait,
            };
            let terms = LockRequest {
                wait,
                deadline: request.deadline,
                attempt: PREWRITE,
            };
            let queued = match self.ask_to_write(open, &mutation.key, &terms) {
                Err(Error::LockNotAvailable { holders, .. }) if self.resolve(&holders) => {
                    self.ask_to_write(open, &mutation.key, &terms)
                }
                queued => queued,
            };
            // The keys before may have used up the budget.
            let queued = queued.map_err(|error| match no_wait(request.wait) {
                true => error,
                false => error.after_waiting(began.elapsed()),
            });
            if let Some(acquire) = queued? {
                let granted = self.wait(owner, &mutation.key, acquire).await;
                granted.map_err(|error| match error {
                    // Only the end of the transaction ends this wait.
                    Error::Cancelled => End::RolledBack.closed(),
                    other => other,
                })?;
            }
        }
        Ok(())
    }

    /// Whether a lock that is not exclusive serves a mutation of a key that the transaction says it locked.
    fn suffices(
        &self,
        start_ts: Timestamp,
        mutation: &Mutation,
        held: Option<LockMode>,
        primary: &Bytes,
    ) -> Result<(), Error> {
        match held {
            Some(_) if mutation.op == MutationOp::Lock => Ok(()),
            Some(_) => Err(UPGRADE),
            None => Err(Error::LockLost {
                start_ts,
                primary: Some(primary.clone()),
                loss: Loss::Refused,
            }),
        }
    }

    /// As [`ask`](Self::ask), for one key, also once the transaction's own lock requests are refused. Its place in the
    /// queue, if it has to wait.
    fn ask_to_write(
        &self,
        open: &Open,
        key: &Bytes,
        terms: &LockRequest,
    ) -> Result<Option<Acquire>, Error> {
        let mut asked = lock(&open.asked.keys);
        if open.decision.verdict() != Verdict::Undecided {
            return Err(End::RolledBack.closed());
        }
        let mode = LockMode::Exclusive;
        let mut taking = self.locks.taking(open.held.at, mode);
        match take(&mut taking, key, terms, &mut asked) {
            Ok(()) => Ok(None),
            Err(NotTaken::HasToWait) => Ok(Some(self.queue(open, key, mode, terms, &mut asked))),
            Err(NotTaken::Denied(error)) => Err(error),
        }
    }
}
