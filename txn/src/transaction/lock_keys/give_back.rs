//! Locks that nobody wants go back to the store.

use super::super::Core;
use super::super::register::Withdrawn;
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
        let core = Arc::clone(self);
        self.db.worker.spawn(async move {
            core.give_back_now(locks).await;
        });
    }

    /// Gives locks back, and asks until that is answered or the transaction has ended.
    pub(super) async fn give_back_now(&self, locks: Withdrawn) {
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
