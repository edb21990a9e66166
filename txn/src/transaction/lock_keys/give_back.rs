//! Locks that nobody wants go back to the store.

use super::super::Core;
use super::super::register::Withdrawn;
use super::super::to_the_end::ToTheEnd;
use crate::error::Error;
use crate::store::Answer;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon a give-back that was not answered is sent again.
const SEND_AGAIN: Duration = Duration::from_millis(20);

impl Core {
    /// Gives locks back: at once where the store answers at once, else in the background.
    #[inline]
    pub(in crate::transaction) fn give_back(self: &Arc<Self>, withdrawn: Withdrawn) {
        if !withdrawn.is_empty() {
            self.give_back_locks(withdrawn);
        }
    }

    fn give_back_locks(self: &Arc<Self>, locks: Withdrawn) {
        let answer = self.store().unlock(self.start_ts, locks.clone());
        if let Answer::Ready(Some(Ok(()))) = answer {
            return self.register.returned(&locks);
        }
        drop(answer);
        self.db.worker.spawn(Arc::clone(self).until_returned(locks));
    }

    /// Gives locks back. Ready once that is answered or the transaction has ended; it goes on if it is dropped.
    pub(in crate::transaction) fn give_back_now(
        self: &Arc<Self>,
        locks: Withdrawn,
    ) -> ToTheEnd<()> {
        ToTheEnd::new(&self.db, Arc::clone(self).until_returned(locks))
    }

    async fn until_returned(self: Arc<Self>, locks: Withdrawn) {
        while !locks.is_empty() && self.life.check_open().is_ok() {
            let answer = self.store().unlock(self.start_ts, locks.clone()).await;
            if matches!(answer, Err(Error::Store { .. })) {
                self.register.not_returned(&locks);
                let worker = &self.db.worker;
                worker.sleep_until(Instant::now() + SEND_AGAIN).await;
                continue;
            }
            return self.register.returned(&locks);
        }
    }
}
